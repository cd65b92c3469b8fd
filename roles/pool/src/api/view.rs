//! One view of the pool, an operator's or the public one: what is asked, from where it is known.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::FromRef;
use bitcoin::{Address, Network, Transaction, consensus::deserialize};
use share_ledger::{AccountId, DatabaseError, Reader, Subject};
use stratum_runtime::http::{ApiError, Events, Token};

use super::{
    Insight,
    board::{Mined, State, TemplateKey},
    dto::{self, Hashrate, Rejected},
    records::{DAY, Recorded, Records, Summary},
};
use crate::registry::{Channel, Hashrates};

/// A miner that is younger is known best by what it does now: the ledger's sums are of whole minutes and hours.
const YOUNG: Duration = Duration::from_secs(600);

/// See the module's documentation. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct View(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub insight: Arc<Insight>,
    pub is_operator: bool,
    /// Whether it lists accounts, and names those of blocks and best shares.
    pub names_accounts: bool,
    pub events: Events,
    pub token: Token,
    pub records: Records,
    /// What was worked out for a template: bytes and weight of its transactions.
    pub sizes: Arc<Mutex<Option<Sizes>>>,
}

/// Bytes and weight of a template's transactions.
pub(super) type Sizes = (TemplateKey, (u64, u64));

impl std::ops::Deref for View {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FromRef<View> for Token {
    fn from_ref(view: &View) -> Self {
        view.token.clone()
    }
}

pub(super) const fn milliseconds(at: Duration) -> u64 {
    at.as_millis() as u64
}

fn some(milliseconds: u64) -> Option<u64> {
    (milliseconds > 0).then_some(milliseconds)
}

impl View {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub fn now(&self) -> Duration {
        self.insight.clock.now()
    }

    /// The pool as a whole.
    pub async fn pool(&self) -> dto::Pool {
        // Without a ledger there is still something to tell.
        let summary = self.records.summary(self.insight.confirmations).await.ok();
        let Insight { registry, board, facts, .. } = &*self.insight;
        let (now, counts, sums, state) = (self.now(), registry.counts(), registry.sums(), board.state());
        let live = registry.hashrates(now);
        let hashrate = summary.as_ref().map_or_else(|| live.into(), |summary| combined(live, summary.recorded, now));
        dto::Pool {
            name: "Stratum".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: facts.network.to_string(),
            devnet: facts.devnet,
            started_at: milliseconds(facts.started_at),
            now: milliseconds(now),
            coinbase_tag: facts.coinbase_tag.clone(),
            authority_key: facts.authority_key.clone(),
            listeners: facts
                .listeners
                .iter()
                .map(|listener| dto::Listener {
                    name: listener.name.clone(),
                    address: listener.address.clone(),
                    noise: listener.noise,
                    v1: listener.v1,
                })
                .collect(),
            hashrate,
            connections: counts.connections as u64,
            channels: counts.channels as u64,
            workers_active: counts.workers as u64,
            accounts_active: counts.accounts as u64,
            shares: summary.as_ref().map_or_else(
                || dto::Shares { accepted: sums.accepted, work: sums.work, rejected: dto::rejected(&sums) },
                |summary| summary.shares(),
            ),
            best: summary.as_ref().and_then(|summary| self.best(summary)),
            last_share_at: some(sums.last.max(summary.as_ref().map_or(0, |summary| summary.overview.last_share.0))),
            tip: state.mined.as_ref().map(tip),
            blocks: summary.as_ref().map(|summary| summary.blocks()).unwrap_or_default(),
            ledger: self.ledger(&state),
            view: if self.is_operator { "operator" } else { "public" }.to_owned(),
            lists_accounts: self.names_accounts,
        }
    }

    fn best(&self, summary: &Summary) -> Option<dto::Best> {
        let difficulty = summary.overview.best.get();
        let by = summary.overview.best_by.clone().filter(|_| self.names_accounts);
        let (account, worker) = by.unzip();
        (difficulty > 0.0).then_some(dto::Best { difficulty, account, worker })
    }

    /// Whether shares are recorded. Why not, is the operator's business.
    pub fn ledger(&self, state: &State) -> dto::Ledger {
        let missing = (!state.has_ledger).then(|| "the process before this one still has it".to_owned());
        let problem = state.ledger.clone().or(missing);
        let told = |problem: Option<String>, instead: &str| {
            problem.map(|problem| if self.is_operator { problem } else { instead.to_owned() })
        };
        dto::Ledger {
            ok: problem.is_none(),
            problem: told(problem, "shares can not be recorded at present; they wait"),
            index_problem: told(state.index.clone(), "sums are behind at present"),
        }
    }

