//! Templates that are made up, and the jobs of them.

use std::{sync::Arc, time::Duration};

use bitcoin::{BlockHash, ScriptBuf, WPubkeyHash, hashes::Hash, script::Builder};
use roles_logic_sv2::{
    JobIds, TemplateId, Tip,
    extranonce::Layout,
    job::{Job, JobFactory, JobTemplate, Payout},
};

/// The chain's height at the start.
const START_HEIGHT: u32 = 200;

/// What all connections are told at one time.
#[derive(Clone, Debug)]
pub struct Round {
    /// Number of the tip.
    pub tip_number: u64,
    /// What to build on.
    pub tip: Arc<Tip>,
    /// The newest job.
    pub job: Arc<Job>,
}

/// Makes one round after the other.
#[derive(Debug)]
pub struct Jobs {
    factory: JobFactory,
    ids: JobIds,
    nbits: u32,
    tips: u64,
}

impl Jobs {
    /// `nbits` is what blocks must meet.
    pub fn new(nbits: u32) -> Self {
        let payout = Payout::single(ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros()));
        let reserved = payout.constraints();
        let factory = JobFactory::new(payout, b"test".to_vec(), Layout::SV2_DEFAULT.full_size(), reserved);
        Self { factory: factory.expect("a short tag and a reserve that fits"), ids: JobIds::new(), nbits, tips: 0 }
    }

    /// A new block was found by somebody: a tip and a job on it. `now` is the time since the unix epoch.
    pub fn next_tip(&mut self, now: Duration) -> Round {
        self.tips += 1;
        let mut prev_hash = [0x77; 32];
        prev_hash[..8].copy_from_slice(&self.tips.to_le_bytes());
        let min_ntime = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let tip = Tip::new(BlockHash::from_byte_array(prev_hash), min_ntime, self.nbits, now);
        let tip = Arc::new(tip.expect("nbits that blocks can have"));
        Round { tip_number: self.tips, tip, job: self.job() }
    }

    /// Another job on the same tip.
    pub fn next_job(&mut self, round: &Round) -> Round {
        Round { job: self.job(), ..round.clone() }
    }

    fn job(&self) -> Arc<Job> {
        let height = i64::from(START_HEIGHT) + self.tips as i64;
        let id = self.ids.next();
        let template = JobTemplate {
            template_id: TemplateId(u64::from(id.0)),
            future: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: Builder::new().push_int(height).into_script().into_bytes(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: vec![],
            coinbase_tx_locktime: 0,
            merkle_path: vec![[0x55; 32]; 3],
        };
        // Each is new work, although its template is the same.
        Arc::new(self.factory.build_variant(id, &template, id.0).expect("a template that is in order"))
    }
}
