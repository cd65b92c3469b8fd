//! Connections over real loopback sockets, and their halves over in-memory streams.

use std::{
    future::ready,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use binary_sv2::{Encodable, Message, Writer};
use common_messages_sv2::SetupConnectionSuccess;
use framing_sv2::{Frame, Sv2Frame};
use network_helpers::{
    Connection, Error, FrameReader, FrameWriter, HANDSHAKE_TIMEOUT, KeyLog, Phase, Security, ServerSecurity, initiate,
    respond, respond_logging_keys, wire,
};
use noise_sv2::{
    AuthorityPublicKey, AuthoritySecretKey, CertificateError, Part, ServerIdentity, Validity, key_log::TransportKeys,
};
use rand_core::OsRng;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
};

const SUCCESS: SetupConnectionSuccess = SetupConnectionSuccess { used_version: 2, flags: 5 };

/// Payload of any bytes.
struct Blob(Vec<u8>);

impl Encodable for Blob {
    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), binary_sv2::Error> {
        out.put(&self.0)
    }
}

impl Message for Blob {
    const MESSAGE_TYPE: u8 = 0x71;
    const EXTENSION_TYPE: u16 = 0;
    const CHANNEL_MSG: bool = false;
    const NAME: &'static str = "Blob";
}

fn server_identity() -> (AuthorityPublicKey, ServerSecurity) {
    let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
    let validity = Validity { from: 0, until: u32::MAX };
    let identity = ServerIdentity::issue(&authority, validity, &mut OsRng).unwrap();
    (authority.public_key(), ServerSecurity::Noise(Arc::new(identity)))
}

/// A listener and a client's stream to it, accepted, before any handshake.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Both ends of a connection made through the public interface.
async fn connected(client: Security, server: ServerSecurity) -> (Result<Connection, Error>, Result<Connection, Error>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::join!(Connection::connect(&address, client), async {
        let (stream, _) = listener.accept().await.unwrap();
        Connection::accept(stream, server).await
    })
}

async fn both_modes() -> [(Connection, Connection); 2] {
    let (authority, server) = server_identity();
    let noise = connected(Security::Noise { authority: Some(authority) }, server).await;
    let plain = connected(Security::Plain, ServerSecurity::Plain).await;
    [(noise.0.unwrap(), noise.1.unwrap()), (plain.0.unwrap(), plain.1.unwrap())]
}

#[tokio::test]
async fn messages_pass_both_ways_in_both_modes() {
    for (mut client, mut server) in both_modes().await {
        client.send(&SUCCESS).await.unwrap();
        let frame = server.read_frame().await.unwrap();
        assert_eq!(frame, Sv2Frame::from_message(&SUCCESS).unwrap());

        server.writer().queue(&SUCCESS).unwrap();
        server.writer().queue_frame(&Sv2Frame::from_message(&Blob(vec![])).unwrap()).unwrap();
        server.writer().flush().await.unwrap();
        assert_eq!(client.read_frame().await.unwrap().payload(), [2, 0, 5, 0, 0, 0]);
        assert_eq!(client.read_frame().await.unwrap().header().message_type(), 0x71);
        assert!(client.reader().buffered_frame().unwrap().is_none());
    }
}

#[tokio::test]
async fn a_message_of_many_noise_frames_passes_both_ways() {
    let payload: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    for (client, server) in both_modes().await {
        let (mut client_reader, mut client_writer) = client.split();
        let (mut server_reader, mut server_writer) = server.split();
        let message = Blob(payload.clone());
        let echo = async {
            let frame = server_reader.read_frame().await.unwrap();
            server_writer.queue_frame(&frame).unwrap();
            server_writer.flush().await.unwrap();
        };
        let (sent, (), answer) =
            tokio::join!(client_writer.send(&message), echo, async { client_reader.read_frame().await });
        sent.unwrap();
        assert!(answer.unwrap().payload() == payload);
    }
}

