//! A job of an upstream channel, as the miners of the channel get it.

use std::sync::{Arc, OnceLock};

use bitcoin::{BlockHash, hashes::Hash as _};
use roles_logic_sv2::{
    Header, JobId, SplitCoinbase, Target, Tip, channel::client::ExtendedJob, extranonce::Extranonce,
};
use stratum_v1::pool::{EncodedNotify, Notify};

use crate::room::{EXTRANONCE1, Room};

/// Names an upstream channel among all that this process has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey(pub u64);

/// A job for miners. All of a channel share it.
#[derive(Debug)]
pub struct MinerJob {
    /// Counts the translator's jobs; miners know it by this number.
    pub serial: u32,
    /// The channel that it is of.
    pub channel: ChannelKey,
    /// The upstream's name for it.
    pub upstream_id: JobId,
    /// nVersion before rolling.
    pub version: u32,
    /// Bits of nVersion that may be rolled.
    pub version_mask: u32,
    /// What it builds on.
    pub tip: Tip,
    /// First nTime, unix seconds.
    pub min_ntime: u32,
    /// How the space behind `prefix` is split.
    pub room: Room,
    /// The channel's prefix, as it was for this job.
    pub prefix: Extranonce,
    /// Around extranonce1 and extranonce2.
    coinbase: SplitCoinbase,
    merkle_path: Vec<[u8; 32]>,
    /// With `clean_jobs` unset and set.
    encoded: [OnceLock<EncodedNotify>; 2],
}

impl MinerJob {
    /// Makes a channel's current job one for miners, who may roll no bits of nVersion outside of `version_mask`.
    pub fn new(serial: u32, channel: ChannelKey, room: Room, version_mask: u32, job: &ExtendedJob<'_>) -> Arc<Self> {
        let prefix = [job.coinbase.prefix(), &room.head(job.prefix)].concat();
        let size = EXTRANONCE1 + room.extranonce2();
        Arc::new(Self {
            serial,
            channel,
            upstream_id: job.job_id,
            version: job.version,
            version_mask: job.version_mask & version_mask,
            tip: job.tip,
            min_ntime: job.min_ntime,
            room,
            prefix: *job.prefix,
            coinbase: SplitCoinbase::for_size(prefix, job.coinbase.suffix().to_vec(), size),
            merkle_path: job.merkle_path.to_vec(),
            encoded: [OnceLock::new(), OnceLock::new()],
        })
    }

    /// The job as it goes to a miner.
    pub fn encoded(&self, clean_jobs: bool) -> &EncodedNotify {
        let [unset, set] = &self.encoded;
        if clean_jobs { set } else { unset }.get_or_init(|| EncodedNotify::new(&self.notify(clean_jobs)))
    }

    fn notify(&self, clean_jobs: bool) -> Notify {
        Notify {
            job_id: format!("{:x}", self.serial),
            prev_hash: self.tip.prev_hash.to_byte_array(),
            coinbase1: self.coinbase.prefix().to_vec(),
            coinbase2: self.coinbase.suffix().to_vec(),
            merkle_branch: self.merkle_path.clone(),
            version: self.version,
            nbits: self.tip.nbits,
            ntime: self.min_ntime,
            clean_jobs,
        }
    }

    /// Hash of the header that a share stands for; `extranonce` is both parts together.
    pub fn hash(&self, extranonce: &[u8], version: u32, ntime: u32, nonce: u32) -> BlockHash {
        let merkle_root = self.coinbase.merkle_root(extranonce, &self.merkle_path);
        let Tip { prev_hash, nbits, .. } = self.tip;
        Header { version, prev_hash, merkle_root, ntime, nbits, nonce }.hash()
    }

    /// Hashes at or below this are blocks.
    pub const fn network_target(&self) -> Target {
        self.tip.target
    }
}

/// What the miners of a channel have to know. Replaced as a whole whenever something changes.
#[derive(Clone, Debug)]
pub struct ChannelState {
    /// The channel.
    pub key: ChannelKey,
    /// Index of the upstream that it is with.
    pub upstream: usize,
    /// How its space is split.
    pub room: Room,
    /// Prefix of jobs to come.
    pub prefix: Extranonce,
    /// The current job.
    pub job: Option<Arc<MinerJob>>,
    /// What shares of the current job must meet to be of use upstream.
    pub job_target: Target,
    /// The same for jobs to come. No miner's difficulty is to be harder.
    pub target: Target,
}
