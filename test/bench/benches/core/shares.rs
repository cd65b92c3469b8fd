//! Shares to verdicts. Every share is a good one, and new.

use std::{hint::black_box, sync::Arc};

use binary_sv2::B0_32;
use mining_sv2::{SubmitSharesExtended, SubmitSharesStandard};
use roles_logic_sv2::{
    JobId,
    channel::{Kind, server::Channel},
    extranonce::Slot,
    share::{Share, Verdict},
};
use sha2::{compress256, digest::generic_array::GenericArray};
use sri_mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use stratum_bench::Row;

use crate::fixture::{self, MIN_NTIME, NOW, SHARES};

/// Blocks of SHA-256 for a share on an extended channel: 5 of the coinbase, 3 per level, 3 of the header.
const EXTENDED_BLOCKS: usize = 5 + 3 * 12 + 3;
/// Blocks of the header: two, and one for the second hash.
const HEADER_BLOCKS: usize = 3;

pub fn extended() -> Row<'static> {
    let slot = slot();
    let mut channel = active(&slot, true);
    let mut n = 0_u32;
    let ours = move || {
        n += 1;
        let message = SubmitSharesExtended {
            channel_id: 2,
            sequence_number: n,
            job_id: 1,
            nonce: n,
            ntime: MIN_NTIME,
            version: 0x2000_0000,
            extranonce: B0_32::from_truncated(&u64::from(n).to_be_bytes()),
        };
        judge(&mut channel, &slot, &Share::from(black_box(&message)));
    };
    let mut sri = sri_extended();
    let mut n = 0_u32;
    let sri = move || {
        n += 1;
        let rolled = sri.get_rollable_extranonce_size().into();
        let mut extranonce = vec![0; rolled];
        extranonce[..4].copy_from_slice(&n.to_le_bytes());
        let share = SubmitSharesExtendedOwned {
            channel_id: 2,
            sequence_number: n,
            job_id: 1,
            nonce: n,
            ntime: MIN_NTIME,
            version: 0x2000_0000,
            extranonce: extranonce.try_into().unwrap(),
        };
        black_box(sri.validate_share(black_box(share)).unwrap());
        if n.is_multiple_of(SHARES) {
            sri = sri_extended();
        }
    };
    Row::new("validate a share, extended channel")
        .target_at(1_900.0, 1_800.0)
        .ours(ours)
        .sri(sri)
        .limit(limit(EXTENDED_BLOCKS))
}

pub fn standard() -> Row<'static> {
    let slot = slot();
    let mut channel = active(&slot, false);
    let mut n = 0_u32;
    let ours = move || {
        n += 1;
        let message = SubmitSharesStandard {
            channel_id: 2,
            sequence_number: n,
            job_id: 1,
            nonce: n,
            ntime: MIN_NTIME,
            version: 0x2000_0000,
        };
        judge(&mut channel, &slot, &Share::from(black_box(&message)));
    };
    let mut sri = sri_standard();
    let mut n = 0_u32;
    let sri = move || {
        n += 1;
        let share = SubmitSharesStandardOwned {
            channel_id: 2,
            sequence_number: n,
            job_id: 1,
            nonce: n,
            ntime: MIN_NTIME,
            version: 0x2000_0000,
        };
        black_box(sri.validate_share(black_box(share)).unwrap());
        if n.is_multiple_of(SHARES) {
            sri = sri_standard();
        }
    };
    Row::new("validate a share, standard channel")
        .target_at(150.0, 127.0)
        .ours(ours)
        .sri(sri)
        .limit(limit(HEADER_BLOCKS))
}

fn judge(channel: &mut Channel, slot: &Slot, share: &Share) {
    let verdict = channel.submit(NOW, share);
    assert!(matches!(black_box(verdict), Verdict::Accepted { .. }));
    if share.sequence_number.0.is_multiple_of(SHARES) {
        *channel = active(slot, channel.kind() != Kind::Standard);
    }
}

fn slot() -> Slot {
    fixture::slots(1).next().unwrap()
}

fn active(slot: &Slot, extended: bool) -> Channel {
    let mut channel = fixture::channel(slot.clone(), extended);
    let job = Arc::new(fixture::factory(1).build(JobId(1), &fixture::template(0)).unwrap());
    channel.on_new_job(NOW, job, None).unwrap();
    channel.on_set_new_prev_hash(NOW, JobId(1), fixture::tip(0)).unwrap();
    channel
}

fn sri_extended() -> sri_channels_sv2::server::extended::ExtendedChannel {
    let mut channel = fixture::sri_extended(&mut fixture::sri_allocator());
    channel.on_new_template(fixture::sri_template(0), fixture::outputs()).unwrap();
    channel.on_set_new_prev_hash(fixture::sri_tip(0)).unwrap();
    channel
}

fn sri_standard() -> sri_channels_sv2::server::standard::StandardChannel {
    let mut channel = fixture::sri_standard(&mut fixture::sri_allocator());
    channel.on_new_template(fixture::sri_template(0), fixture::outputs()).unwrap();
    channel.on_set_new_prev_hash(fixture::sri_tip(0)).unwrap();
    channel
}

/// So many blocks, each waiting for the one before.
fn limit(blocks: usize) -> impl FnMut() {
    let mut state = [7; 8];
    let block = GenericArray::from([5; 64]);
    move || {
        for _ in 0..blocks {
            compress256(&mut state, &[block]);
        }
        black_box(&state);
    }
}