    /// A found block and its life.
    pub fn block(&self, block: share_ledger::Block, life: Vec<share_ledger::BlockLife>) -> dto::Block {
        let needed = self.insight.confirmations;
        let finder = block.finder.filter(|_| self.names_accounts);
        let text = |text: String| Some(text).filter(|text| self.is_operator && !text.is_empty());
        let step = |step: share_ledger::BlockLife| dto::Step {
            at: step.at.0,
            step: step.step,
            node: text(step.node),
            detail: text(step.detail),
        };
        let is_final = block.state != "confirmed" || block.depth >= needed;
        dto::Block {
            hash: block.hash.to_string(),
            height: block.height,
            state: if is_final { block.state } else { "accepted".to_owned() },
            depth: block.depth,
            confirmations_needed: needed,
            finder: finder.map(|(account, worker)| dto::Finder { account, worker }),
            value: block.value,
            difficulty: block.reached.map(share_ledger::Difficulty::get),
            found_at: block.found_at.map(|at| at.0),
            life: life.into_iter().map(step).collect(),
        }
    }

    /// What is mined.
    pub async fn template(&self) -> Result<Option<dto::Template>, ApiError> {
        let state = self.insight.board.state();
        let Some(mined) = state.mined else { return Ok(None) };
        let sizes = self.sizes(&mined).await?;
        let Mined { source, template, transactions, tip, received_at, job_at, .. } = mined;
        let facts = &self.insight.facts;
        let value = template.coinbase.value_remaining;
        let job = tip.current.pool_job();
        let coinbase: Result<Transaction, _> = deserialize(&job.coinbase_tx(&vec![0; job.full_extranonce_size()]));
        let outputs = coinbase.map(|coinbase| coinbase.output).map_err(ApiError::internal)?;
        let node = state.nodes.get(source);
        Ok(Some(dto::Template {
            height: template.height,
            prev_hash: tip.tip.prev_hash.to_string(),
            template_id: template.id.0,
            job_id: tip.current.id().0,
            source: node.map_or("", |node| if self.is_operator { &node.name } else { node.kind }).to_owned(),
            fees_sats: subsidy(facts.network, facts.devnet, template.height, value)
                .and_then(|subsidy| value.checked_sub(subsidy)),
            value_sats: value,
            transactions: transactions
                .as_ref()
                .map(|list| list.len() as u64)
                .or_else(|| template.merkle_path.is_empty().then_some(0)),
            size: sizes.map(|(size, _)| size),
            weight: sizes.map(|(_, weight)| weight),
            sigops: None,
            min_ntime: tip.tip.min_ntime,
            nbits: format!("{:08x}", tip.tip.nbits),
            network_difficulty: tip.tip.target.difficulty(),
            received_at: milliseconds(received_at),
            job_at: milliseconds(job_at),
            coinbase_outputs: outputs
                .into_iter()
                .map(|output| dto::CoinbaseOutput {
                    script: output.script_pubkey.to_hex_string(),
                    address: Address::from_script(&output.script_pubkey, facts.network)
                        .ok()
                        .map(|address| address.to_string()),
                    sats: output.value.to_sat(),
                })
                .collect(),
            empty: template.merkle_path.is_empty(),
        }))
    }

    /// Bytes and weight of a template's transactions, worked out once and not here: there may be thousands.
    async fn sizes(&self, mined: &Mined) -> Result<Option<(u64, u64)>, ApiError> {
        let key = (mined.source, mined.template.id);
        if mined.template.merkle_path.is_empty() {
            return Ok(Some((0, 0)));
        }
        let known = *self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sizes)) = known.filter(|(of, _)| *of == key) {
            return Ok(Some(sizes));
        }
        let Some(transactions) = mined.transactions.clone() else { return Ok(None) };
        let sizes = tokio::task::spawn_blocking(move || {
            let size = transactions.iter().map(|transaction| transaction.len() as u64).sum();
            let weight = |bytes: &Vec<u8>| deserialize::<Transaction>(bytes).map_or(0, |read| read.weight().to_wu());
            (size, transactions.iter().map(weight).sum())
        });
        let sizes = sizes.await.map_err(ApiError::internal)?;
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, sizes));
        Ok(Some(sizes))
    }
}

/// The block that miners build on.
pub(super) fn tip(mined: &Mined) -> dto::Tip {
    dto::Tip {
        height: mined.tip.height.saturating_sub(1),
        prev_hash: mined.tip.tip.prev_hash.to_string(),
        network_difficulty: mined.tip.tip.target.difficulty(),
        since: milliseconds(mined.tip_at),
    }
}

/// What a block at this height creates. A devnet halves by its own rules: there it is the halving that leaves some fees.
pub(super) fn subsidy(network: Network, devnet: bool, height: u32, value: u64) -> Option<u64> {
    const FIRST: u64 = 50 * 100_000_000;
    if devnet {
        return (0..=33).map(|halvings| FIRST >> halvings).find(|subsidy| *subsidy <= value);
    }
    let interval = if network == Network::Regtest { 150 } else { 210_000 };
    Some(FIRST.checked_shr(height / interval).unwrap_or(0))
}

/// How fast the miners of some channels are together.
pub(super) fn together<'a>(channels: impl IntoIterator<Item = &'a Arc<Channel>>, now: Duration) -> Hashrates {
    channels.into_iter().fold(Hashrates::default(), |mut sum, channel| {
        sum += channel.hashrates(now);
        sum
    })
}

