//! Messages of a pool at a client's channel: none panics, and the work that comes of them makes headers and shares.
//!
//! Input: 0 for a standard channel, else the extranonce size; then frames of mining messages.
#![no_main]

use std::time::Duration;

use binary_sv2::{B0_32, U256};
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use mining_sv2::{Mining, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess};
use roles_logic_sv2::channel::client::ClientChannel;

const NOW: Duration = Duration::from_secs(1_700_000_000);

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let size = input.byte();
    let prefix = B0_32::from_truncated(&vec![7; usize::from(size % 30)]);
    let target = U256::from_le_bytes([0xff; 32]);
    let mut channel = if size == 0 {
        ClientChannel::standard(&OpenStandardMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target,
            extranonce_prefix: prefix,
            group_channel_id: 1,
        })
    } else {
        let opened = ClientChannel::extended(&OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target,
            extranonce_size: u16::from(size % 40),
            extranonce_prefix: prefix,
            group_channel_id: 1,
        });
        let Ok(channel) = opened else { return };
        channel
    };
    while let Some((header, payload)) = input.frame() {
        match Mining::decode(header.message_type(), payload) {
            Ok(Mining::NewMiningJob(job)) => drop(channel.on_new_mining_job(&job)),
            Ok(Mining::NewExtendedMiningJob(job)) => drop(channel.on_new_extended_mining_job(&job)),
            Ok(Mining::SetNewPrevHash(tip)) => drop(channel.on_set_new_prev_hash(NOW, &tip)),
            Ok(Mining::SetTarget(target)) => drop(channel.on_set_target(&target)),
            Ok(Mining::SetExtranoncePrefix(prefix)) => drop(channel.on_set_extranonce_prefix(&prefix)),
            _ => continue,
        }
        if let Some(work) = channel.work() {
            let header = work.header(work.version, work.max_ntime(NOW), 7);
            let _ = (header.hash(), work.network_target().difficulty(), work.target.work());
            let _ = channel.submit(&work, work.version, work.min_ntime, 7);
            assert!(channel.is_current(&work));
        }
    }
});
