//! Ping and pong without noise: own messages, the codec, and blocking sockets of the standard library.
//!
//! The server listens on a free port of this machine. The client sends pings with numbers, the server answers each with
//! their sum. Nothing here needs an async runtime.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

use binary_sv2::{Decodable, Encodable, Message, Seq0_255};
use codec_sv2::{Encoder, StandardSv2Decoder};
use framing_sv2::Sv2Frame;

/// Asks for a sum. The derives give it a wire form: the fields in order.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
struct Ping<'a> {
    id: u32,
    numbers: Seq0_255<'a, u32>,
}

/// Answers a ping.
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
struct Pong {
    id: u32,
    sum: u64,
}

/// What headers say of the two messages. `protocol!` below reads this table.
mod ping_pong {
    use const_sv2::{MessageInfo, extension::EXPERIMENTAL_FIRST};

    pub const PING: u8 = 0x00;
    pub const PONG: u8 = 0x01;
    pub const ALL: [MessageInfo; 2] = [
        MessageInfo { extension_type: EXPERIMENTAL_FIRST, message_type: PING, channel_msg: false, name: "Ping" },
        MessageInfo { extension_type: EXPERIMENTAL_FIRST, message_type: PONG, channel_msg: false, name: "Pong" },
    ];
}

binary_sv2::protocol! {
    /// Every message of this protocol, decoded by number.
    pub enum PingPong<'a> from ping_pong {
        Ping(Ping<'a>) = PING,
        Pong(Pong) = PONG,
    }
}

/// Longest payload that either side accepts, in bytes: a ping of 255 numbers has 1,025.
const MAX_PAYLOAD: u32 = 1_100;

/// A socket with the codec's two halves.
struct Link {
    stream: TcpStream,
    encoder: Encoder,
    decoder: StandardSv2Decoder,
    out: Vec<u8>,
}

impl Link {
    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut decoder = StandardSv2Decoder::new();
        decoder.set_max_payload(MAX_PAYLOAD);
        Ok(Self { stream, encoder: Encoder::new(), decoder, out: Vec::new() })
    }

    fn send<M: Message>(&mut self, message: &M) -> Result<(), Box<dyn Error>> {
        self.out.clear();
        self.encoder.encode(message, &mut self.out)?;
        Ok(self.stream.write_all(&self.out)?)
    }

    /// The next frame, or `None` when the peer has closed the connection between two frames.
    fn receive(&mut self) -> Result<Option<Sv2Frame<'_>>, Box<dyn Error>> {
        loop {
            match self.decoder.ready() {
                Ok(_) => return Ok(Some(self.decoder.next_frame()?)),
                Err(codec_sv2::Error::MissingBytes(_)) => {}
                Err(error) => return Err(error.into()),
            }
            match self.stream.read(self.decoder.writable())? {
                0 if self.decoder.is_empty() => return Ok(None),
                0 => return Err("the peer closed the connection inside a frame".into()),
                count => self.decoder.advance(count),
            }
        }
    }
}

/// Reads a frame as a message of this protocol.
fn decode<'f>(frame: &'f Sv2Frame<'_>) -> Result<PingPong<'f>, Box<dyn Error>> {
    let header = frame.header();
    if header.extension_type() != Ping::EXTENSION_TYPE {
        return Err(format!("expected extension {:#06x}, got {header:?}", Ping::EXTENSION_TYPE).into());
    }
    Ok(PingPong::decode(header.message_type(), frame.payload())?)
}

/// Answers pings until the client closes the connection.
fn serve(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut link = Link::new(stream)?;
    while let Some(frame) = link.receive()? {
        let pong = match decode(&frame)? {
            PingPong::Ping(ping) => Pong { id: ping.id, sum: ping.numbers.iter().map(u64::from).sum() },
            PingPong::Pong(_) => return Err("expected a ping, got a pong".into()),
        };
        link.send(&pong)?;
    }
    Ok(())
}

/// Sends `count` pings and checks each answer.
fn client(address: SocketAddr, count: u16) -> Result<(), Box<dyn Error>> {
    let mut link = Link::new(TcpStream::connect(address)?)?;
    for id in 0..u32::from(count) {
        let ping = Ping { id, numbers: Seq0_255::try_from_iter((1..=10).map(|n| n * id))? };
        link.send(&ping)?;
        let frame = link.receive()?.ok_or("the server closed the connection")?;
        let pong = decode(&frame)?;
        println!("{ping:?} -> {pong:?}");
        if pong != PingPong::Pong(Pong { id, sum: 55 * u64::from(id) }) {
            return Err(format!("wrong answer to ping {id}").into());
        }
    }
    Ok(())
}

fn run(count: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
        serve(stream).map_err(|error| error.to_string())
    });
    client(address, count)?;
    server.join().map_err(|_| "the server panicked")??;
    println!("{count} pings answered");
    Ok(())
}

fn main() -> ExitCode {
    let count = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 5,
        Some(Ok(count)) => count,
        Some(Err(error)) => {
            eprintln!("usage: ping-pong-without-noise [COUNT]: {error}");
            return ExitCode::from(2);
        }
    };
    match run(count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping-pong-without-noise: {error}");
            ExitCode::FAILURE
        }
    }
}
