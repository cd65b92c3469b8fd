//! Reading the events of a template source in a test, and mining what they offer.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxMerkleNode,
    TxOut, Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode,
    hashes::{Hash, HashEngine, sha256d},
};
use template_source::{
    Command, Event, Solution, SubmitOutcome, SubmitPath, Subscription, Template, TemplateId, Tip, Transactions,
};

/// How long an event may take. Only a failing test ever waits this long.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// Events that are kept for the message of a failure.
const LAST_EVENTS: usize = 6;

/// A subscription with what it said last.
#[derive(Debug)]
pub struct Reader {
    subscription: Subscription,
    /// Templates in the order they came.
    pub templates: Vec<Arc<Template>>,
    /// The last tip.
    pub tip: Option<Tip>,
    last_events: VecDeque<Event>,
}

impl Reader {
    /// Reads from the start of a subscription.
    pub fn new(subscription: Subscription) -> Self {
        Self { subscription, templates: Vec::new(), tip: None, last_events: VecDeque::new() }
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes, or when it breaks the order that the source promises.
    pub async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(EVENT_LIMIT, self.subscription.events.recv()).await;
        let event =
            event.unwrap_or_else(|_| panic!("no event in {EVENT_LIMIT:?}; the last ones: {:?}", self.last_events));
        let event = event.expect("the subscription goes on");
        if self.last_events.len() == LAST_EVENTS {
            self.last_events.pop_front();
        }
        self.last_events.push_back(event.clone());
        match &event {
            Event::Template(template) => {
                let last = self.templates.last().map(|template| template.id);
                assert!(last < Some(template.id), "template ids increase");
                self.templates.push(Arc::clone(template));
            }
            Event::Tip(tip) => {
                assert!(self.template(tip.template_id).future, "a tip names a future template");
                self.tip = Some(*tip);
            }
            _ => {}
        }
        event
    }

    /// Reads until `pick` finds what it looks for.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let event = self.next().await;
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    }

    /// Reads until the last tip is one on `prev_hash`.
    pub async fn until_tip(&mut self, prev_hash: BlockHash) -> Tip {
        if let Some(tip) = self.tip.filter(|tip| tip.prev_hash == prev_hash) {
            return tip;
        }
        self.until(|event| match event {
            Event::Tip(tip) if tip.prev_hash == prev_hash => Some(*tip),
            _ => None,
        })
        .await
    }

    /// Reads until a template that `wanted` likes.
    pub async fn until_template(&mut self, wanted: impl Fn(&Template) -> bool) -> Arc<Template> {
        self.until(|event| match event {
            Event::Template(template) if wanted(template) => Some(Arc::clone(template)),
            _ => None,
        })
        .await
    }

    /// Sends a command.
    pub async fn command(&self, command: Command) {
        self.subscription.commands.send(command).await.expect("the subscription goes on");
    }

    /// Asks for a template's transactions and waits for the answer.
    pub async fn transactions(&mut self, wanted: TemplateId) -> Result<Transactions, String> {
        self.command(Command::RequestTransactions(wanted)).await;
        self.until(|event| match event {
            Event::Transactions { id, result } if *id == wanted => Some(result.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for what came of a submission.
    pub async fn submitted(&mut self, wanted: BlockHash) -> (SubmitPath, SubmitOutcome) {
        self.until(|event| match event {
            Event::Submitted { hash, path, outcome } if *hash == wanted => Some((*path, outcome.clone())),
            _ => None,
        })
        .await
    }

    /// A template that was sent.
    ///
    /// # Panics
    /// When it was not.
    pub fn template(&self, id: TemplateId) -> &Arc<Template> {
        self.templates.iter().rev().find(|template| template.id == id).expect("a template that was sent before")
    }

    /// The last tip.
    ///
    /// # Panics
    /// When there was none.
    pub fn tip(&self) -> Tip {
        self.tip.expect("a tip")
    }

    /// Ends the subscription.
    pub fn close(self) {}
}

/// A template that was mined.
#[derive(Clone, Debug)]
pub struct Mined {
    /// For [`Command::SubmitSolution`].
    pub solution: Solution,
    /// The whole coinbase.
    pub coinbase: Transaction,
    /// The header.
    pub header: Header,
}

impl Mined {
    /// The whole block, for [`Command::SubmitBlock`].
    pub fn block(&self, transactions: &Transactions) -> Block {
        let rest = transactions.iter().map(|bytes| encode::deserialize(bytes).expect("a transaction"));
        let txdata = std::iter::once(self.coinbase.clone()).chain(rest).collect();
        Block { header: self.header, txdata }
    }
}

/// Finds a block for a template on a tip. `tag` goes into the coinbase; all value goes to `script`.
pub fn mine(template: &Template, tip: &Tip, tag: &[u8], script: ScriptBuf) -> Mined {
    let coinbase = coinbase(template, tag, script);
    let mut root = coinbase.compute_txid().to_raw_hash();
    for sibling in &template.merkle_path {
        let mut engine = sha256d::Hash::engine();
        engine.input(root.as_byte_array());
        engine.input(sibling);
        root = sha256d::Hash::from_engine(engine);
    }
    let mut header = Header {
        version: Version::from_consensus(template.version.cast_signed()),
        prev_blockhash: tip.prev_hash,
        merkle_root: TxMerkleNode::from_raw_hash(root),
        time: tip.header_timestamp,
        bits: CompactTarget::from_consensus(tip.nbits),
        nonce: 0,
    };
    let target = Target::from_le_bytes(tip.target);
    assert_eq!(header.target(), target, "nBits and target of a tip agree");
    while !target.is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    let solution = Solution {
        template_id: template.id,
        hash: header.block_hash(),
        version: template.version,
        header_timestamp: header.time,
        header_nonce: header.nonce,
        coinbase_tx: encode::serialize(&coinbase),
    };
    Mined { solution, coinbase, header }
}

/// The coinbase of a template with one output of our own, before those that the template requires.
fn coinbase(template: &Template, tag: &[u8], script: ScriptBuf) -> Transaction {
    let parts = &template.coinbase;
    let mut script_sig = parts.script_sig_prefix.clone();
    script_sig.push(u8::try_from(tag.len()).expect("a short tag"));
    script_sig.extend_from_slice(tag);
    let witness = if parts.has_witness_commitment() { Witness::from_slice(&[[0_u8; 32]]) } else { Witness::new() };
    let mut output = vec![TxOut { value: Amount::from_sat(parts.value_remaining), script_pubkey: script }];
    let mut rest = parts.outputs.as_slice();
    for _ in 0..parts.outputs_count {
        let (required, used) = encode::deserialize_partial(rest).expect("an output");
        output.push(required);
        rest = &rest[used..];
    }
    assert!(rest.is_empty(), "as many outputs as the template says");
    Transaction {
        version: bitcoin::transaction::Version::non_standard(parts.version.cast_signed()),
        lock_time: LockTime::from_consensus(parts.lock_time),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script_sig),
            sequence: Sequence(parts.sequence),
            witness,
        }],
        output,
    }
}
