//! Which node, and which chain: from the address, the arguments, and what lies in data folders.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use bitcoin::{Address, Network, address::NetworkUnchecked};
use template_source::{bitcoin_ipc::BitcoinIpcConfig, bitcoin_rpc::BitcoinRpcConfig, config::SourceConfig};

use super::SoloArgs;

/// Chains that an address may be of, the likeliest first.
const NETWORKS: [Network; 5] =
    [Network::Bitcoin, Network::Signet, Network::Testnet4, Network::Testnet, Network::Regtest];

/// Where packages of Bitcoin Core keep a system's node, beside `.bitcoin` in the home folder.
const SYSTEM_FOLDERS: [&str; 2] = ["/var/lib/bitcoind", "/var/lib/bitcoin"];

/// What the arguments leave open, and what they do not.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Chains that the address is of, and no argument excludes. Never empty.
    networks: Vec<Network>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Devnet,
    /// A folder, or those where a node usually is.
    Folders(Vec<PathBuf>),
    Rpc {
        url: String,
        login: Login,
        /// Where cookies are, unless the login says something else.
        folders: Vec<PathBuf>,
    },
}

#[derive(Debug)]
enum Login {
    /// The cookie of the chain in the usual folders.
    Usual,
    Cookie(PathBuf),
    Password {
        user: String,
        file: PathBuf,
    },
}

/// The node that was chosen.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) network: Network,
    /// Ways to the node, the best first.
    pub(super) sources: Vec<SourceConfig>,
    /// For people.
    pub(super) description: String,
}

impl Choice {
    pub(super) fn is_devnet(&self) -> bool {
        matches!(self.sources[..], [SourceConfig::Devnet { .. }])
    }
}

impl Wanted {
    /// From the arguments.
    pub(super) fn new(args: &SoloArgs, home: Option<&Path>) -> Result<Self, String> {
        let address: Address<NetworkUnchecked> =
            Address::from_str(&args.address).map_err(|error| format!("--address {}: {error}", args.address))?;
        let possible = NETWORKS.into_iter().filter(|network| address.is_valid_for_network(*network));
        let mut networks: Vec<_> = possible.collect();
        if let Some(network) = args.network.or(args.devnet.then_some(Network::Regtest)) {
            let named: Vec<_> = networks.iter().map(ToString::to_string).collect();
            networks.retain(|possible| *possible == network);
            if networks.is_empty() {
                let named = named.join(", ");
                return Err(format!("--address {}: it is of {named}, and not of {network}", args.address));
            }
        }
        let usual = || {
            let own = home.map(|home| home.join(".bitcoin"));
            own.into_iter().chain(SYSTEM_FOLDERS.map(PathBuf::from)).collect()
        };
        let place = match (&args.rpc, &args.bitcoin_datadir) {
            _ if args.devnet => Place::Devnet,
            (Some(url), _) => {
                let login = match (&args.rpc_cookie_file, &args.rpc_user, &args.rpc_password_file) {
                    (Some(cookie), _, _) => Login::Cookie(cookie.clone()),
                    (None, Some(user), Some(file)) => Login::Password { user: user.clone(), file: file.clone() },
                    _ => Login::Usual,
                };
                Place::Rpc { url: url.clone(), login, folders: usual() }
            }
            (None, Some(folder)) if !folder.is_dir() => {
                return Err(format!("--bitcoin-datadir {}: there is no such folder", folder.display()));
            }
            (None, Some(folder)) => Place::Folders(vec![folder.clone()]),
            (None, None) => Place::Folders(usual()),
        };
        Ok(Self { networks, place })
    }
}

/// Where a node of a chain has its socket and its cookie.
fn socket_and_cookie(folder: &Path, network: Network) -> (PathBuf, PathBuf) {
    let socket = BitcoinIpcConfig::in_datadir(folder, network).socket;
    let cookie = socket.with_file_name(".cookie");
    (socket, cookie)
}

fn rpc(url: String, cookie_file: Option<PathBuf>, password: Option<(String, PathBuf)>) -> SourceConfig {
    let (user, password_file) = password.unzip();
    SourceConfig::BitcoinRpc { url, cookie_file, user, password: None, password_file, check_proposals: true }
}

/// The node in a data folder: its mining interface, and its JSON-RPC where it has none, or one that is not known.
fn in_folder(folder: &Path, network: Network) -> Choice {
    let (socket, cookie) = socket_and_cookie(folder, network);
    let url = format!("http://127.0.0.1:{}", BitcoinRpcConfig::default_port(network));
    Choice {
        network,
        sources: vec![SourceConfig::BitcoinIpc { socket }, rpc(url, Some(cookie), None)],
        description: format!("Bitcoin Core on {network} in {}", folder.display()),
    }
}

