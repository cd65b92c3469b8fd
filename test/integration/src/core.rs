//! A real Bitcoin Core on regtest, in a folder of its own, that ends with its handle.

use std::{
    collections::VecDeque,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime,
    consensus::encode,
    hex::{DisplayHex, FromHex},
    opcodes::OP_TRUE,
    script::Builder,
    transaction::Version,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a node may take to start. Generous, for a machine may be busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Starts with other ports when one was taken in the meantime.
const START_ATTEMPTS: usize = 5;
/// Lines of the node's log that are kept for the message of a failure.
const LOG_LINES: usize = 40;
/// Blocks that a coinbase must be deep before it can be spent.
const MATURITY: u64 = 100;

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct CoreOptions {
    /// Takes connections of other nodes, on [`CoreNode::p2p_address`].
    pub listen: bool,
    /// Nodes to connect to.
    pub connect: Vec<SocketAddr>,
    /// Further arguments.
    pub args: Vec<String>,
}

/// A running `bitcoin-node`. It is killed, and its folder removed, when this is dropped.
#[derive(Debug)]
pub struct CoreNode {
    options: CoreOptions,
    datadir: TempDir,
    rpc_port: u16,
    p2p_port: u16,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// An error that the node answered to a call.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// Bitcoin Core's number for the kind.
    pub code: i64,
    /// Bitcoin Core's words.
    pub message: String,
}

/// The `bitcoin-node` to test with: `BITCOIN_NODE`, else the one in PATH, else the one that xtask built.
///
/// # Panics
/// When there is none.
pub fn node_program() -> PathBuf {
    if let Some(named) = env::var_os("BITCOIN_NODE").filter(|value| !value.is_empty()) {
        return PathBuf::from(named);
    }
    let in_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let in_path = in_path.map(|folder| folder.join("bitcoin-node"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let built = cache.and_then(|cache| std::fs::read_dir(cache.join("stratum")).ok()).into_iter().flatten().flatten();
    let built = built.filter(|entry| entry.file_name().to_string_lossy().starts_with("bitcoin-core-"));
    let built = built.map(|entry| entry.path().join("bin").join("bitcoin-node"));
    in_path.chain(built).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("no Bitcoin Core to test with: run `cargo xtask test`, or `cargo xtask setup` once, or set BITCOIN_NODE")
    })
}

impl CoreNode {
    /// Starts a node and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start; the message has the end of its log.
    pub fn start(options: CoreOptions) -> Self {
        let datadir = tempfile::Builder::new().prefix("core-").tempdir().expect("a folder for the node");
        let mut node = Self { options, datadir, rpc_port: 0, p2p_port: 0, process: None };
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS {
            (node.rpc_port, node.p2p_port) = (free_port(), free_port());
            match node.spawn() {
                Ok(()) => return node,
                Err(log) => failures.push(log),
            }
        }
        panic!(
            "Bitcoin Core did not start in {START_ATTEMPTS} attempts; the last:\n{}",
            failures.pop().unwrap_or_default()
        );
    }

    /// Starts the process and waits for its log to say that it is ready. The error is the end of that log.
    fn spawn(&mut self) -> Result<(), String> {
        let program = node_program();
        let mut child = Command::new(&program)
            .args(self.arguments())
            .args(&self.options.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("can not start {}: {error}", program.display()));
        let output = child.stdout.take().expect("piped");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (ready, is_ready) = mpsc::channel();
        let kept = Arc::clone(&log);
        // Ends with the process, and drops `ready`.
        std::thread::spawn(move || read_log(BufReader::new(output), &kept, &ready));
        let started = is_ready.recv_timeout(START_LIMIT);
        self.process = Some(Process { child, log });
        started.map_err(|_| {
            let log = self.log();
            self.kill();
            log
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "-chain=regtest".into(),
            format!("-datadir={}", self.datadir.path().display()),
            "-server=1".into(),
            "-ipcbind=unix".into(),
            "-rpcbind=127.0.0.1".into(),
            "-rpcallowip=127.0.0.1".into(),
            format!("-rpcport={}", self.rpc_port),
            "-printtoconsole=1".into(),
            "-dnsseed=0".into(),
            "-fixedseeds=0".into(),
            "-discover=0".into(),
            "-natpmp=0".into(),
            "-dbcache=16".into(),
            "-par=1".into(),
        ];
        if self.options.listen {
            arguments.extend(["-listen=1".into(), format!("-bind={}", self.p2p_address())]);
        } else {
            arguments.push("-listen=0".into());
        }
        arguments.extend(self.options.connect.iter().map(|address| format!("-addnode={address}")));
        arguments
    }

    /// The socket of the mining interface.
    pub fn ipc_socket(&self) -> PathBuf {
        self.datadir.path().join("regtest").join("node.sock")
    }

    /// Where the node takes calls.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// The file with the login for calls, which the node writes at each start.
    pub fn cookie_file(&self) -> PathBuf {
        self.datadir.path().join("regtest").join(".cookie")
    }

    /// The folder given as `-datadir`.
    pub fn datadir(&self) -> &Path {
        self.datadir.path()
    }

    /// Where the node takes connections of other nodes, if it listens.
    pub fn p2p_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.p2p_port))
    }

    /// The end of the node's log.
    pub fn log(&self) -> String {
        let lines = self.process.as_ref().map(|process| process.log.lock().expect("no panic in the reader"));
        lines.map(|lines| lines.iter().cloned().collect::<Vec<_>>().join("\n")).unwrap_or_default()
    }

    /// Kills the node, as a crash would. What it had not written to disk is gone: its chain may be shorter afterwards.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }

    /// Ends the node in order, so that it keeps its chain.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.rpc("stop", json!([]));
            process.child.wait().expect("the node ends");
        }
    }

    /// Starts the node again after [`Self::kill`] or [`Self::stop`], with its folder and its ports.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(log) = self.spawn() {
            panic!("Bitcoin Core did not start again:\n{log}");
        }
    }

    /// Calls the node.
    ///
    /// # Panics
    /// When there is no answer, or it is an error.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        self.try_rpc(method, params).unwrap_or_else(|error| panic!("{method}: {} ({})", error.message, error.code))
    }

    /// Calls the node; gives its error.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn try_rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.post(method, &request);
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => Err(RpcError {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Makes several calls in one request: the node takes up to 50 ms for each request, whatever is in it.
    ///
    /// # Panics
    /// When there is no answer, or one of them is an error.
    pub fn rpc_batch(&self, calls: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<Value> {
        let calls = calls.into_iter().map(|(method, params)| json!({ "id": 1, "method": method, "params": params }));
        let answers = self.post("batch", &Value::Array(calls.collect()));
        let answers = answers.as_array().unwrap_or_else(|| panic!("no list in the answer: {answers}"));
        let result = |answer: &Value| match &answer["error"] {
            Value::Null => answer["result"].clone(),
            error => panic!("batch: {error}"),
        };
        answers.iter().map(result).collect()
    }

    fn post(&self, name: &str, request: &Value) -> Value {
        let cookie = self.cookie_file();
        let cookie = std::fs::read_to_string(&cookie).unwrap_or_else(|error| panic!("{}: {error}", cookie.display()));
        let answer = http_post(self.rpc_port, &cookie, &request.to_string())
            .unwrap_or_else(|error| panic!("{name}: no answer: {error}\n{}", self.log()));
        serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{name}: no JSON in the answer: {error}"))
    }

    /// Height of the best block.
    pub fn height(&self) -> u64 {
        self.rpc("getblockcount", json!([])).as_u64().expect("a number")
    }

    /// Hash of the best block.
    pub fn best_hash(&self) -> BlockHash {
        hash(&self.rpc("getbestblockhash", json!([])))
    }

    /// A block of the node.
    pub fn block(&self, hash: BlockHash) -> Block {
        let hex = self.rpc("getblock", json!([hash.to_string(), 0]));
        let bytes = Vec::from_hex(hex.as_str().expect("hex")).expect("hex");
        encode::deserialize(&bytes).expect("a block")
    }

    /// Has the node mine blocks that pay `script`; takes transactions from its mempool.
    pub fn mine(&self, count: u64, script: &ScriptBuf) -> Vec<BlockHash> {
        let descriptor = format!("raw({})", script.to_hex_string());
        let hashes = self.rpc("generatetodescriptor", json!([count, descriptor]));
        hashes.as_array().expect("hashes").iter().map(hash).collect()
    }

    /// Mines until there are `count` coins that [`Self::spend`] can spend.
    pub fn mine_coins(&self, count: u64) -> VecDeque<Coin> {
        let hashes = self.mine(count + MATURITY, &anyone_can_spend());
        let count = usize::try_from(count).expect("few");
        hashes.into_iter().take(count).map(|hash| Coin::of_coinbase(&self.block(hash).txdata[0])).collect()
    }

    /// Puts a transaction into the mempool that pays all of `coin` but the fee to anyone; gives the coin that it makes.
    pub fn spend(&self, coin: Coin, fee: Amount) -> (Txid, Coin) {
        let value = coin.value.checked_sub(fee).expect("a fee that the coin can pay");
        let input = TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::from_slice(&[witness_script().into_bytes()]),
        };
        let output = TxOut { value, script_pubkey: anyone_can_spend() };
        let transaction =
            Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] };
        // No limit on the fee rate.
        self.rpc("sendrawtransaction", json!([encode::serialize_hex(&transaction), 0]));
        let txid = transaction.compute_txid();
        (txid, Coin { outpoint: OutPoint::new(txid, 0), value })
    }
}

