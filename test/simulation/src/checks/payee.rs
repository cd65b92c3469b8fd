//! The jobs of a channel pay whom its user identity names, all channels of the connection whatever they are.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use bitcoin::{Address, ScriptBuf, Transaction, consensus::deserialize};
use mining_sv2::{Mining, NewExtendedMiningJob};

use super::{Check, Observation, Outcome, View};
use crate::pool::{FEE_MILLIONTHS, FULL_SIZE, POOL_SCRIPT};

/// Whom a channel's blocks pay: the pool's part in millionths, and who gets the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Due {
    pool: u64,
    miner: Option<ScriptBuf>,
}

#[derive(Default)]
pub struct Payee {
    /// Requests for channels that wait for their answers.
    asked: BTreeMap<(u64, u32), Due>,
    /// Open channels with their groups.
    channels: BTreeMap<(u64, u32), (u32, Due)>,
}

impl Check for Payee {
    fn name(&self) -> &'static str {
        "payee"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToPool { conn, message } => self.asked_for(*conn, message),
            Observation::FromPool { conn, message: Some(message) } => return self.told(*conn, message),
            Observation::Handled { conn, message: Mining::CloseChannel(close) } => {
                let id = close.channel_id;
                self.channels.retain(|(c, channel), (group, _)| c != conn || (*channel != id && *group != id));
            }
            Observation::Ended { conn, .. } => {
                self.asked.retain(|(c, _), _| c != conn);
                self.channels.retain(|(c, _), _| c != conn);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Payee {
    fn asked_for(&mut self, conn: u64, message: &Mining<'_>) {
        let (request, user) = match message {
            Mining::OpenStandardMiningChannel(open) => (open.request_id, &open.user_identity),
            Mining::OpenExtendedMiningChannel(open) => (open.request_id, &open.user_identity),
            _ => return,
        };
        self.asked.insert((conn, request), due(user.as_bytes()));
    }

    fn told(&mut self, conn: u64, message: &Mining<'_>) -> Outcome {
        let (request, channel, group) = match message {
            Mining::OpenStandardMiningChannelSuccess(open) => (open.request_id, open.channel_id, open.group_channel_id),
            Mining::OpenExtendedMiningChannelSuccess(open) => (open.request_id, open.channel_id, open.group_channel_id),
            Mining::NewExtendedMiningJob(job) => return self.job(conn, job),
            _ => return Ok(()),
        };
        if let Some(due) = self.asked.remove(&(conn, request)) {
            self.channels.insert((conn, channel), (group, due));
        }
        Ok(())
    }

    fn job(&self, conn: u64, job: &NewExtendedMiningJob<'_>) -> Outcome {
        let id = job.channel_id;
        let channels = self.channels.range((conn, 0)..=(conn, u32::MAX));
        for ((_, channel), (_, due)) in channels.filter(|((_, channel), (group, _))| *channel == id || *group == id) {
            due.check(job).map_err(|what| format!("job {} on channel {channel}: {what}", job.job_id))?;
        }
        Ok(())
    }
}

/// What the identity says, by rules of its own: `solo:` and an address, and perhaps a donation in whole percent.
fn due(user: &[u8]) -> Due {
    let Some(solo) = std::str::from_utf8(user).ok().and_then(|user| user.strip_prefix("solo:")) else {
        return Due { pool: 1_000_000, miner: None };
    };
    let donation = solo.split_once(";donate=").and_then(|(_, percent)| percent.parse::<u64>().ok());
    let address = solo.split(['.', ';']).next().and_then(|text| Address::from_str(text).ok());
    let miner = address.map(|address| address.assume_checked().script_pubkey());
    Due { pool: FEE_MILLIONTHS + donation.unwrap_or(0) * 10_000, miner }
}

impl Due {
    fn check(&self, job: &NewExtendedMiningJob<'_>) -> Outcome {
        let parts = [job.coinbase_tx_prefix.as_bytes(), &[0; FULL_SIZE], job.coinbase_tx_suffix.as_bytes()];
        let coinbase: Transaction = deserialize(&parts.concat()).map_err(|error| error.to_string())?;
        let total: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
        let paid = |script: &[u8]| -> u64 {
            let to_it = coinbase.output.iter().filter(|output| output.script_pubkey.as_bytes() == script);
            to_it.map(|output| output.value.to_sat()).sum()
        };
        let pool = total * self.pool / 1_000_000;
        let miner = self.miner.as_ref().map_or(0, |script| paid(script.as_bytes()));
        if (paid(POOL_SCRIPT), miner) == (pool, total - pool) {
            return Ok(());
        }
        Err(format!("expected {pool} of {total} satoshis to the pool and the rest to the miner, got {coinbase:?}"))
    }
}
