//! `stratum solo`: all that a solo miner needs, with one command.
//!
//! [`node`] finds the node, [`narrator`] says in plain words what goes on. The pool is the usual one, with one owner: whatever
//! a device calls itself, its blocks pay the owner's address (`docs/adr/0032-solo-is-a-pool-with-one-owner.md`).

mod narrator;
mod node;

use std::{
    env, fmt, fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bitcoin::Network;
use pool::{
    Pool, PoolConfig,
    config::{Listen, Shares},
    user::Policy,
};
use stratum_runtime::{
    http::HttpConfig,
    identity::create_authority_key,
    log,
    shutdown::{self, Shutdown},
};
use template_source::NodeStatus;
use tokio::{sync::broadcast::error::RecvError, time::MissedTickBehavior};

use self::{
    narrator::Narrator,
    node::{Choice, Wanted},
};

/// How often a node that loads the chain is asked how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// The coinbase tag of a solo miner's blocks.
const TAG: &str = "/Stratum solo/";

/// Arguments of a solo miner's pool.
#[derive(Debug, clap::Args)]
pub struct SoloArgs {
    /// Where all blocks pay; its kind says which chain
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// Bitcoin Core's data folder [default: where it usually is]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rpc", "devnet"])]
    bitcoin_datadir: Option<PathBuf>,
    /// A node's JSON-RPC instead: http://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with = "devnet")]
    rpc: Option<String>,
    /// With --rpc: the node's cookie file [default: the one in its usual data folder]
    #[arg(long, value_name = "FILE", requires = "rpc", conflicts_with = "rpc_user")]
    rpc_cookie_file: Option<PathBuf>,
    /// With --rpc: the name to log in with
    #[arg(long, value_name = "NAME", requires = "rpc", requires = "rpc_password_file")]
    rpc_user: Option<String>,
    /// With --rpc: a file that holds the password alone
    #[arg(long, value_name = "FILE", requires = "rpc_user")]
    rpc_password_file: Option<PathBuf>,
    /// Mines on an embedded chain without value, to try things out; the address is one of regtest
    #[arg(long)]
    devnet: bool,
    /// The chain, where the address may be of several: bitcoin, signet, testnet4, testnet, regtest
    #[arg(long, value_name = "CHAIN")]
    network: Option<Network>,
    /// Where miners connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:34254")]
    listen: SocketAddr,
    /// Where the dashboard is. Beyond this machine it shows what everybody may see
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:34280")]
    dashboard: SocketAddr,
    /// Folder for keys, shares and found blocks [default: $XDG_STATE_HOME/stratum/solo-CHAIN]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Runs until Ctrl-C; the exit code is 0 then, 2 for arguments that do not fit, 1 for other failures.
pub async fn run(args: SoloArgs) -> ExitCode {
    log::init(log::Format::Human, log::Level::ERROR);
    let prepared = async {
        let choice = node::find(&wanted(&args)?).await?;
        let config = configure(&args, &choice)?;
        prepare(&config)?;
        Ok::<_, String>((choice, config))
    };
    let (choice, config) = match prepared.await {
        Ok(prepared) => prepared,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match mine(&choice, &config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(args: &SoloArgs) -> Result<Wanted, String> {
    let home = env::var_os("HOME").map(PathBuf::from);
    Wanted::new(args, home.as_deref())
}

/// The configuration that [`run`] would have, without making anything.
pub(crate) async fn plan(args: &SoloArgs) -> Result<PoolConfig, String> {
    let choice = node::find(&wanted(args)?).await?;
    configure(args, &choice)
}

fn configure(args: &SoloArgs, choice: &Choice) -> Result<PoolConfig, String> {
    let data_dir = match &args.data_dir {
        Some(folder) => folder.clone(),
        None => state_folder()?.join("stratum").join(format!("solo-{}", choice.network)),
    };
    let is_local = args.dashboard.ip().is_loopback();
    let http = HttpConfig { public_accounts: true, ..HttpConfig::default() };
    let http = if is_local {
        HttpConfig { operator: Some(args.dashboard), ..http }
    } else {
        // The operator's view stays where only this machine sees it, on a port that nobody has to know.
        HttpConfig { operator: Some((Ipv4Addr::LOCALHOST, 0).into()), public: Some(args.dashboard), ..http }
    };
    let config = PoolConfig {
        coinbase_tag: TAG.to_owned(),
        authority_key_file: Some(data_dir.join("authority.key")),
        listen: vec![Listen { policies: vec![Policy::Owner], ..Listen::new(args.listen) }],
        source: choice.sources.clone(),
        // Low enough for what hashes for fun; vardiff finds what suits each device from there.
        shares: Shares { min_difficulty: 0.001, start_difficulty: Some(1.0), ..Shares::default() },
        http,
        ..PoolConfig::new(choice.network, &args.address, data_dir)
    };
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// Makes the folder and the key where they are not there yet.
fn prepare(config: &PoolConfig) -> Result<(), String> {
    let folder = &config.data_dir;
    make_private(folder).map_err(|error| format!("the data folder {}: {error}", folder.display()))?;
    match &config.authority_key_file {
        Some(key) if !key.exists() => create_authority_key(key).map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

fn state_folder() -> Result<PathBuf, String> {
    let named = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("state"));
    named.or(home).ok_or_else(|| "there is no home folder: set --data-dir".to_owned())
}

/// A folder that is its owner's alone, where it is made here.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

async fn mine(choice: &Choice, config: &PoolConfig) -> Result<(), String> {
    let token = shutdown::on_signal().map_err(|error| error.to_string())?;
    let sources = config.build_sources().map_err(|error| error.to_string())?;
    let pool = Pool::start(config, sources, token.clone()).await.map_err(|error| match error {
        error @ pool::StartError::Http(_) => format!("{error}; choose another address with --dashboard"),
        error @ pool::StartError::Listen { .. } => format!("{error}; choose another address with --listen"),
        error => error.to_string(),
    })?;
    greet(choice, config, &pool);
    narrate(choice, config, &pool, &token).await;
    pool.join().await;
    Ok(())
}

/// Prints a line. Nobody needs to be reading: mining goes on without a terminal.
fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn greet(choice: &Choice, config: &PoolConfig, pool: &Pool) {
    if choice.is_devnet() {
        say("DEVNET: an embedded chain for demonstration; its blocks have no value.");
    }
    say(format_args!("Solo mining on {}: every block pays {}.", choice.network, config.payout));
    say(format_args!("Data, and the key that miners know this pool by, are in {}.", config.data_dir.display()));
    say("");
    if let (Some(address), Some(authority)) = (pool.addresses().first(), pool.authority()) {
        let address = reachable(*address);
        let (host, port) = (address.ip(), address.port());
        say(format_args!("Miners connect to:  stratum2+tcp://{address}/{authority}"));
        say(format_args!("                    (host {host}, port {port}, authority key {authority})"));
        if config.listen.first().is_some_and(Listen::clear_v1) {
            say(format_args!("with Stratum V1:    stratum+tcp://{address}"));
        }
        say("Their user name may be anything: it becomes the name of the worker.");
    }
    if let Some(address) = pool.public_address().or(pool.operator_address()) {
        say(format_args!("The dashboard:      http://{}", reachable(address)));
    }
    say("");
}

/// An address that others in this network can use, in the place of "all addresses".
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    SocketAddr::new(own_address().unwrap_or(Ipv4Addr::LOCALHOST.into()), address.port())
}

/// The address that this machine has towards others. Nothing is sent: 192.0.2.1 is nobody's (RFC 5737).
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

/// Prints what happens until the end.
async fn narrate(choice: &Choice, config: &PoolConfig, pool: &Pool, token: &Shutdown) {
    let mut events = pool.events();
    let mut narrator = Narrator::new(&config.payout, choice.sources.len());
    let mut progress = tokio::time::interval(PROGRESS);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    say(format_args!("Waiting for {}.", choice.description));
    loop {
        let line = tokio::select! {
            () = token.cancelled() => break,
            event = events.recv() => match event {
                Ok(event) => narrator.handle(&event),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => break,
            },
            _ = progress.tick(), if narrator.is_waiting() => match status(choice).await {
                Some(status) => narrator.handle_status(&status),
                None => None,
            },
        };
        if let Some(line) = line {
            say(line);
        }
    }
    say("Stopping.");
}

/// The first answer of the node's ways.
async fn status(choice: &Choice) -> Option<NodeStatus> {
    for source in &choice.sources {
        if let Some(Ok(status)) = source.status(choice.network).await {
            return Some(status);
        }
    }
    None
}
