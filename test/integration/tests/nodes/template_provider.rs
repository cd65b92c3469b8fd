//! A Template Provider on a real Bitcoin Core, with a client over TDP and noise.

use std::sync::Arc;

use bitcoin::Amount;
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    events::{Reader, mine},
    sources::{ipc, rpc},
};
use stratum_runtime::{config, identity::create_authority_key, shutdown::Shutdown};
use template_provider::{TemplateProvider, config::TemplateProviderConfig};
use template_source::{Command, Constraints, Event, TemplateSource, sv2::RemoteTemplateProvider};

/// A Template Provider on a node, and a client's view of it.
async fn start(
    node: &CoreNode,
    source: Arc<dyn TemplateSource>,
    shutdown: &Shutdown,
) -> (TemplateProvider, RemoteTemplateProvider) {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("authority.key");
    create_authority_key(&key).expect("a key");
    let text = format!(
        "network = 'regtest'\nauthority_key_file = '{}'\nlisten = [{{ address = '127.0.0.1:0' }}]\n\
         source = {{ kind = 'bitcoin-ipc', socket = '{}' }}\n",
        key.display(),
        node.ipc_socket().display()
    );
    let config: TemplateProviderConfig =
        config::parse(&text, "test", "NONE", std::iter::empty()).expect("a configuration");
    let provider = TemplateProvider::start(&config, source, shutdown.clone()).await.expect("it starts");
    let url = format!("stratum2+tcp://{}/{}", provider.addresses()[0], provider.authority().expect("a key"));
    (provider, RemoteTemplateProvider::new(url.parse().expect("a URL")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_found_while_the_node_is_down_is_in_the_chain_when_it_is_back() {
    found_while_the_node_is_down(ipc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_over_json_rpc() {
    found_while_the_node_is_down(rpc).await;
}

async fn found_while_the_node_is_down(source: impl Fn(&CoreNode) -> Arc<dyn TemplateSource>) {
    let mut node = CoreNode::start(CoreOptions::default());
    let coin = node.mine_coins(1)[0];
    node.spend(coin, Amount::from_sat(100_000));
    let shutdown = Shutdown::new();
    let (provider, client) = start(&node, source(&node), &shutdown).await;
    let mut reader = Reader::new(client.subscribe(Constraints { max_additional_size: 100, max_additional_sigops: 4 }));
    let tip = reader.until_tip(node.best_hash()).await;
    let template = reader.template(tip.template_id).clone();
    let transactions = reader.transactions(template.id).await.expect("transactions");
    assert_eq!(transactions.len(), 1);

    let mined = mine(&template, &tip, b"away", anyone_can_spend());
    let hash = mined.header.block_hash();
    node.stop();
    reader.command(Command::SubmitSolution(mined.solution.clone())).await;
    reader.submitted(hash).await;
    node.restart();
    reader.until_tip(hash).await;
    assert_eq!(node.block(hash).txdata.len(), 2, "the transaction is in it");
    shutdown.cancel();
    provider.join().await;
    reader.until(|event| matches!(event, Event::Down { .. }).then_some(())).await;
}
