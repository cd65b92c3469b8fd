//! The source against nodes that do not exist: other schema generations, nonsense, silence.
//!
//! What a real node does is tested with a real node, in the integration tests.

use std::{future::pending, path::PathBuf};

use bitcoin_capnp_types::{
    init_capnp::init,
    mining_capnp::{block_template, mining},
    proxy_capnp::{thread, thread_map},
    rpc_capnp::rpc,
};
use capnp::capability::Rc;
use capnp_rpc::{RpcSystem, new_client, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::LocalSet,
};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::*;
use crate::{Command, Constraints, SubmitOutcome, subscription::backoff::RETRY_FIRST};

type Answer = Result<(), capnp::Error>;

/// What a made-up node has and says.
#[derive(Clone)]
struct Fake {
    /// `makeMining` is where it is since v31.
    makes_mining: bool,
    /// `submitBlock` and what came with it.
    takes_blocks: bool,
    /// `submitSolution` is where it went after v31.99.
    has_later_solution: bool,
    chain: &'static str,
    is_test_chain: bool,
    is_syncing: bool,
    header: Vec<u8>,
    prefix: Vec<u8>,
    reward: i64,
    path: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    template: bool,
}

impl Default for Fake {
    fn default() -> Self {
        let mut header = vec![0; 80];
        header[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        Self {
            makes_mining: true,
            takes_blocks: true,
            has_later_solution: false,
            chain: "regtest",
            is_test_chain: true,
            is_syncing: true,
            header,
            prefix: vec![1, 100],
            reward: 1000,
            path: vec![],
            outputs: vec![convert::commitment_output(1)],
            template: true,
        }
    }
}

impl init::Server for Fake {
    async fn construct(self: Rc<Self>, _: init::ConstructParams, mut results: init::ConstructResults) -> Answer {
        results.get().set_thread_map(new_client((*self).clone()));
        Ok(())
    }

    async fn make_mining(self: Rc<Self>, _: init::MakeMiningParams, mut results: init::MakeMiningResults) -> Answer {
        if !self.makes_mining {
            return Err(capnp::Error::unimplemented("makeMining".into()));
        }
        results.get().set_result(new_client((*self).clone()));
        Ok(())
    }

    async fn make_rpc(self: Rc<Self>, _: init::MakeRpcParams, mut results: init::MakeRpcResults) -> Answer {
        results.get().set_result(new_client((*self).clone()));
        Ok(())
    }
}

impl thread_map::Server for Fake {
    async fn make_thread(
        self: Rc<Self>,
        _: thread_map::MakeThreadParams,
        mut results: thread_map::MakeThreadResults,
    ) -> Answer {
        results.get().set_result(new_client((*self).clone()));
        Ok(())
    }
}

impl thread::Server for Fake {}

impl rpc::Server for Fake {
    async fn execute_rpc(self: Rc<Self>, _: rpc::ExecuteRpcParams, mut results: rpc::ExecuteRpcResults) -> Answer {
        let answer =
            serde_json::json!({ "result": { "chain": self.chain, "subversion": "/Fake:1/\u{7}" }, "error": null });
        results.get().set_result(answer.to_string().as_str());
        Ok(())
    }
}

impl mining::Server for Fake {
    async fn is_test_chain(
        self: Rc<Self>,
        _: mining::IsTestChainParams,
        mut results: mining::IsTestChainResults,
    ) -> Answer {
        results.get().set_result(self.is_test_chain);
        Ok(())
    }

    async fn is_initial_block_download(
        self: Rc<Self>,
        _: mining::IsInitialBlockDownloadParams,
        mut results: mining::IsInitialBlockDownloadResults,
    ) -> Answer {
        results.get().set_result(self.is_syncing);
        Ok(())
    }

    async fn get_transactions_by_tx_i_d(
        self: Rc<Self>,
        _: mining::GetTransactionsByTxIDParams,
        mut results: mining::GetTransactionsByTxIDResults,
    ) -> Answer {
        if !self.takes_blocks {
            return Err(capnp::Error::unimplemented("getTransactionsByTxID".into()));
        }
        results.get().init_result(0);
        Ok(())
    }

    async fn create_new_block(
        self: Rc<Self>,
        _: mining::CreateNewBlockParams,
        mut results: mining::CreateNewBlockResults,
    ) -> Answer {
        if self.template {
            results.get().set_result(new_client((*self).clone()));
        }
        Ok(())
    }

    async fn wait_tip_changed(
        self: Rc<Self>,
        _: mining::WaitTipChangedParams,
        _: mining::WaitTipChangedResults,
    ) -> Answer {
        pending().await
    }