fn is_there(folder: &Path, network: Network) -> bool {
    let (socket, cookie) = socket_and_cookie(folder, network);
    socket.exists() || cookie.exists()
}

/// Chooses the node. Asks nodes only where files leave it open.
///
/// # Errors
/// Why none can be chosen, and which argument helps.
pub(super) async fn find(wanted: &Wanted) -> Result<Choice, String> {
    match &wanted.place {
        Place::Devnet => {
            let sources = vec![SourceConfig::Devnet { nbits: Some(crate::demo::NBITS) }];
            Ok(Choice { network: Network::Regtest, sources, description: "the devnet".to_owned() })
        }
        Place::Folders(folders) => in_folders(wanted, folders).await,
        Place::Rpc { url, login, folders } => over_rpc(wanted, url, login, folders).await,
    }
}

async fn in_folders(wanted: &Wanted, folders: &[PathBuf]) -> Result<Choice, String> {
    let all = || folders.iter().flat_map(|folder| wanted.networks.iter().map(move |network| (folder, *network)));
    let mut found: Vec<_> = all().filter(|(folder, network)| is_there(folder, *network)).collect();
    if found.len() > 1 {
        let mut answering = Vec::new();
        for (folder, network) in &found {
            if answers(&in_folder(folder, *network)).await {
                answering.push((*folder, *network));
            }
        }
        if !answering.is_empty() {
            found = answering;
        }
    }
    let names = |found: &[(&PathBuf, Network)]| {
        let mut names: Vec<_> = found.iter().map(|(_, network)| network.to_string()).collect();
        names.dedup();
        names
    };
    match (&found[..], &wanted.networks[..]) {
        ([(folder, network), ..], _) if names(&found).len() == 1 => Ok(in_folder(folder, *network)),
        ([], [network]) => {
            let folder = folders.iter().find(|folder| folder.is_dir()).or(folders.first());
            folder.map(|folder| in_folder(folder, *network)).ok_or_else(|| "set --bitcoin-datadir or --rpc".to_owned())
        }
        ([], _) => {
            let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            Err(format!(
                "no Bitcoin node was found in {}, and the address may be of several chains: say which one with --network, and where the node is \
                 with --bitcoin-datadir or --rpc",
                folders.join(", ")
            ))
        }
        (found, _) => Err(format!(
            "there are nodes of {}, and the address may be of each: say which one with --network",
            names(found).join(", ")
        )),
    }
}

async fn answers(choice: &Choice) -> bool {
    for source in &choice.sources {
        if source.status(choice.network).await.is_some_and(|status| status.is_ok_and(|it| it.network == choice.network))
        {
            return true;
        }
    }
    false
}

async fn over_rpc(wanted: &Wanted, url: &str, login: &Login, folders: &[PathBuf]) -> Result<Choice, String> {
    let source = |network: Network| {
        let cookie = || {
            let cookies = folders.iter().map(|folder| socket_and_cookie(folder, network).1);
            let (there, not): (Vec<_>, Vec<_>) = cookies.partition(|cookie| cookie.exists());
            there.into_iter().chain(not).next()
        };
        match login {
            Login::Usual => rpc(url.to_owned(), cookie(), None),
            Login::Cookie(cookie) => rpc(url.to_owned(), Some(cookie.clone()), None),
            Login::Password { user, file } => rpc(url.to_owned(), None, Some((user.clone(), file.clone()))),
        }
    };
    let mut problem = String::new();
    for network in &wanted.networks {
        let source = source(*network);
        source.check(*network).map_err(|error| error.to_string())?;
        match source.status(*network).await {
            Some(Ok(status)) if wanted.networks.contains(&status.network) => {
                return Ok(rpc_choice(url, status.network, source));
            }
            Some(Ok(status)) => {
                let networks: Vec<_> = wanted.networks.iter().map(ToString::to_string).collect();
                let (got, expected) = (status.network, networks.join(", "));
                return Err(format!("the node at {url} is on {got}, and the address is of {expected}"));
            }
            Some(Err(error)) => problem = error,
            None => {}
        }
    }
    match wanted.networks[..] {
        // It may come up later.
        [network] => Ok(rpc_choice(url, network, source(network))),
        _ => Err(format!("which chain is it? The node does not say ({problem}): say it with --network")),
    }
}

