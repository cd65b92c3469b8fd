//! From a job and a share to the header's hash, which both sides compute alike.

use bitcoin::{BlockHash, hashes::Hash};
use roles_logic_sv2::{Header, SplitCoinbase, Target, target::WORK_OF_DIFFICULTY_1};
use stratum_v1::{miner::Submit, pool::Notify};

/// The header that the share stands for.
pub fn header(job: &Notify, extranonce1: &[u8], share: &Submit) -> Header {
    let extranonce = [extranonce1, &share.extranonce2].concat();
    let coinbase = SplitCoinbase::new(job.coinbase1.clone(), job.coinbase2.clone());
    Header {
        version: job.version,
        prev_hash: BlockHash::from_byte_array(job.prev_hash),
        merkle_root: coinbase.merkle_root(&extranonce, &job.merkle_branch),
        ntime: share.ntime,
        nbits: job.nbits,
        nonce: share.nonce,
    }
}

/// The target of a difficulty, rounded to a power of two.
pub fn target(difficulty: f64) -> Target {
    Target::from_zero_bits((difficulty * WORK_OF_DIFFICULTY_1 as f64).log2().round() as u32)
}
