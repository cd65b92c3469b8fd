//! Ping and pong with noise: own messages over encrypted connections on tokio.
//!
//! The server makes an authority key, signs its certificate with it and listens on a free port of this machine. The
//! client gets the server's URL, as a miner would, and refuses any server that can not show a certificate of that key.

use std::{
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use binary_sv2::{B0_255, Decodable, Encodable, Message, Str0_255, from_bytes};
use const_sv2::extension::EXPERIMENTAL_FIRST;
use framing_sv2::Sv2Frame;
use network_helpers::{Connection, Security, ServerSecurity};
use noise_sv2::{AuthoritySecretKey, ServerIdentity, Validity, url::EndpointUrl};
use rand_core::{OsRng, RngCore};
use tokio::{net::TcpListener, time::timeout};

/// Asks to have bytes echoed. The derives give it a wire form: the fields in order.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
struct Ping<'a> {
    id: u32,
    random: B0_255<'a>,
}

/// Answers a ping.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
struct Pong<'a> {
    id: u32,
    random: B0_255<'a>,
    comment: Str0_255<'a>,
}

/// What the header says of a ping. For a protocol of many messages `binary_sv2::protocol!` writes these.
impl Message for Ping<'_> {
    const MESSAGE_TYPE: u8 = 0x00;
    const EXTENSION_TYPE: u16 = EXPERIMENTAL_FIRST;
    const CHANNEL_MSG: bool = false;
    const NAME: &'static str = "Ping";
}

impl Message for Pong<'_> {
    const MESSAGE_TYPE: u8 = 0x01;
    const EXTENSION_TYPE: u16 = EXPERIMENTAL_FIRST;
    const CHANNEL_MSG: bool = false;
    const NAME: &'static str = "Pong";
}

/// Longest payload that either side accepts, in bytes: a pong with both fields full has 516.
const MAX_PAYLOAD: u32 = 600;

/// A peer that is silent for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the certificate is valid, either way from now: clocks differ.
const VALIDITY: u32 = 3_600;

/// Reads a frame as the one kind of message that may come now.
fn expect<'f, M: Message + Decodable<'f>>(frame: &'f Sv2Frame<'_>) -> Result<M, Box<dyn Error>> {
    let header = frame.header();
    if (header.extension_type(), header.message_type()) != (M::EXTENSION_TYPE, M::MESSAGE_TYPE) {
        return Err(format!("expected a {}, got {header:?}", M::NAME).into());
    }
    Ok(from_bytes(frame.payload())?)
}

/// Answers pings on one connection until the client closes it.
async fn serve(listener: TcpListener, identity: Arc<ServerIdentity>) -> Result<(), Box<dyn Error>> {
    let (stream, _) = listener.accept().await?;
    let mut connection = Connection::accept(stream, ServerSecurity::Noise(identity)).await?;
    connection.set_max_payload(MAX_PAYLOAD);
    let (mut reader, mut writer) = connection.split();
    loop {
        let frame = match reader.read_frame().await {
            Ok(frame) => frame,
            Err(network_helpers::Error::Closed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Ping { id, random } = expect(&frame)?;
        let comment = Str0_255::try_from(format!("{} bytes came", random.len()))?;
        writer.send(&Pong { id, random, comment }).await?;
    }
}

/// Sends `count` pings to the server behind `url` and checks each answer.
async fn client(url: &EndpointUrl, count: u16) -> Result<(), Box<dyn Error>> {
    let security = Security::Noise { authority: Some(url.authority().ok_or("the URL has no authority key")?) };
    let mut connection = Connection::connect(&url.address(), security).await?;
    connection.set_max_payload(MAX_PAYLOAD);
    for id in 0..u32::from(count) {
        let mut random = [0; 32];
        OsRng.fill_bytes(&mut random);
        let ping = Ping { id, random: B0_255::try_from(&random)? };
        connection.send(&ping).await?;
        let frame = timeout(PATIENCE, connection.read_frame()).await??;
        let pong: Pong<'_> = expect(&frame)?;
        println!("{ping:?} -> {pong:?}");
        if (pong.id, pong.random) != (ping.id, ping.random) {
            return Err(format!("wrong answer to ping {id}").into());
        }
    }
    Ok(())
}

async fn run(count: u16) -> Result<(), Box<dyn Error>> {
    let now = u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let authority = AuthoritySecretKey::generate(&mut OsRng)?;
    let validity = Validity { from: now.saturating_sub(VALIDITY), until: now.saturating_add(VALIDITY) };
    // Once for many connections: signing costs as much as the rest of a handshake.
    let identity = Arc::new(ServerIdentity::issue(&authority, validity, &mut OsRng)?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let url = EndpointUrl::new(&address.ip().to_string(), address.port(), Some(authority.public_key()))?;
    println!("serving {url}");
    tokio::try_join!(serve(listener, identity), client(&url, count))?;
    println!("{count} pings answered");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let count = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 5,
        Some(Ok(count)) => count,
        Some(Err(error)) => {
            eprintln!("usage: ping-pong-with-noise [COUNT]: {error}");
            return ExitCode::from(2);
        }
    };
    match run(count).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping-pong-with-noise: {error}");
            ExitCode::FAILURE
        }
    }
}
