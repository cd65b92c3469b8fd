//! What is sent: a face of its own, so that what is inside can change.
//!
//! Times are unix milliseconds, hashrates hashes per second, work hashes, amounts satoshi; hashes are hexadecimal as they are usually
//! written. What is not known is null.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::registry::{self, REASONS, Sums, reason};

/// Part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// How many there are in all, where that is known.
    pub total: Option<u64>,
    /// Where the part begins.
    pub offset: u64,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// Where to begin; 0 without it.
    #[serde(default)]
    pub offset: u32,
    /// How many at most, up to 500; 50 without it.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// Estimates over the last minute, ten minutes, hour and day; of what is younger, over its life.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Hashrate {
    /// Over a minute.
    pub m1: f64,
    /// Over ten minutes.
    pub m10: f64,
    /// Over an hour.
    pub h1: f64,
    /// Over a day.
    pub h24: f64,
}

impl From<registry::Hashrates> for Hashrate {
    fn from(rates: registry::Hashrates) -> Self {
        let registry::Hashrates { m1, m10, h1, h24 } = rates;
        Self { m1, m10, h1, h24 }
    }
}

/// Refused shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// Why: an error code of the protocol, or `not-recorded` when the ledger took nothing.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Those that there are.
pub(super) fn rejected(sums: &Sums) -> Vec<Rejected> {
    let all = (0..REASONS).zip(sums.rejected).filter(|(_, count)| *count > 0);
    all.map(|(place, count)| Rejected { reason: reason(place).to_owned(), count }).collect()
}

/// The pool as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pool {
    /// Name and version of the program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The chain: `bitcoin`, `testnet4`, `signet` or `regtest`.
    pub network: String,
    /// Whether the chain is an embedded one, without value.
    pub devnet: bool,
    /// When the process started.
    pub started_at: u64,
    /// The server's clock.
    pub now: u64,
    /// Text in the coinbase of every block.
    pub coinbase_tag: String,
    /// What miners verify the pool by, where a listener uses noise.
    pub authority_key: Option<String>,
    /// Where miners connect.
    pub listeners: Vec<Listener>,
    /// How fast all miners are together.
    pub hashrate: Hashrate,
    /// Connections that are set up.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Workers with a channel.
    pub workers_active: u64,
    /// Accounts with a channel.
    pub accounts_active: u64,
    /// Shares of all times, as the ledger has them; of this process where there is no ledger yet.
    pub shares: Shares,
    /// The best share of all times.
    pub best: Option<Best>,
    /// When the last share was accepted.
    pub last_share_at: Option<u64>,
    /// The block that miners build on.
    pub tip: Option<Tip>,
    /// Blocks of all times.
    pub blocks: BlockCounts,
    /// Whether shares are recorded.
    pub ledger: Ledger,
    /// Whose view this is: `operator` or `public`.
    pub view: String,
    /// Whether it lists all accounts, and names those of blocks and best shares.
    pub lists_accounts: bool,
}

/// Where miners connect.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listener {
    /// Its name, or else its address.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Whether it is encrypted.
    pub noise: bool,
    /// Whether it speaks Stratum V1, too.
    pub v1: bool,
}

/// Counts of shares.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shares {
    /// Accepted ones.
    pub accepted: u64,
    /// What they were credited with.
    pub work: f64,
    /// Refused ones by reason.
    pub rejected: Vec<Rejected>,
}

/// A share.
#[derive(Debug, Serialize, ToSchema)]
pub struct Best {
    /// The difficulty that it reached.
    pub difficulty: f64,
    /// Whose it is; null in a public view that lists no accounts.
    pub account: Option<String>,
    /// Which device's.
    pub worker: Option<String>,
}

/// The block that miners build on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tip {
    /// Its height; that of the block to be found is one more.
    pub height: u32,
    /// Its hash.
    pub prev_hash: String,
    /// Difficulty of the block to be found.
    pub network_difficulty: f64,
    /// When the pool heard of it.
    pub since: u64,
}

/// Numbers of blocks.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct BlockCounts {
    /// All that were found.
    pub found: u64,
    /// Those of them that a node has taken, and that are not deep enough yet.
    pub accepted: u64,
    /// Those that are deep enough.
    pub confirmed: u64,
    /// Those that the chain goes without, or that no node took.
    pub orphaned: u64,
    /// When the last one was found.
    pub last_found_at: Option<u64>,
}

/// Whether shares are recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ledger {
    /// They are.
    pub ok: bool,
    /// Why not.
    pub problem: Option<String>,
    /// Why its database does not follow; shares are safe all the same.
    pub index_problem: Option<String>,
}

/// Sums over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// Length of a period in seconds.
    pub period_seconds: u64,
    /// From the first period with a share on, without gaps; the last one may not be over.
    pub points: Vec<Point>,
    /// Refused shares of the same time.
    pub rejects: Vec<RejectPoint>,
}

