//! The debug option that writes connections' keys to a file.

use integration::pool::TestPool;
use network_helpers::{Connection, HANDSHAKE_TIMEOUT, KeyLog, Security};

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_write_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let [pool_keys, client_keys] = ["pool", "client"].map(|name| folder.path().join(name));
    let pool = TestPool::start_with(vec![], |config| config.debug_key_log = Some(pool_keys.clone())).await;
    let log = KeyLog::open(&client_keys).unwrap();
    for _ in 0..2 {
        Connection::connect_logging_keys(&pool.address(), pool.security(), HANDSHAKE_TIMEOUT, Some(&log))
            .await
            .unwrap();
    }
    Connection::connect(&pool.plain_address(), Security::Plain).await.unwrap();
    let [pool_text, client_text] = [pool_keys, client_keys].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(pool_text, client_text);
    assert_eq!(pool_text.lines().filter(|line| line.starts_with("SV2_NOISE ")).count(), 2);
}