    async fn submit_block(self: Rc<Self>, _: mining::SubmitBlockParams, _: mining::SubmitBlockResults) -> Answer {
        pending().await
    }
}

impl block_template::Server for Fake {
    async fn get_block_header(
        self: Rc<Self>,
        _: block_template::GetBlockHeaderParams,
        mut results: block_template::GetBlockHeaderResults,
    ) -> Answer {
        results.get().set_result(&self.header);
        Ok(())
    }

    async fn get_coinbase_tx(
        self: Rc<Self>,
        _: block_template::GetCoinbaseTxParams,
        mut results: block_template::GetCoinbaseTxResults,
    ) -> Answer {
        let mut coinbase = results.get().init_result();
        coinbase.set_script_sig_prefix(&self.prefix);
        coinbase.set_block_reward_remaining(self.reward);
        let mut outputs = coinbase.init_required_outputs(u32::try_from(self.outputs.len()).unwrap());
        for (index, output) in (0..).zip(&self.outputs) {
            outputs.set(index, output);
        }
        Ok(())
    }

    async fn get_coinbase_merkle_path(
        self: Rc<Self>,
        _: block_template::GetCoinbaseMerklePathParams,
        mut results: block_template::GetCoinbaseMerklePathResults,
    ) -> Answer {
        let mut path = results.get().init_result(u32::try_from(self.path.len()).unwrap());
        for (index, hash) in (0..).zip(&self.path) {
            path.set(index, hash);
        }
        Ok(())
    }