/// Accepted shares of a period.
#[derive(Debug, Serialize, ToSchema)]
pub struct Point {
    /// When it began.
    pub start: u64,
    /// How many.
    pub shares: u64,
    /// What they were credited with.
    pub work: f64,
    /// What that makes per second; of a period that is not over, of what is over.
    pub hashrate: f64,
    /// Difficulty of the best of them.
    pub best: f64,
}

/// Refused shares of a period.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectPoint {
    /// When it began.
    pub start: u64,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Whose history, and of when.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryOf {
    /// Whose: `pool`, `account` or `worker`; `pool` without it.
    #[serde(default)]
    pub subject: Subject,
    /// Name of the account, for an account or a worker.
    pub account: Option<String>,
    /// Name of the worker, for a worker.
    pub worker: Option<String>,
    /// Length of the periods; `hour` without it. Minutes are kept for a week, hours for some months, days for good.
    #[serde(default)]
    pub period: Period,
    /// First moment, unix milliseconds; 60 periods before `to` without it.
    pub from: Option<u64>,
    /// Last moment, unix milliseconds; now without it.
    pub to: Option<u64>,
}

/// Whose history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The pool's.
    #[default]
    Pool,
    /// An account's.
    Account,
    /// A worker's.
    Worker,
}

/// Length of periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    #[default]
    Hour,
    /// A day of UTC.
    Day,
}

/// An account in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    /// Its name, often an address.
    pub account: String,
    /// Workers that ever had a share accepted.
    pub workers: u64,
    /// Workers that are connected.
    pub workers_online: u64,
    /// How fast it is.
    pub hashrate: Hashrate,
    /// Accepted shares.
    pub shares: u64,
    /// What they were credited with.
    pub work: f64,
    /// Difficulty of the best of them.
    pub best: f64,
    /// When that was.
    pub best_at: Option<u64>,
    /// When the last share was accepted.
    pub last_share_at: Option<u64>,
    /// When the first share was accepted, or the miner connected.
    pub since: u64,
}

/// An account with all that belongs to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountPage {
    /// Its sums.
    #[serde(flatten)]
    pub account: Account,
    /// Its workers by name: the part that was asked for.
    pub workers: Vec<Worker>,
    /// How many workers there are.
    pub workers_total: u64,
    /// Refused shares of the last 24 hours.
    pub rejected: Vec<Rejected>,
    /// The last blocks that its workers found, up to 50.
    pub blocks: Vec<Block>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct Worker {
    /// Its name within the account; may be empty.
    pub worker: String,
    /// Whether it is connected.
    pub online: bool,
    /// How fast it is.
    pub hashrate: Hashrate,
    /// Difficulty of its target, while it is connected.
    pub difficulty: Option<f64>,
    /// What its device calls itself, while it is connected.
    pub device: Option<String>,
    /// `v1` or `v2`, while it is connected.
    pub protocol: Option<String>,
    /// Accepted shares.
    pub shares: u64,
    /// What they were credited with.
    pub work: f64,
    /// Difficulty of the best of them.
    pub best: f64,
    /// When that was.
    pub best_at: Option<u64>,
    /// When the last share was accepted.
    pub last_share_at: Option<u64>,
    /// Refused shares of the last 24 hours.
    pub rejected: Vec<Rejected>,
}

/// A found block.
#[derive(Debug, Serialize, ToSchema)]
pub struct Block {
    /// Its hash.
    pub hash: String,
    /// Its height.
    pub height: u32,
    /// `found`, `submitted`, `accepted`, `rejected`, `confirmed`, `orphaned` or `lost`.
    pub state: String,
    /// How deep it is in the chain; the tip is 1 deep.
    pub depth: u32,
    /// Depth at which it is final.
    pub confirmations_needed: u32,
    /// Who found it; null in a public view that lists no accounts.
    pub finder: Option<Finder>,
    /// What its coinbase pays.
    pub value: Option<u64>,
    /// The difficulty that its hash reached.
    pub difficulty: Option<f64>,
    /// When it was found.
    pub found_at: Option<u64>,
    /// The steps of its life, in order.
    pub life: Vec<Step>,
}

/// Who found a block.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finder {
    /// The account.
    pub account: String,
    /// The worker.
    pub worker: String,
}

/// A step in the life of a block.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    /// When.
    pub at: u64,
    /// What; words as in the block's state.
    pub step: String,
    /// Which node took part; the operator's view only.
    pub node: Option<String>,
    /// A reason or the depth; the operator's view only.
    pub detail: Option<String>,
}

