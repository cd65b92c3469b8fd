//! Runs the example against our Template Provider on a devnet, and against the one of `TEMPLATE_PROVIDER_URL` if set.

use std::{process::Output, sync::Arc, time::Duration};

use noise_sv2::url::EndpointUrl;
use stratum_runtime::{identity::create_authority_key, shutdown::Shutdown};
use template_provider::{TemplateProvider, config};
use template_source::devnet::{Devnet, DevnetConfig};

async fn run(arguments: Vec<String>) -> Output {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_template-provider-test")).args(arguments).output();
    tokio::task::spawn_blocking(program).await.unwrap().unwrap()
}

/// The numbers of each connection's last line.
fn scores(output: &Output) -> Vec<(usize, usize)> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let numbers = |line: &str| {
        let words: Vec<_> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        (words[0], words[1])
    };
    out.lines().filter_map(|line| line.split_once(": right: ")).map(|(_, line)| numbers(line)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn against_ours() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("authority.key");
    create_authority_key(&key).unwrap();
    // A new template as soon as there is a new transaction.
    let quick = Duration::from_millis(20);
    let devnet = DevnetConfig { tick: quick, fee_check: quick, fee_threshold: 1, ..DevnetConfig::default() };
    let text = config::DEFAULT.replace("network = \"bitcoin\"", "network = \"regtest\"");
    let mut config: config::TemplateProviderConfig =
        stratum_runtime::config::parse(&text, "default", config::ENVIRONMENT, std::iter::empty()).unwrap();
    config.authority_key_file = Some(key);
    config.listen[0].address = ([127, 0, 0, 1], 0).into();
    let shutdown = Shutdown::new();
    let source = Arc::new(Devnet::new(devnet).unwrap());
    let provider = TemplateProvider::start(&config, source, shutdown.clone()).await.unwrap();

    let address = provider.addresses()[0];
    let url = EndpointUrl::new(&address.ip().to_string(), address.port(), provider.authority()).unwrap();
    let output = run(vec![url.to_string(), "--templates".into(), "4".into()]).await;
    let scores = scores(&output);
    assert!(scores.iter().map(|score| score.0).eq([4, 4]), "{scores:?}");
    assert!(scores.iter().all(|score| score.1 > 0), "{scores:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["received: NewTemplate", "nBits: 0x207fffff", "sent: RequestTransactionData", "template-id-not-found"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }

    let other_key = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    let impostor = run(vec![format!("stratum2+tcp://{address}/{other_key}")]).await;
    assert_eq!(impostor.status.code(), Some(1));
    shutdown.cancel();
    provider.join().await;
}

#[tokio::test]
async fn against_another_where_configured() {
    let Ok(url) = std::env::var("TEMPLATE_PROVIDER_URL") else {
        return println!("skipped: TEMPLATE_PROVIDER_URL is not set");
    };
    let plain = !url.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port_and_key)| port_and_key.contains('/'));
    let mut arguments = vec![url, "--templates".to_owned(), "1".to_owned()];
    arguments.extend(plain.then(|| "--plain".to_owned()));
    assert_eq!(scores(&run(arguments).await).len(), 2);
}