fn rpc_choice(url: &str, network: Network, source: SourceConfig) -> Choice {
    Choice { network, sources: vec![source], description: format!("the node at {url}, on {network}") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const TESTNETS: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: SoloArgs,
    }

    fn wanted(home: &Path, arguments: &[&str]) -> Result<Wanted, String> {
        let program = Program::try_parse_from([&["solo", "--address"], arguments].concat()).unwrap();
        Wanted::new(&program.args, Some(home))
    }

    async fn choose(home: &Path, arguments: &[&str]) -> Result<Choice, String> {
        find(&wanted(home, arguments)?).await
    }

    fn leave(home: &Path, path: &str) {
        let path = home.join(".bitcoin").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[tokio::test]
    async fn the_address_says_which_chain() {
        let home = tempfile::tempdir().unwrap();
        let chosen = choose(home.path(), &[MAINNET]).await.unwrap();
        let folder = home.path().join(".bitcoin");
        // Nothing there yet: the node may be started later. A folder of the system's may be there.
        assert_eq!((chosen.network, chosen.sources.len()), (Network::Bitcoin, 2));
        let chosen = choose(home.path(), &[REGTEST]).await.unwrap();
        assert_eq!(chosen.network, Network::Regtest);
        leave(home.path(), "regtest/.cookie");
        let chosen = choose(home.path(), &[REGTEST]).await.unwrap();
        assert_eq!(chosen.sources[0], SourceConfig::BitcoinIpc { socket: folder.join("regtest/node.sock") });
        let SourceConfig::BitcoinRpc { url, cookie_file, .. } = &chosen.sources[1] else { panic!("{chosen:?}") };
        assert_eq!((url.as_str(), cookie_file), ("http://127.0.0.1:18443", &Some(folder.join("regtest/.cookie"))));
    }

    #[tokio::test]
    async fn what_lies_there_decides_between_the_test_chains() {
        let home = tempfile::tempdir().unwrap();
        let error = choose(home.path(), &[TESTNETS]).await.unwrap_err();
        assert!(error.contains("--network") && error.contains(".bitcoin"), "{error}");
        // Another chain's traces do not count.
        leave(home.path(), ".cookie");
        leave(home.path(), "signet/node.sock");
        assert_eq!(choose(home.path(), &[TESTNETS]).await.unwrap().network, Network::Signet);
        leave(home.path(), "testnet4/.cookie");
        let error = choose(home.path(), &[TESTNETS]).await.unwrap_err();
        assert!(error.contains("signet, testnet4") && error.contains("--network"), "{error}");
        let chosen = choose(home.path(), &[TESTNETS, "--network", "testnet4"]).await.unwrap();
        assert_eq!(chosen.network, Network::Testnet4);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let error = choose(home.path(), &["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"]).await.unwrap_err();
        assert!(error.starts_with("--address bc1q"), "{error}");
        let error = choose(home.path(), &[MAINNET, "--network", "signet"]).await.unwrap_err();
        assert!(error.contains("of bitcoin, and not of signet"), "{error}");
        let error = choose(home.path(), &[MAINNET, "--devnet"]).await.unwrap_err();
        assert!(error.contains("not of regtest"), "{error}");
        let error = choose(home.path(), &[MAINNET, "--bitcoin-datadir", "/missing/folder"]).await.unwrap_err();
        assert!(error.contains("no such folder"), "{error}");
        let error = choose(home.path(), &[MAINNET, "--rpc", "http://a:hunter2@b"]).await.unwrap_err();
        assert!(error.contains("source.url") && !error.contains("hunter2"), "{error}");
        assert!(choose(home.path(), &[REGTEST, "--devnet"]).await.unwrap().is_devnet());
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_may_come_up_later() {
        let home = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{free}");
        let cookie = home.path().join("cookie");
        fs::write(&cookie, "a:b").unwrap();
        let with_cookie = ["--rpc", &url, "--rpc-cookie-file", cookie.to_str().unwrap()];
        let chosen = choose(home.path(), &[&[MAINNET], &with_cookie[..]].concat()).await.unwrap();
        assert_eq!(chosen.network, Network::Bitcoin);
        assert_eq!(chosen.sources, [rpc(url.clone(), Some(cookie.clone()), None)]);
        let error = choose(home.path(), &[&[TESTNETS], &with_cookie[..]].concat()).await.unwrap_err();
        assert!(error.contains("--network") && error.contains("can not connect"), "{error}");
    }
}