/// What is mined.
#[derive(Debug, Serialize, ToSchema)]
pub struct Template {
    /// Height of the block to be found.
    pub height: u32,
    /// The block to build on.
    pub prev_hash: String,
    /// The source's number for the template.
    pub template_id: u64,
    /// The newest job that was made of it.
    pub job_id: u32,
    /// The source; a name in the operator's view, else its kind.
    pub source: String,
    /// Fees of its transactions; null where the subsidy is not known.
    pub fees_sats: Option<u64>,
    /// All that its coinbase may pay.
    pub value_sats: u64,
    /// Transactions beside the coinbase; null until they have come.
    pub transactions: Option<u64>,
    /// Bytes of them.
    pub size: Option<u64>,
    /// Weight of them.
    pub weight: Option<u64>,
    /// Their signature operations; not known.
    pub sigops: Option<u64>,
    /// Time to start mining with, unix seconds as in a block header.
    pub min_ntime: u32,
    /// Compact target of a block header, hexadecimal.
    pub nbits: String,
    /// What that makes as difficulty.
    pub network_difficulty: f64,
    /// When the template came.
    pub received_at: u64,
    /// When the newest job was made of it.
    pub job_at: u64,
    /// What a block pays under the policy `pool`; under `solo` each miner has its own.
    pub coinbase_outputs: Vec<CoinbaseOutput>,
    /// Whether it has no transactions.
    pub empty: bool,
}

/// What a block pays.
#[derive(Debug, Serialize, ToSchema)]
pub struct CoinbaseOutput {
    /// The script, hexadecimal.
    pub script: String,
    /// Its address, where it has one.
    pub address: Option<String>,
    /// How much.
    pub sats: u64,
}

/// Where templates come from and blocks go.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// Its place in the configuration; lower ones are preferred.
    pub index: u64,
    /// `bitcoin-ipc`, `bitcoin-rpc`, `sv2` or `devnet`.
    pub kind: String,
    /// What it calls itself, or else how the configuration names it.
    pub description: String,
    /// `up` or `down`.
    pub state: String,
    /// Whether miners work on its templates.
    pub active: bool,
    /// Height of its tip.
    pub height: Option<u32>,
    /// Since when it is up or down.
    pub since: u64,
    /// Why it is down.
    pub problem: Option<String>,
    /// Whether it takes whole blocks.
    pub raw_blocks: bool,
    /// Whether it takes solutions of its own templates.
    pub solutions: bool,
}

/// A connection that is set up.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connection {
    /// Never used twice in a process.
    pub id: u64,
    /// Whence it came.
    pub address: String,
    /// Name of the listener.
    pub listener: String,
    /// `v1` or `v2`.
    pub protocol: String,
    /// What the device calls itself.
    pub device: String,
    /// When it was set up.
    pub connected_at: u64,
    /// Its channels, up to 100.
    pub channels: Vec<Channel>,
    /// How many there are.
    pub channels_total: u64,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct Channel {
    /// Its number on its connection.
    pub id: u32,
    /// `standard`, `extended` or `v1`.
    pub kind: String,
    /// Whose it is.
    pub account: String,
    /// Which device's.
    pub worker: String,
    /// `pool` or `solo`.
    pub policy: String,
    /// Difficulty of its target.
    pub difficulty: f64,
    /// How fast it is.
    pub hashrate: Hashrate,
    /// Accepted shares since it was opened.
    pub shares: u64,
    /// Refused shares since it was opened.
    pub rejected: Vec<Rejected>,
    /// Difficulty of its best share.
    pub best: f64,
    /// When its last share was accepted.
    pub last_share_at: Option<u64>,
}

/// Which connections.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConnectionsOf {
    /// What address, device, account or worker contain.
    #[serde(default)]
    pub search: String,
    /// Where to begin; 0 without it.
    #[serde(default)]
    pub offset: u32,
    /// How many at most, up to 500; 50 without it.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// Which accounts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccountsOf {
    /// What the name contains.
    #[serde(default)]
    pub search: String,
    /// By what they are sorted: `name`, `work`, `best` or `last_share`; `work` without it.
    #[serde(default)]
    pub order: Order,
    /// Where to begin; 0 without it.
    #[serde(default)]
    pub offset: u32,
    /// How many at most, up to 500; 50 without it.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// By what accounts are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    Name,
    /// Most work first.
    #[default]
    Work,
    /// Highest best difficulty first.
    Best,
    /// Latest share first.
    LastShare,
}

/// A worker that came or went.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerEvent {
    /// The account.
    pub account: String,
    /// The worker.
    pub worker: String,
    /// Whether it is connected now.
    pub online: bool,
}

/// A block that was found or has a new state.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockEvent {
    /// Its hash.
    pub hash: String,
    /// Its height.
    pub height: u32,
    /// As in [`Block`].
    pub state: String,
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reloaded {
    /// Keys that hold for connections from now on.
    pub reloaded: Vec<String>,
    /// Keys that need a new process.
    pub waiting: Vec<String>,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Done {
    /// How many were concerned.
    pub count: u64,
}
