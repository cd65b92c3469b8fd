//! Operators are told what happens: a command hook that writes what it gets into a FIFO.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
};

use integration::pool::{ChannelKind, LIMIT, TestMiner, TestPool};
use serde_json::Value;
use stratum_notify::{NotifyConfig, config::CommandConfig};
use template_source::{TemplateSource, config::SourceConfig};
use tokio::sync::mpsc;

/// Fails as long as there is no `ready` in the folder; writes one line for each notification.
fn hook(folder: &Path) -> NotifyConfig {
    let fifo = folder.join("fifo");
    if !fifo.exists() {
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
    }
    let script = r#"[ -e "$0/ready" ] && { cat; echo; } > "$0/fifo""#;
    let command = CommandConfig {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into(), folder.display().to_string()],
        events: vec!["block".to_owned().try_into().unwrap()],
        timeout_seconds: 30,
    };
    NotifyConfig { name: Some("test".into()), command: vec![command], ..NotifyConfig::default() }
}

/// All notifications from now on, as they come.
fn notifications(folder: &Path) -> mpsc::UnboundedReceiver<Value> {
    // Open for writing, too, it does not end when a writer goes.
    let fifo = OpenOptions::new().read(true).write(true).open(folder.join("fifo")).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(fifo).lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn devnet() -> Arc<dyn TemplateSource> {
    SourceConfig::Devnet { nbits: None }.build(bitcoin::Network::Regtest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_block_is_told_and_what_is_not_delivered_comes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let notify = hook(folder.path());
    let mut told = notifications(folder.path());
    let mut pool = TestPool::start_with(vec![devnet()], |config| config.notify = notify).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice.rig").await;
    let hash = miner.mine_block().await.to_string();
    pool.until_accepted(None).await;
    drop(miner);
    // Nobody has been told yet.
    fs::write(folder.path().join("ready"), "").unwrap();
    let pool = pool.restart(vec![devnet()]).await;
    let both = async {
        let (found, accepted) = (told.recv().await.unwrap(), told.recv().await.unwrap());
        assert_eq!((&found["event"], &accepted["event"]), (&"block.found".into(), &"block.accepted".into()));
        for told in [found, accepted] {
            assert_eq!((&told["pool"], &told["network"]), (&"test".into(), &"regtest".into()));
            assert_eq!((&told["data"]["hash"], &told["data"]["finder"]), (&hash.as_str().into(), &"alice.rig".into()));
        }
    };
    tokio::time::timeout(LIMIT, both).await.expect("both are told");
    drop(pool);
}
