//! Peers that break the rules cost only their own connection.

use std::{sync::Arc, time::Duration};

use binary_sv2::Str0_255;
use common_messages_sv2::Reconnect;
use framing_sv2::{Header, Sv2Frame};
use integration::pool::{ChannelKind, LIMIT, TestMiner, TestPool, open_extended, read, setup_connection};
use network_helpers::{Connection, Security};
use template_source::devnet::{Devnet, DevnetConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn pool() -> TestPool {
    let devnet = Devnet::new(DevnetConfig::default()).expect("regtest's target is sound");
    TestPool::start_with(vec![Arc::new(devnet)], |config| {
        config.limits.handshake_seconds = 1;
        config.limits.setup_seconds = 1;
        config.limits.first_channel_seconds = 1;
    })
    .await
}

/// Waits until the peer closes; what it sends before is thrown away.
async fn closes(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good as an orderly close.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("the pool hangs up");
}

async fn hangs_up(mut connection: Connection) {
    while tokio::time::timeout(LIMIT, connection.read_frame()).await.expect("the pool hangs up").is_ok() {}
}

/// Whatever `attack` does to the pool, a miner that was there before, and one that comes after, mine on.
async fn survives(attack: impl AsyncFnOnce(&TestPool)) {
    let mut pool = pool().await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "honest").await;
    attack(&pool).await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    miner.until(|miner| !miner.acks.is_empty()).await;
    TestMiner::open(&pool, ChannelKind::Standard, "newcomer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_before_and_after_each_step() {
    survives(async |pool| {
        let mut nothing = TcpStream::connect(pool.address()).await.unwrap();
        closes(&mut nothing).await;
        hangs_up(Connection::connect(&pool.address(), pool.security()).await.unwrap()).await;
        let mut set_up = Connection::connect(&pool.address(), pool.security()).await.unwrap();
        set_up.send(&setup_connection(0)).await.unwrap();
        hangs_up(set_up).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_handshake_and_after_it() {
    survives(async |pool| {
        let mut web = TcpStream::connect(pool.address()).await.unwrap();
        web.write_all(&[b'x'; 64]).await.unwrap();
        // Any 64 bytes are a key; what follows is not authentic.
        web.write_all(&[b'y'; 22]).await.unwrap();
        closes(&mut web).await;
        let half = TcpStream::connect(pool.address()).await.unwrap();
        half.try_write(&[1, 2, 3]).unwrap();
        drop(half);
        let connection = Connection::connect(&pool.address(), pool.security()).await.unwrap();
        let (mut stream, _, _) = connection.into_parts().unwrap();
        stream.write_all(&[0; 500]).await.unwrap();
        closes(&mut stream).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_an_encrypted_frame() {
    survives(async |pool| {
        let connection = Connection::connect(&pool.address(), pool.security()).await.unwrap();
        let (mut stream, _, mut queue) = connection.into_parts().unwrap();
        queue.push(&setup_connection(0)).unwrap();
        let mut bytes = queue.pending().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        stream.write_all(&bytes).await.unwrap();
        closes(&mut stream).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_truncated_frames() {
    survives(async |pool| {
        // Refused from its header: not a byte of the payload is waited for.
        let mut oversized = TcpStream::connect(pool.plain_address()).await.unwrap();
        let header = Header::new(0, false, 0, 128 * 1024 + 1).unwrap();
        oversized.write_all(&header.to_bytes()).await.unwrap();
        closes(&mut oversized).await;
        let mut truncated = TcpStream::connect(pool.plain_address()).await.unwrap();
        truncated.write_all(&Header::new(0, false, 0, 100).unwrap().to_bytes()).await.unwrap();
        truncated.write_all(&[0; 50]).await.unwrap();
        truncated.shutdown().await.unwrap();
        closes(&mut truncated).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_the_wrong_protocol_or_state() {
    survives(async |pool| {
        for frame in [
            // No such message; a message of template distribution; a share whose payload is too short.
            Sv2Frame::new(Header::new(0, false, 0xee, 0).unwrap(), vec![]).unwrap(),
            Sv2Frame::new(Header::new(0, false, 0x70, 6).unwrap(), vec![0; 6]).unwrap(),
            Sv2Frame::new(Header::new(0, true, 0x1a, 3).unwrap(), vec![0; 3]).unwrap(),
        ] {
            let mut connection = Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
            connection.send(&setup_connection(0)).await.unwrap();
            read(&mut connection).await;
            connection.writer().queue_frame(&frame).unwrap();
            connection.writer().flush().await.unwrap();
            hangs_up(connection).await;
        }
        let mut twice = Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
        twice.send(&setup_connection(0)).await.unwrap();
        twice.send(&setup_connection(0)).await.unwrap();
        hangs_up(twice).await;
        let mut early = Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
        early.send(&open_extended("early")).await.unwrap();
        hangs_up(early).await;
        let mut upside_down = Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
        upside_down.send(&Reconnect { new_host: Str0_255::from_truncated("elsewhere"), new_port: 1 }).await.unwrap();
        hangs_up(upside_down).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_authority_key_is_noticed_by_the_miner() {
    survives(async |pool| {
        let other = noise_sv2::AuthoritySecretKey::generate(&mut rand_core::OsRng).unwrap().public_key();
        let security = Security::Noise { authority: Some(other) };
        let error = Connection::connect(&pool.address(), security).await.unwrap_err();
        assert!(matches!(error, network_helpers::Error::Certificate(_)), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_dropped() {
    let devnet = Devnet::new(DevnetConfig::default()).expect("regtest's target is sound");
    let mut pool = TestPool::start_with(vec![Arc::new(devnet.clone())], |config| {
        config.limits.unsent_seconds = 1;
    })
    .await;
    let mut honest = TestMiner::open(&pool, ChannelKind::Extended, "honest").await;
    let mut deaf = Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
    deaf.send(&setup_connection(0)).await.unwrap();
    // Answers to these fill the system's buffers, then the pool's; it stops reading, so writing stops, too.
    let unread = async {
        loop {
            if deaf.send(&open_extended(&"x".repeat(255))).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, unread).await.expect("the pool hangs up");
    let hash = honest.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    tokio::time::timeout(Duration::from_secs(60), honest.until_tip(hash)).await.unwrap();
}