/// The live estimate, with what the ledger knows about longer times.
pub(super) fn combined(live: Hashrates, recorded: Recorded, now: Duration) -> Hashrate {
    let mut rates = Hashrate::from(live);
    if now.saturating_sub(Duration::from_secs(recorded.since)) >= YOUNG || live == Hashrates::default() {
        (rates.h1, rates.h24) = (recorded.h1, recorded.h24);
    }
    rates
}

/// Refused shares of the last 24 hours.
pub(super) fn refused(reader: &mut Reader, of: Subject, now: u64) -> Result<Vec<Rejected>, DatabaseError> {
    let mut sums: Vec<Rejected> = Vec::new();
    for point in reader.rejects(of, share_ledger::Period::Hour, now.saturating_sub(DAY), now)? {
        match sums.iter_mut().find(|known| known.reason == point.reason) {
            Some(known) => known.count += point.count,
            None => sums.push(Rejected { reason: point.reason, count: point.count }),
        }
    }
    Ok(sums)
}

/// An account as a list has it.
pub(super) fn account(
    reader: &mut Reader,
    known: share_ledger::Account,
    channels: &[Arc<Channel>],
    now: Duration,
) -> Result<dto::Account, DatabaseError> {
    let totals = known.totals;
    let recorded = Recorded::of(reader, Subject::Account(known.id), Some(totals.since.secs()), now.as_secs())?;
    let mut online: Vec<&str> = channels.iter().map(|channel| channel.worker.name()).collect();
    // They come by name.
    online.dedup();
    Ok(dto::Account {
        workers: known.workers,
        workers_online: online.len() as u64,
        hashrate: combined(together(channels, now), recorded, now),
        shares: totals.shares,
        work: totals.work.0 as f64,
        best: totals.best.get(),
        best_at: some(totals.best_at.0),
        last_share_at: some(channels.iter().map(|channel| channel.sums().last).fold(totals.last_share.0, u64::max)),
        since: totals.since.0,
        account: known.name,
    })
}

/// A miner that has connected, and had no share accepted yet.
pub(super) fn stranger(name: String, channels: &[Arc<Channel>]) -> dto::Account {
    let mut online: Vec<&str> = channels.iter().map(|channel| channel.worker.name()).collect();
    online.dedup();
    dto::Account {
        account: name,
        workers: 0,
        workers_online: online.len() as u64,
        hashrate: Hashrate::default(),
        shares: 0,
        work: 0.0,
        best: 0.0,
        best_at: None,
        last_share_at: None,
        since: channels.iter().map(|channel| milliseconds(channel.since)).min().unwrap_or_default(),
    }
}

/// A worker: what the ledger knows of it, and what its channels do.
pub(super) fn worker(
    reader: &mut Reader,
    known: share_ledger::Worker,
    channels: &[&Arc<Channel>],
    now: Duration,
) -> Result<dto::Worker, DatabaseError> {
    let (totals, of) = (known.totals, Subject::Worker(known.id));
    let recorded = Recorded::of(reader, of, Some(totals.since.secs()), now.as_secs())?;
    let live = together(channels.iter().copied(), now);
    Ok(dto::Worker {
        hashrate: combined(live, recorded, now),
        shares: totals.shares,
        work: totals.work.0 as f64,
        best: totals.best.get(),
        best_at: some(totals.best_at.0),
        last_share_at: some(channels.iter().map(|channel| channel.sums().last).fold(totals.last_share.0, u64::max)),
        rejected: refused(reader, of, now.as_secs())?,
        ..present(known.name, channels)
    })
}

/// A worker without accepted shares.
pub(super) fn present(name: String, channels: &[&Arc<Channel>]) -> dto::Worker {
    let newest = channels.iter().max_by_key(|channel| channel.since);
    dto::Worker {
        worker: name,
        online: newest.is_some(),
        hashrate: Hashrate::default(),
        difficulty: newest.map(|channel| channel.difficulty()),
        device: newest.map(|channel| channel.connection.device.clone()),
        protocol: newest.map(|channel| channel.connection.protocol.word().to_owned()),
        shares: 0,
        work: 0.0,
        best: 0.0,
        best_at: None,
        last_share_at: None,
        rejected: Vec::new(),
    }
}

/// Blocks of an account with their lives.
pub(super) fn blocks_of(
    reader: &mut Reader,
    of: AccountId,
    limit: usize,
) -> Result<Vec<(share_ledger::Block, Vec<share_ledger::BlockLife>)>, DatabaseError> {
    let found = reader.blocks_of(of, limit)?;
    lives(reader, found)
}

/// Blocks with their lives.
pub(super) fn lives(
    reader: &mut Reader,
    blocks: Vec<share_ledger::Block>,
) -> Result<Vec<(share_ledger::Block, Vec<share_ledger::BlockLife>)>, DatabaseError> {
    let life = |block: share_ledger::Block| {
        let life = reader.block(&block.hash)?.map(|(_, life)| life).unwrap_or_default();
        Ok((block, life))
    };
    blocks.into_iter().map(life).collect()
}
