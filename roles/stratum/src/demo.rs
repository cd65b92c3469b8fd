//! `stratum demo`: everything in one process, on a devnet or a node of one's own.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use bitcoin::{CompactTarget, Network};
use mining_device::{ChannelKind, MinerConfig, Protocol, Status};
use noise_sv2::url::EndpointUrl;
use pool::{
    Pool, PoolConfig, PoolEvent,
    blocks::{BlockState, FoundBlock},
    config::{Listen, Shares},
};
use stratum_runtime::{
    http::HttpConfig,
    identity::create_authority_key,
    log,
    shutdown::{self, Shutdown},
};
use template_source::{
    TemplateSource,
    config::SourceConfig,
    devnet::{Devnet, DevnetConfig},
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

/// Compact target of the demo's devnet: 33 million hashes a block, a few seconds for two cores.
pub(crate) const NBITS: u32 = 0x1e00_8000;

/// Where blocks pay: P2WPKH of the generator point, a key that everybody knows.
const PAYOUT: &str = "raw(0014751e76e8199196d454941c45d1b3a323f1433bd6)";

/// Arguments of the demo.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Ends with exit code 0 after this many accepted blocks
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// With --blocks: ends with exit code 1 when they take longer than this
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Mines on a Bitcoin Core node on regtest instead of the devnet; the path of its mining socket
    #[arg(long, value_name = "SOCKET", conflicts_with = "template_provider")]
    bitcoin_ipc: Option<PathBuf>,
    /// Mines on a Template Provider on regtest instead of the devnet: stratum2+tcp://HOST:PORT/AUTHORITY-KEY
    #[arg(long, value_name = "URL")]
    template_provider: Option<String>,
    /// Where the pool listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the dashboard is; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Hashing threads of each miner [default: half of the cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroU32>,
}

