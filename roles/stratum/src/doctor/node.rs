//! The nodes: whether each answers, is of the right chain, has caught up, and gives templates with enough room.

use std::time::Duration;

use bitcoin::Network;
use pool::PoolConfig;
use template_source::{Constraints, Event, NodeStatus, config::SourceConfig};

use super::Finding;

/// How long a node may take to give its first template.
const PATIENCE: Duration = Duration::from_secs(20);

/// What Bitcoin Core leaves for the coinbase unless told otherwise (`-blockreservedweight`).
const CORE_RESERVED_WEIGHT: u64 = 8_000;

/// Age of a tip on which something is likely to be wrong.
const OLD_TIP: u64 = 2 * 3600;

/// The findings, and the time of the newest tip.
pub(super) async fn examine(config: &PoolConfig) -> (Vec<Finding>, Option<u64>) {
    let mut findings = Vec::new();
    let constraints = match pool::server::constraints(config) {
        Ok(constraints) => constraints,
        Err(error) => {
            findings.push(Finding::error("payout", error.to_string(), "correct payout or coinbase_tag"));
            return (findings, None);
        }
    };
    findings.push(reserved(config, constraints));
    let now = super::system::unix_now();
    let (mut usable, mut tip_time) = (0, None);
    let mut failures = Vec::new();
    for source in &config.source {
        let name = name(source);
        match source.status(config.network).await {
            Some(Ok(status)) => {
                tip_time = tip_time.max(status.tip_time);
                findings.extend(judge(&name, config.network, &status, now));
            }
            Some(Err(reason)) => {
                failures.push(format!("{name}: {reason}"));
                continue;
            }
            None => {}
        }
        match first_template(config, source, constraints).await {
            Ok(description) => {
                usable += 1;
                findings.push(Finding::ok("node", format!("{name} gives templates ({description})")));
            }
            Err(reason) => failures.push(format!("{name} gives no templates: {reason}")),
        }
    }
    findings.extend(failures.into_iter().map(|failure| missing(failure, usable)));
    if !config.source.iter().any(SourceConfig::takes_raw_blocks) {
        let text = "no node takes whole blocks: a found block reaches the network only through the Template Provider that made its template";
        findings.push(Finding::warning("node", text, "add a bitcoin-ipc or bitcoin-rpc source"));
    }
    (findings, tip_time)
}

fn name(source: &SourceConfig) -> String {
    match source {
        SourceConfig::BitcoinIpc { socket } => format!("bitcoin-ipc {}", socket.display()),
        SourceConfig::BitcoinRpc { url, .. } => format!("bitcoin-rpc {url}"),
        SourceConfig::Sv2 { url, .. } => format!("sv2 {url}"),
        SourceConfig::Devnet { .. } => "devnet".to_owned(),
    }
}

fn reserved(config: &PoolConfig, constraints: Constraints) -> Finding {
    let weight = constraints.reserved_weight();
    let over_rpc = config.source.iter().any(|source| matches!(source, SourceConfig::BitcoinRpc { .. }));
    let text = format!("the coinbase needs {weight} weight units and {} sigops", constraints.max_additional_sigops);
    if over_rpc && weight > CORE_RESERVED_WEIGHT {
        let advice =
            format!("start the node with -blockreservedweight={weight}, so that it chooses the transactions itself");
        return Finding::warning(
            "payout",
            format!("{text}, more than the node leaves ({CORE_RESERVED_WEIGHT})"),
            &advice,
        );
    }
    Finding::ok("payout", text)
}

/// A node that can not be used, beside so many that can.
fn missing(failure: String, usable: usize) -> Finding {
    if usable > 0 {
        return Finding::warning("node", failure, "the pool works without it, and uses it as soon as it can");
    }
    Finding::error("node", failure, "without a node there is no work; the pool tries again by itself")
}

/// What a node says of itself.
fn judge(name: &str, expected: Network, status: &NodeStatus, now: u64) -> Vec<Finding> {
    let NodeStatus { network, agent, blocks, headers, is_syncing, progress, tip_time, connections } = status;
    if *network != expected {
        let text = format!("{name} is on {network}, and the pool on {expected}");
        return vec![Finding::error("node", text, "set the right network, or name another node")];
    }
    let mut findings = vec![Finding::ok("node", format!("{name}: {agent}, block {blocks}, {connections} connections"))];
    let lonely = *network != Network::Regtest;
    // On test chains Bitcoin Core gives templates all the same.
    if *is_syncing && *network == Network::Bitcoin {
        let percent = progress * 100.0;
        let text = format!("{name} loads the chain: {percent:.2} % checked, block {blocks} of {headers}");
        findings.push(Finding::error("node", text, "wait until it has caught up: until then it gives no templates"));
        return findings;
    }
    if headers > blocks {
        let text = format!("{name} knows of {} blocks that it has not checked yet", headers - blocks);
        findings.push(Finding::warning("node", text, "look again in a minute"));
    }
    if lonely && *connections == 0 {
        let text = format!("{name} is connected to no other node: found blocks would go nowhere");
        findings.push(Finding::error("node", text, "look at its network connection (-connect, -onlynet, a firewall)"));
    }
    if let Some(age) = tip_time.map(|tip| now.saturating_sub(tip)).filter(|age| lonely && *age > OLD_TIP) {
        let text = format!("{name} has heard of no block for {} minutes", age / 60);
        findings.push(Finding::warning(
            "node",
            text,
            "compare its height with others': it may be cut off, or the clock wrong",
        ));
    }
    findings
}