    async fn submit_solution(
        self: Rc<Self>,
        _: block_template::SubmitSolutionParams,
        mut results: block_template::SubmitSolutionResults,
    ) -> Answer {
        if !self.has_later_solution {
            return Err(capnp::Error::unimplemented("submitSolution".into()));
        }
        results.get().set_result(false);
        Ok(())
    }
}

/// A socket in a folder of its own.
fn socket() -> (TempDir, PathBuf, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
}

fn subscribe(socket: PathBuf) -> Subscription {
    BitcoinIpc::new(BitcoinIpcConfig::at_socket(socket)).subscribe(Constraints::default())
}

async fn serve(fake: Fake, stream: UnixStream) {
    let (reader, writer) = stream.into_split();
    let network = VatNetwork::new(reader.compat(), writer.compat_write(), Side::Server, Default::default());
    let init: init::Client = new_client(fake);
    // Ends with its client.
    let _ = RpcSystem::new(Box::new(network), Some(init.client)).await;
}

/// The first event of a subscription to a made-up node.
async fn first_event(fake: Fake) -> Event {
    let (_folder, path, listener) = socket();
    let mut subscription = subscribe(path);
    LocalSet::new()
        .run_until(async {
            let (stream, _) = listener.accept().await.unwrap();
            let node = tokio::task::spawn_local(serve(fake, stream));
            let event = subscription.events.recv().await.unwrap();
            node.abort();
            event
        })
        .await
}

async fn reason(fake: Fake) -> String {
    match first_event(fake).await {
        Event::Down { reason, .. } => reason,
        other => panic!("expected Down, got {other:?}"),
    }
}

#[tokio::test]
async fn a_node_as_expected_comes_up() {
    let Event::Up { network, description } = first_event(Fake::default()).await else { panic!("expected Up") };
    assert_eq!(network, Some(Network::Regtest));
    assert!(description.starts_with("Bitcoin Core /Fake:1/ at "), "{description:?}");
}

#[tokio::test]
async fn other_generations_are_refused_by_name() {
    let old = reason(Fake { makes_mining: false, ..Fake::default() }).await;
    assert!(old.contains("older than v31.99") && old.contains("makeMining @3"), "{old}");
    let old = reason(Fake { takes_blocks: false, ..Fake::default() }).await;
    assert!(old.contains("older than v31.99") && old.contains("getTransactionsByTxID @8"), "{old}");
    let new = reason(Fake { has_later_solution: true, ..Fake::default() }).await;
    assert!(new.contains("newer than v31.99") && new.contains("submitSolution @10"), "{new}");
}

#[tokio::test]
async fn a_syncing_node_is_waited_for_unless_the_chain_is_for_tests() {
    let why = reason(Fake { chain: "main", is_test_chain: false, ..Fake::default() }).await;
    assert!(why.contains("still syncing"), "{why}");
    let event = first_event(Fake { chain: "main", is_test_chain: false, is_syncing: false, ..Fake::default() }).await;
    assert!(matches!(event, Event::Up { network: Some(Network::Bitcoin), .. }), "{event:?}");
    let why = reason(Fake { chain: "moon", ..Fake::default() }).await;
    assert!(why.contains("`moon`"), "{why}");
}

#[tokio::test]
async fn nonsense_costs_the_connection_and_says_what_was_wrong() {
    let fine = Fake::default;
    for (fake, word) in [
        (Fake { header: vec![0; 79], ..fine() }, "expected 80 bytes, got 79"),
        (Fake { header: vec![0; 80], ..fine() }, "nBits"),
        (Fake { header: vec![], ..fine() }, "expected 80 bytes, got 0"),
        (Fake { reward: -1, ..fine() }, "-1 satoshis"),
        (Fake { reward: i64::MAX, ..fine() }, "satoshis"),
        (Fake { prefix: vec![], ..fine() }, "BIP 34"),
        (Fake { prefix: vec![4, 0, 0, 0, 0x80], ..fine() }, "BIP 34"),
        (Fake { prefix: vec![1; 300], ..fine() }, "at most 8, got 300"),
        (Fake { path: vec![vec![0; 31]], ..fine() }, "expected 32 bytes, got 31"),
        (Fake { path: vec![vec![0; 32]; 40], ..fine() }, "at most 16, got 40"),
        (Fake { outputs: vec![vec![1, 2, 3]], ..fine() }, "required output 0"),
        (Fake { outputs: vec![vec![]], ..fine() }, "required output 0"),
        (Fake { template: false, ..fine() }, "shutting down"),
    ] {
        let why = reason(fake).await;
        assert!(why.contains(word), "expected `{word}` in `{why}`");
    }
}

#[tokio::test]
async fn who_speaks_something_else_is_left() {
    for greeting in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 4096], &[0; 4096], b"\x00\x00\x00\x00\xff\xff\xff\x7f"]
    {
        let (_folder, path, listener) = socket();
        let mut subscription = subscribe(path);
        let (mut stream, _) = listener.accept().await.unwrap();
        // Either side may close first.
        let _ = stream.write_all(greeting).await;
        drop(stream);
        let event = subscription.events.recv().await.unwrap();
        assert!(matches!(event, Event::Down { .. }), "{event:?}");
        // And it comes back.
        listener.accept().await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_socket_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut subscription = subscribe(folder.path().join("absent.sock"));
    let Event::Down { reason, retry_in } = subscription.events.recv().await.unwrap() else { panic!("expected Down") };
    assert!(reason.contains("-ipcbind=unix") && reason.contains("absent.sock"), "{reason}");
    assert_eq!(retry_in, RETRY_FIRST);
    let Event::Down { retry_in, .. } = subscription.events.recv().await.unwrap() else { panic!("expected Down") };
    assert_eq!(retry_in, 2 * RETRY_FIRST);

    let (_folder, path, listener) = socket();
    drop(listener);
    let mut subscription = subscribe(path);
    let Event::Down { reason, .. } = subscription.events.recv().await.unwrap() else { panic!("expected Down") };
    assert!(reason.contains("nobody listens"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_its_limit() {
    let (_folder, path, listener) = socket();
    let connecting = LocalSet::new();
    let result = connecting.run_until(node::Opening::connect(&path)).await;
    let Err(error) = result else { panic!("nobody answered") };
    assert!(matches!(error, error::IpcError::Timeout { .. }), "{error}");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut said = Vec::new();
    drop(connecting);
    stream.read_to_end(&mut said).await.unwrap();
    assert!(!said.is_empty(), "it had asked");
}

#[tokio::test]
async fn a_submission_is_answered_when_the_node_goes() {
    let (_folder, path, listener) = socket();
    let mut subscription = subscribe(path);
    let hash = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
    LocalSet::new()
        .run_until(async {
            let (stream, _) = listener.accept().await.unwrap();
            let node = tokio::task::spawn_local(serve(Fake::default(), stream));
            while !matches!(subscription.events.recv().await.unwrap(), Event::Tip(_)) {}
            for _ in 0..3 {
                let block = Command::SubmitBlock { hash, block: std::sync::Arc::new(vec![1]) };
                subscription.commands.send(block).await.unwrap();
            }
            let unknown = Command::RequestTransactions(crate::TemplateId(0));
            subscription.commands.send(unknown).await.unwrap();
            while !matches!(subscription.events.recv().await.unwrap(), Event::Transactions { .. }) {}
            node.abort();
            for _ in 0..3 {
                let event = subscription.events.recv().await.unwrap();
                let Event::Submitted { outcome, .. } = event else { panic!("expected Submitted, got {event:?}") };
                assert!(matches!(outcome, SubmitOutcome::Failed(_)), "{outcome:?}");
            }
            assert!(matches!(subscription.events.recv().await.unwrap(), Event::Down { .. }));
        })
        .await;
}
