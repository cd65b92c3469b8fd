//! The examples on the C library: built as their READMEs say, with AddressSanitizer, and talking to our own programs.

#[path = "../../../../protocols/v2/sv2-ffi/tests/support/mod.rs"]
mod support;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use bitcoin::{BlockHash, hashes::Hash};
use integration::pool::{LIMIT, TestPool};
use support::{library, package, root, run};
use template_source::{
    Command as Ask, Constraints, Event, Solution, SubmitOutcome, Subscription, TemplateSource,
    devnet::{Devnet, DevnetConfig},
    sv2::RemoteTemplateProvider,
};

const SANITIZERS: &str = "-g -fsanitize=address,undefined -fno-sanitize-recover=all";

// Cargo builds the static library because this test depends on its package.
use sv2_ffi as _;

/// A program that ends with the test.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Waits until the program has ended well; what it wrote meanwhile.
    async fn end(mut self) -> String {
        let wait = tokio::task::spawn_blocking(move || {
            let text = std::io::read_to_string(&mut self.output).expect("text");
            (text, self.child.wait().expect("a status"), self)
        });
        let (text, status, _program) =
            tokio::time::timeout(LIMIT, wait).await.expect("an end in time").expect("a wait");
        assert!(status.success(), "{status}: {text}");
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// Installs the full library that cargo has just built.
fn install(prefix: &Path) {
    run(Command::new("sh").arg(package().join("install.sh")).arg(prefix).arg(library()));
}

async fn next(subscription: &mut Subscription) -> Event {
    let event = tokio::time::timeout(LIMIT, subscription.events.recv()).await.expect("an event in time");
    event.expect("the subscription goes on")
}

/// The conversation of both Template Providers, with our own client at the other end.
async fn talk_to(mut provider: Program) {
    let line = provider.line();
    let url = line.strip_prefix("listening on ").expect("a URL").parse().expect("a URL");
    let constraints = Constraints { max_additional_size: 77, max_additional_sigops: 4 };
    let mut subscription = RemoteTemplateProvider::new(url).subscribe(constraints);
    assert!(matches!(next(&mut subscription).await, Event::Up { .. }));

    for height in [1000, 1001] {
        let Event::Template(template) = next(&mut subscription).await else { panic!("expected a template") };
        assert_eq!((template.height, template.future, template.merkle_path.len()), (height, true, 1));
        let Event::Tip(tip) = next(&mut subscription).await else { panic!("expected a tip") };
        assert_eq!((tip.template_id, tip.nbits), (template.id, 0x207f_ffff));
        assert_eq!(tip.prev_hash.to_byte_array()[0], (height - 1000) as u8);

        subscription.commands.send(Ask::RequestTransactions(template.id)).await.expect("a client");
        let Event::Transactions { result, .. } = next(&mut subscription).await else { panic!("expected transactions") };
        let transactions = result.expect("transactions");
        let transaction: bitcoin::Transaction = bitcoin::consensus::deserialize(&transactions[0]).expect("one");
        assert_eq!(transaction.compute_txid().to_byte_array(), template.merkle_path[0]);
        if height == 1001 {
            break;
        }
        let solution = Solution {
            template_id: template.id,
            hash: BlockHash::all_zeros(),
            version: template.version,
            header_timestamp: tip.header_timestamp,
            header_nonce: 7,
            coinbase_tx: vec![1; 100],
        };
        subscription.commands.send(Ask::SubmitSolution(solution)).await.expect("a client");
        let Event::Submitted { outcome, .. } = next(&mut subscription).await else { panic!("expected an outcome") };
        assert_eq!(outcome, SubmitOutcome::Sent);
    }
    drop(subscription);
    let text = provider.end().await;
    let expected = [
        "constraints 77",
        "template 1",
        "transactions 1",
        "solution 1",
        "template 2",
        "transactions 2",
        "the client has gone",
    ];
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn interop_cpp() {
    let folder = tempfile::tempdir().expect("a folder");
    let (prefix, build) = (folder.path().join("sv2"), folder.path().join("build"));
    install(&prefix);
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(example("interop-cpp")).arg("-B").arg(&build);
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).arg(format!("-DCMAKE_CXX_FLAGS={SANITIZERS}"));
    run(&mut configure);
    run(Command::new("cmake").arg("--build").arg(&build));
    talk_to(Program::start(&mut Command::new(build.join("interop-cpp")))).await;
}

#[tokio::test]
async fn interop_cpp_no_cargo() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut build = Command::new("sh");
    build.arg(example("interop-cpp-no-cargo").join("build.sh")).arg(folder.path());
    run(build.env("CXXFLAGS", SANITIZERS).env("CARGO", "false").env_remove("RUSTFLAGS"));
    talk_to(Program::start(&mut Command::new(folder.path().join("interop-cpp-no-cargo")))).await;
}

/// Until the pool has seen three blocks accepted, on each kind of channel.
#[tokio::test]
async fn c_miner() {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("sv2");
    install(&prefix);
    for file in ["miner.c", "Makefile"] {
        std::fs::copy(example("c-miner").join(file), folder.path().join(file)).expect("a copy");
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(folder.path()).env("CFLAGS", format!("-Wall -Wextra -Werror {SANITIZERS}"));
    run(make.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")));

    let mut pool = TestPool::start(vec![Arc::new(Devnet::new(DevnetConfig::default()).expect("sound"))]).await;
    for arguments in [&["3"][..], &["--standard", "3"]] {
        let mut miner = Command::new(folder.path().join("miner"));
        let miner = Program::start(miner.args([&pool.url(), "c-miner.1"]).args(arguments));
        for _ in 0..3 {
            pool.until_accepted(None).await;
        }
        let text = miner.end().await;
        assert!(text.ends_with("block 3 is on the chain\n"), "{text}");
    }
    pool.stop().await;
}