/// The description of a source that has given a template, or why it has not.
async fn first_template(
    config: &PoolConfig,
    source: &SourceConfig,
    constraints: Constraints,
) -> Result<String, String> {
    let source = source.build(config.network).map_err(|error| error.to_string())?;
    let mut subscription = source.subscribe(constraints);
    let mut who = String::new();
    let wait = async {
        while let Some(event) = subscription.events.recv().await {
            match event {
                Event::Up { description, .. } => who = description,
                Event::Down { reason, .. } => return Err(reason),
                Event::Template(_) => return Ok(()),
                _ => {}
            }
        }
        Err("it has ended".to_owned())
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(result) => result.map(|()| who),
        Err(_) => Err(format!("none within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const NOW: u64 = 1_800_000_000;

    fn status() -> NodeStatus {
        NodeStatus {
            network: Network::Bitcoin,
            agent: "/Satoshi:31.99.0/".into(),
            blocks: 900_000,
            headers: 900_000,
            is_syncing: false,
            progress: 1.0,
            tip_time: Some(NOW - 600),
            connections: 10,
        }
    }

    fn worst(change: impl FnOnce(&mut NodeStatus)) -> (Level, String) {
        let mut status = status();
        change(&mut status);
        let findings = judge("node", Network::Bitcoin, &status, NOW);
        let worst = findings.into_iter().max_by_key(|finding| finding.level).unwrap();
        assert_eq!(worst.advice.is_some(), worst.level >= Level::Warning);
        (worst.level, worst.text)
    }

    #[test]
    fn each_trouble_of_a_node_is_told() {
        assert_eq!(worst(|_| {}).0, Level::Ok);
        let (level, text) = worst(|it| it.network = Network::Signet);
        assert!(level == Level::Error && text.contains("signet"), "{text}");
        let (level, text) = worst(|it| (it.is_syncing, it.progress) = (true, 0.25));
        assert!(level == Level::Error && text.contains("25.00 %"), "{text}");
        assert_eq!(worst(|it| it.connections = 0).0, Level::Error);
        assert_eq!(worst(|it| it.headers += 1).0, Level::Warning);
        assert_eq!(worst(|it| it.tip_time = Some(NOW - OLD_TIP)).0, Level::Ok);
        assert_eq!(worst(|it| it.tip_time = Some(NOW - OLD_TIP - 1)).0, Level::Warning);
        assert_eq!(worst(|it| it.tip_time = None).0, Level::Ok, "it does not say");
        let mut regtest = NodeStatus { network: Network::Regtest, connections: 0, ..status() };
        regtest.tip_time = Some(0);
        assert!(judge("node", Network::Regtest, &regtest, NOW).iter().all(|it| it.level == Level::Ok));
    }

    #[test]
    fn one_node_of_several_may_be_missing() {
        assert_eq!(missing("gone".into(), 0).level, Level::Error);
        assert_eq!(missing("gone".into(), 1).level, Level::Warning);
    }

    #[test]
    fn a_large_coinbase_is_told_where_the_node_does_not_hear_of_it() {
        let mut config = PoolConfig::new(Network::Regtest, "raw(51)", "data".into());
        let large = Constraints { max_additional_size: 2_000, max_additional_sigops: 4 };
        config.source = vec![SourceConfig::BitcoinIpc { socket: "x".into() }];
        assert_eq!(reserved(&config, large).level, Level::Ok, "told with each template");
        config.source = vec![SourceConfig::BitcoinRpc {
            url: "http://127.0.0.1".into(),
            cookie_file: None,
            user: None,
            password: None,
            password_file: None,
            check_proposals: true,
        }];
        let finding = reserved(&config, large);
        assert!(finding.level == Level::Warning && finding.advice.unwrap().contains("=9168"));
        assert_eq!(reserved(&config, Constraints::default()).level, Level::Ok);
    }
}