impl Drop for CoreNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An output that anyone can spend.
#[derive(Clone, Copy, Debug)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub value: Amount,
}

impl Coin {
    /// The first output of a coinbase, which must pay [`anyone_can_spend`].
    pub fn of_coinbase(coinbase: &Transaction) -> Self {
        Self { outpoint: OutPoint::new(coinbase.compute_txid(), 0), value: coinbase.output[0].value }
    }
}

/// P2WSH of a script that is always true.
pub fn anyone_can_spend() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&witness_script().wscript_hash())
}

fn witness_script() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

fn hash(value: &Value) -> BlockHash {
    value.as_str().and_then(|text| text.parse().ok()).expect("a block hash")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Keeps the end of the log, and tells when the node is ready.
fn read_log(output: impl BufRead, log: &Mutex<VecDeque<String>>, ready: &mpsc::Sender<()>) {
    for line in output.lines() {
        let Ok(line) = line else { return };
        if line.contains("init message: Done loading") {
            // Nobody waits for it when the start took too long.
            let _ = ready.send(());
        }
        let mut log = log.lock().expect("no panic in a reader of the log");
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// One POST on a connection of its own; gives the body of the answer.
fn http_post(port: u16, login: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(CALL_LIMIT))?;
    stream.set_write_timeout(Some(CALL_LIMIT))?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        base64(login.as_bytes()),
        body.len()
    );
    // In one write: the kernel would hold a second one back until the first is acknowledged.
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: {}", answer.as_hex())))?;
    Ok(answer.split_off(end + 4))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let six = usize::try_from(number >> (18 - 6 * place) & 63).expect("6 bits");
            text.push(if place <= three.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
