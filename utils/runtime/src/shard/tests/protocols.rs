//! Frames and lines on one port, in the clear and encrypted.

use network_helpers::initiate;
use noise_sv2::AuthoritySecretKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use stratum_v1::line::MAX_LINE_FROM_MINER;

use super::*;
use crate::tls::tests::write_identity;

const LINE: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a device\"]}\n";

fn rig() -> Rig {
    let (reports, _) = mpsc::channel(9);
    Rig::new(reports, None)
}

fn noise() -> Security {
    let authority = AuthoritySecretKey::generate(&mut rand_core::OsRng).unwrap();
    Security::Noise(Arc::new(Identity::new(authority, Duration::from_secs(3600))))
}

/// A listener for everything that a shard serves.
fn everything(v2: Security, folder: &std::path::Path) -> (Protocols, CertificateDer<'static>) {
    let (files, certificate) = write_identity(folder);
    let tls = Some(Arc::new(TlsIdentity::load(files).unwrap()));
    (Protocols { v2: Some(v2), v1: true, tls }, certificate)
}

async fn expect(client: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

#[tokio::test]
async fn lines_come_whole_however_they_are_sent() {
    let rig = rig();
    let protocols = Protocols { v2: Some(Security::Plain), v1: true, tls: None };
    // All that told the protocol is one message already, and more follow.
    let mut client = rig.connect_to(protocols.clone()).await;
    client.write_all(b"{\"method\":\"x\"}\n").await.unwrap();
    expect(&mut client, b"{\"method\":\"x\"}\n").await;
    client.write_all(&[LINE, LINE].concat()).await.unwrap();
    expect(&mut client, &[LINE, LINE].concat()).await;
    // A byte at a time.
    let mut client = rig.connect_to(protocols).await;
    client.set_nodelay(true).unwrap();
    for byte in LINE {
        client.write_all(&[*byte]).await.unwrap();
    }
    expect(&mut client, LINE).await;
    rig.end();
}

#[tokio::test]
async fn a_line_over_the_limit_ends_the_connection_and_those_before_are_answered() {
    let rig = rig();
    let mut client = rig.connect_to(Protocols { v2: None, v1: true, tls: None }).await;
    let mut long = vec![b'x'; MAX_LINE_FROM_MINER + 1];
    long[..2].copy_from_slice(b"{\"");
    let longest = long[..MAX_LINE_FROM_MINER].to_vec();
    client.write_all(&[LINE, &longest, b"\n"].concat()).await.unwrap();
    expect(&mut client, &[LINE, &longest, b"\n"].concat()).await;
    client.write_all(&[LINE, &long].concat()).await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, LINE);
    rig.end();
}

#[tokio::test]
async fn each_protocol_is_served_on_one_port() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig();
    let (protocols, certificate) = everything(noise(), folder.path());
    let mut lines = rig.connect_to(protocols.clone()).await;
    lines.write_all(LINE).await.unwrap();
    expect(&mut lines, LINE).await;

    let mut secret = rig.connect_to(protocols.clone()).await;
    initiate(&mut secret, None, Duration::from_secs(60)).await.unwrap();

    let mut tls = Tls::new(rig.connect_to(protocols.clone()).await, certificate);
    tls.send(LINE).await;
    tls.expect(LINE).await;
    // More than a record, both ways.
    let long = [&b"{\""[..], &vec![b'x'; MAX_LINE_FROM_MINER - 2], b"\n"].concat();
    tls.send(&[&long[..], &long].concat()).await;
    tls.expect(&[&long[..], &long].concat()).await;

    let mut plain = rig.connect_to(Protocols { v2: Some(Security::Plain), ..protocols }).await;
    plain.write_all(&messages(1..=1)).await.unwrap();
    assert_eq!(receive(&mut plain).await, (2, 0), "whatever is nothing else");
    rig.end();
}

#[tokio::test]
async fn what_a_listener_does_not_serve_is_closed_without_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig();
    let (all, _) = everything(noise(), folder.path());
    let hello = [0x16, 3, 1, 0x00, 0xc8, 1, 0, 0, 0xc4, 3, 3];
    let setup = [0, 0, 0, 16, 0, 0];
    for (protocols, first) in [
        (Protocols { v1: false, ..all.clone() }, LINE),
        (Protocols { tls: None, ..all.clone() }, &hello[..]),
        (Protocols { v2: None, ..all.clone() }, &[7; 64]),
        (all.clone(), &setup),
    ] {
        let mut client = rig.connect_to(protocols.clone()).await;
        client.write_all(first).await.unwrap();
        let read = client.read(&mut [0]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{protocols:?}: {read:?}");
    }
    rig.end();
}

#[tokio::test]
async fn who_does_not_come_to_the_point_is_dropped_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig();
    rig.handshake = Duration::from_millis(50);
    let (protocols, _) = everything(noise(), folder.path());
    let hello = [0x16, 3, 1, 0x00, 0xc8, 1, 0, 0, 0xc4, 3, 3];
    for first in [&b""[..], b"{", b"{\"method\":", &[7; 63], &hello] {
        let mut client = rig.connect_to(protocols.clone()).await;
        client.write_all(first).await.unwrap();
        assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)), "{first:02x?}");
    }
    rig.end();
}

#[tokio::test]
async fn whoever_says_nothing_ends_with_the_shard() {
    let rig = rig();
    let mut silent = rig.connect_to(Protocols { v2: None, v1: true, tls: None }).await;
    rig.end();
    assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
}

/// A TLS client.
struct Tls {
    stream: TcpStream,
    tls: ClientConnection,
}

impl Tls {
    fn new(stream: TcpStream, certificate: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Self { stream, tls: ClientConnection::new(Arc::new(config), name).unwrap() }
    }

    async fn flush(&mut self) {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).unwrap();
        }
        self.stream.write_all(&out).await.unwrap();
    }

    async fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = io::Write::write(&mut self.tls.writer(), bytes).unwrap();
            bytes = &bytes[count..];
            self.flush().await;
            if self.tls.is_handshaking() {
                self.receive().await;
            }
        }
        while self.tls.is_handshaking() {
            self.receive().await;
        }
        self.flush().await;
    }

    async fn receive(&mut self) {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "closed");
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            self.tls.process_new_packets().unwrap();
        }
        self.flush().await;
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            let mut part = [0; 4096];
            match io::Read::read(&mut self.tls.reader(), &mut part) {
                Ok(count) => got.extend_from_slice(&part[..count]),
                Err(_) => self.receive().await,
            }
        }
        assert!(got == bytes, "{} bytes", got.len());
    }
}