/// Runs the demo until Ctrl-C, or until it has its blocks.
pub async fn run(args: DemoArgs) -> ExitCode {
    log::init(log::Format::Human, log::Level::WARN);
    let outcome = match shutdown::on_signal() {
        Ok(token) => demo(&args, token).await,
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &DemoArgs, token: Shutdown) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let key = folder.path().join("authority.key");
    create_authority_key(&key).map_err(|error| error.to_string())?;
    let config = PoolConfig {
        coinbase_tag: "/demo/".to_owned(),
        authority_key_file: Some(key),
        listen: vec![Listen::new(args.listen)],
        source: vec![source(args)],
        // Many shares, so that there is something to see.
        shares: Shares { per_minute: 60.0, ..Shares::default() },
        http: HttpConfig { operator: Some(args.http), ..HttpConfig::off() },
        ..PoolConfig::new(Network::Regtest, PAYOUT, folder.path().join("pool"))
    };
    let pool = Pool::start(&config, sources(&config)?, token.clone()).await.map_err(|error| error.to_string())?;
    if let Some(address) = pool.operator_address() {
        println!("The dashboard is at http://{address}");
    }
    let mut events = pool.events();
    let miners = start_miners(args, &pool, &token)?;
    let watched = watch_blocks(args, &mut events, &token).await;
    for (name, _, status) in &miners {
        println!("{name}: {}", *status.borrow());
    }
    token.cancel();
    for (name, task, _) in miners {
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{name}: {error}"),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    pool.join().await;
    watched
}

fn source(args: &DemoArgs) -> SourceConfig {
    match (&args.bitcoin_ipc, &args.template_provider) {
        (Some(socket), _) => SourceConfig::BitcoinIpc { socket: socket.clone() },
        (None, Some(url)) => SourceConfig::Sv2 { url: url.clone(), plain: false },
        (None, None) => SourceConfig::Devnet { nbits: Some(NBITS) },
    }
}

fn sources(config: &PoolConfig) -> Result<Vec<Arc<dyn TemplateSource>>, String> {
    if let [SourceConfig::Devnet { nbits: Some(nbits) }] = config.source[..] {
        println!("DEVNET: an embedded chain for demonstration; its blocks have no value.");
        let nbits = CompactTarget::from_consensus(nbits);
        // Never halving: a demo may run for days.
        let config = DevnetConfig { nbits, halving_interval: 0, ..DevnetConfig::default() };
        return Ok(vec![Arc::new(Devnet::new(config).map_err(|error| error.to_string())?)]);
    }
    config.build_sources().map_err(|error| error.to_string())
}

type Miner = (&'static str, JoinHandle<Result<(), mining_device::Error>>, watch::Receiver<Status>);

/// One miner with a standard channel, one with an extended channel, and one of Stratum V1 on the same port.
fn start_miners(args: &DemoArgs, pool: &Pool, token: &Shutdown) -> Result<Vec<Miner>, String> {
    let (Some(address), Some(authority)) = (pool.addresses().first(), pool.authority()) else {
        return Err("the pool has no address".to_owned());
    };
    let url: EndpointUrl =
        format!("stratum2+tcp://{address}/{authority}").parse().map_err(|error| format!("{error}"))?;
    println!("The pool listens at {url}");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let half = u32::try_from(cores / 2).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let kinds = [
        ("standard-miner", Protocol::V2, ChannelKind::Standard),
        ("extended-miner", Protocol::V2, ChannelKind::Extended { min_extranonce_size: 8 }),
        ("v1-miner", Protocol::V1 { password: "x".to_owned(), tls: None }, ChannelKind::Standard),
    ];
    Ok(kinds
        .into_iter()
        .map(|(name, protocol, channel)| {
            let (sender, status) = watch::channel(Status::default());
            let threads = Some(args.threads.unwrap_or(half));
            let config = MinerConfig { protocol, channel, threads, ..MinerConfig::new(url.clone(), name) };
            (name, tokio::spawn(mining_device::run(config, token.clone(), sender)), status)
        })
        .collect())
}

/// Prints each accepted block; returns when there are enough, or on Ctrl-C.
async fn watch_blocks(
    args: &DemoArgs,
    events: &mut broadcast::Receiver<PoolEvent>,
    token: &Shutdown,
) -> Result<(), String> {
    let deadline = args.blocks.map(|_| Instant::now() + Duration::from_secs(args.timeout));
    let mut accepted = 0;
    while args.blocks.is_none_or(|wanted| accepted < wanted) {
        let next = async {
            match deadline {
                Some(at) => timeout_at(at, events.recv()).await.map_err(|_| {
                    format!(
                        "{accepted} blocks were accepted within {} s, not {}",
                        args.timeout,
                        args.blocks.unwrap_or(0)
                    )
                }),
                None => Ok(events.recv().await),
            }
        };
        let event = tokio::select! {
            () = token.cancelled() => return interrupted(args),
            event = next => event?,
        };
        match event {
            Ok(PoolEvent::BlockDecided(block, BlockState::Accepted)) => {
                accepted += 1;
                report(&block);
            }
            Ok(PoolEvent::BlockDecided(_, BlockState::Confirmed)) => {}
            Ok(PoolEvent::BlockDecided(block, state)) => eprintln!("block {} not accepted: {state:?}", block.hash),
            Ok(PoolEvent::SourceUp { description, .. }) => println!("Templates from {description}"),
            Ok(PoolEvent::SourceDown { reason, .. }) => eprintln!("No templates: {reason}"),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Err("the pool has ended".to_owned()),
        }
    }
    Ok(())
}

/// Ctrl-C is the way to end a demo, unless it was asked for blocks.
fn interrupted(args: &DemoArgs) -> Result<(), String> {
    match args.blocks {
        None => Ok(()),
        Some(_) => Err("interrupted before all blocks were accepted".to_owned()),
    }
}

fn report(block: &FoundBlock) {
    println!("block accepted: height {}, hash {}, finder {}", block.height, block.hash, block.finder);
}