#[tokio::test]
async fn nodelay_is_set_and_parts_serve_a_driver_without_async_reads() {
    for (client, server) in both_modes().await {
        let (client, _, mut queue) = client.into_parts().unwrap();
        let (server, mut decoder, _) = server.into_parts().unwrap();
        assert!(client.nodelay().unwrap() && server.nodelay().unwrap());

        queue.push(&SUCCESS).unwrap();
        while !queue.pending().is_empty() {
            client.writable().await.unwrap();
            let count = client.try_write(queue.pending()).unwrap();
            queue.sent(count);
        }
        while decoder.ready().unwrap().is_none() {
            server.readable().await.unwrap();
            match server.try_read(decoder.writable()) {
                Ok(count) => decoder.advance(count),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(decoder.next_frame().unwrap(), Some(Sv2Frame::from_message(&SUCCESS).unwrap()));
    }
}

#[tokio::test]
async fn another_authority_is_refused_and_the_server_sees_a_close() {
    let (_, server) = server_identity();
    let (stranger, _) = server_identity();
    let (client, server) = connected(Security::Noise { authority: Some(stranger) }, server).await;
    assert!(matches!(client.unwrap_err(), Error::Certificate(CertificateError::Signature)));
    let error = server.unwrap().read_frame().await.unwrap_err();
    assert!(matches!(error, Error::Closed(Phase::Messages)), "{error:?}");
}

#[tokio::test]
async fn garbage_instead_of_act_2_is_refused() {
    let (client, mut server) = sockets().await;
    let mut client = client;
    let (authority, _) = server_identity();
    let (result, _) = tokio::join!(initiate(&mut client, Some(authority), HANDSHAKE_TIMEOUT), async {
        server.write_all(&[0x5a; 234]).await.unwrap();
    });
    let expected = noise_sv2::Error::Decrypt(Part::StaticKey);
    assert!(matches!(result, Err(Error::Decrypt { phase: Phase::Handshake, source }) if source == expected));
}

#[tokio::test]
async fn garbage_instead_of_a_client_is_refused_at_its_first_message() {
    let (mut client, server) = sockets().await;
    client.write_all(&[b'x'; 200]).await.unwrap();
    let mut server = Connection::accept(server, server_identity().1).await.unwrap();
    let error = server.read_frame().await.unwrap_err();
    assert!(matches!(error, Error::Decrypt { phase: Phase::Messages, .. }), "{error:?}");
    assert_eq!(error.reason(), "decrypt");
}

#[tokio::test]
async fn a_peer_that_closes_in_the_handshake_is_named() {
    let (mut client, server) = sockets().await;
    client.write_all(&[1; 30]).await.unwrap();
    drop(client);
    let error = Connection::accept(server, server_identity().1).await.unwrap_err();
    assert!(matches!(error, Error::Closed(Phase::Handshake)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_runs_into_the_deadline() {
    let (authority, server) = server_identity();
    let ServerSecurity::Noise(identity) = &server else { unreachable!() };
    let (mut near, _far) = duplex(1024);
    let begun = tokio::time::Instant::now();
    let error = respond(&mut near, identity, HANDSHAKE_TIMEOUT).await.unwrap_err();
    let late =
        |error: &Error, limit| matches!(error, Error::Timeout { phase: Phase::Handshake, after } if *after == limit);
    assert!(late(&error, HANDSHAKE_TIMEOUT), "{error:?}");
    assert_eq!(begun.elapsed(), HANDSHAKE_TIMEOUT);

    let limit = Duration::from_millis(7);
    assert!(late(&initiate(&mut near, Some(authority), limit).await.unwrap_err(), limit));
    let (_client, accepted) = sockets().await;
    assert!(late(&Connection::accept_within(accepted, server, limit).await.unwrap_err(), limit));
}

#[tokio::test]
async fn nobody_there_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Connection::connect(&address, Security::Plain).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(error.reason(), "connect");
}

#[tokio::test]
async fn an_oversized_frame_and_a_cut_one_are_named() {
    for (mut client, mut server) in both_modes().await {
        server.set_max_payload(100);
        client.send(&Blob(vec![0; 100])).await.unwrap();
        assert_eq!(server.read_frame().await.unwrap().payload().len(), 100);
        client.send(&Blob(vec![0; 101])).await.unwrap();
        assert!(matches!(server.read_frame().await.unwrap_err(), Error::Oversized(_)));
        assert!(matches!(server.read_frame().await.unwrap_err(), Error::Oversized(_)));
    }
    for (client, mut server) in both_modes().await {
        let (mut stream, _, mut queue) = client.into_parts().unwrap();
        queue.push(&Blob(vec![0; 50])).unwrap();
        stream.write_all(&queue.pending()[..queue.pending().len() - 3]).await.unwrap();
        drop(stream);
        assert!(matches!(server.read_frame().await.unwrap_err(), Error::Truncated { missing: 3 }));
    }
}

#[tokio::test]
async fn shutdown_sends_what_is_queued_and_closes() {
    for (mut client, mut server) in both_modes().await {
        client.writer().queue(&SUCCESS).unwrap();
        client.writer().shutdown().await.unwrap();
        assert!(server.read_frame().await.is_ok());
        assert!(matches!(server.read_frame().await.unwrap_err(), Error::Closed(Phase::Messages)));
    }
}

#[tokio::test]
async fn reading_loses_nothing_when_it_is_cancelled() {
    let (near, mut far) = duplex(1024);
    let mut reader = FrameReader::new(near, wire::plain().0);
    let mut bytes = vec![];
    Sv2Frame::from_message(&SUCCESS).unwrap().serialize(&mut bytes);
    for byte in &bytes[..bytes.len() - 1] {
        far.write_all(&[*byte]).await.unwrap();
        tokio::select! {
            biased;
            frame = reader.read_frame() => panic!("the frame is not complete: {frame:?}"),
            () = ready(()) => {}
        }
    }
    far.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
    assert_eq!(reader.read_frame().await.unwrap(), Sv2Frame::from_message(&SUCCESS).unwrap());
}

/// Counts writes, and takes at most `portion` bytes in each.
struct Portions {
    writes: usize,
    bytes: Vec<u8>,
    portion: usize,
}

impl AsyncWrite for Portions {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.portion);
        self.writes += 1;
        self.bytes.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_is_queued_leaves_in_one_write() {
    for (portion, writes) in [(usize::MAX, 1), (5, 8)] {
        let mut sink = Portions { writes: 0, bytes: vec![], portion };
        let mut writer = FrameWriter::new(&mut sink, wire::plain().1);
        for _ in 0..3 {
            writer.queue(&SUCCESS).unwrap();
        }
        assert_eq!(writer.queued(), 36);
        writer.flush().await.unwrap();
        assert_eq!(writer.queued(), 0);
        assert_eq!((sink.writes, sink.bytes.len()), (writes, 36));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_the_queue() {
    let mut sink = Portions { writes: 0, bytes: vec![], portion: 0 };
    let mut writer = FrameWriter::new(&mut sink, wire::plain().1);
    writer.set_queue_limit(20);
    writer.queue(&SUCCESS).unwrap();
    writer.queue(&SUCCESS).unwrap();
    assert!(matches!(writer.queue(&SUCCESS).unwrap_err(), Error::QueueFull { limit: 20, queued: 24 }));
    assert!(matches!(writer.flush().await.unwrap_err(), Error::Closed(Phase::Messages)));
}

#[tokio::test]
async fn the_handshake_takes_no_byte_too_many() {
    let (authority, server) = server_identity();
    let ServerSecurity::Noise(identity) = server else { unreachable!() };
    let (mut near, mut far) = duplex(4096);
    let (client, server) = tokio::join!(initiate(&mut near, Some(authority), HANDSHAKE_TIMEOUT), async {
        let transport = respond(&mut far, &identity, HANDSHAKE_TIMEOUT).await.unwrap();
        let mut queue = wire::encrypted(transport).1;
        queue.push(&SUCCESS).unwrap();
        far.write_all(queue.pending()).await.unwrap();
        queue.pending().len()
    });
    drop(far);
    let mut rest = vec![];
    near.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), server);
    let mut decoder = wire::encrypted(client.unwrap()).0;
    decoder.writable()[..rest.len()].copy_from_slice(&rest);
    decoder.advance(rest.len());
    assert!(decoder.next_frame().unwrap().is_some());
}

#[tokio::test]
async fn both_ends_log_the_same_keys_and_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let [client_path, server_path] = ["client", "server"].map(|name| folder.path().join(name));
    let [client_log, server_log] = [&client_path, &server_path].map(|path| KeyLog::open(path).unwrap());
    let (authority, server) = server_identity();
    let ServerSecurity::Noise(identity) = server else { unreachable!() };
    let security = Security::Noise { authority: Some(authority) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (client_log, server_log) in [(Some(&client_log), Some(&server_log)), (None, None)] {
        let client = Connection::connect_logging_keys(&address, security, HANDSHAKE_TIMEOUT, client_log);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            respond_logging_keys(&mut stream, &identity, HANDSHAKE_TIMEOUT, server_log).await
        };
        let (client, server) = tokio::join!(client, server);
        client.unwrap();
        server.unwrap();
    }
    let [client_text, server_text] = [client_path, server_path].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(client_text, server_text);
    assert_eq!((client_text.lines().count(), client_text.ends_with('\n')), (1, true), "one of the two was logged");
    TransportKeys::from_key_log_line(client_text.trim_end()).unwrap();
}
