//! In the steady state a share costs no allocation on its way to the verdict, on either kind of channel.

use std::{sync::Arc, time::Duration};

use allocation_counter::measure;
use binary_sv2::B0_32;
use bitcoin::{BlockHash, ScriptBuf, WPubkeyHash, hashes::Hash};
use mining_sv2::{SubmitSharesExtended, SubmitSharesStandard};
use roles_logic_sv2::{
    ChannelId, JobId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    extranonce::{Layout, Space},
    job::{JobFactory, JobTemplate, Payout},
    share::{Rules, Share, Verdict},
};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const NTIME: u32 = 1_800_000_000;
/// So hard that no hash here is a block.
const NBITS: u32 = 0x1701_0000;
const SHARES: u32 = 500;
/// Tips after which every table has found its size.
const WARM_UP: u8 = 4;

fn channel(extended: bool) -> Channel {
    let open = Open {
        channel_id: ChannelId(2),
        group_channel_id: ChannelId(1),
        slot: Space::new(Layout::SV2_DEFAULT, 0, 0).unwrap().allocate().unwrap(),
        max_target: Target::MAX,
        target: Target::MAX,
        rules: Rules::default(),
    };
    if extended { Channel::extended(open, 8).unwrap() } else { Channel::standard(open) }
}

/// A job on a new tip; a standard channel's merkle root is computed when the job is sent.
fn start(channel: &mut Channel, number: u8) {
    let payout = Payout::single(ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros()));
    let reserved = payout.constraints();
    let factory = JobFactory::new(payout, Vec::new(), Layout::SV2_DEFAULT.full_size(), reserved).unwrap();
    let template = JobTemplate {
        template_id: TemplateId(number.into()),
        future: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: vec![],
        coinbase_tx_locktime: 839_999,
        merkle_path: vec![[5; 32]; 12],
    };
    let id = JobId(number.into());
    channel.on_new_job(NOW, Arc::new(factory.build(id, &template).unwrap()), None).unwrap();
    let _ = channel.new_mining_job(id);
    let tip = Tip::new(BlockHash::from_byte_array([number; 32]), NTIME, NBITS, NOW).unwrap();
    channel.on_set_new_prev_hash(NOW, id, Arc::new(tip)).unwrap();
}

fn share(extended: bool, job: u8, nonce: u32) -> Share {
    // Versions are rolled, too.
    let (sequence_number, job_id, ntime, version) = (nonce, job.into(), NTIME, 0x2000_0000 | (nonce % 7) << 13);
    if extended {
        let extranonce = B0_32::from_truncated(&u64::from(nonce).to_be_bytes());
        let message =
            SubmitSharesExtended { channel_id: 2, sequence_number, job_id, nonce, ntime, version, extranonce };
        return Share::from(&message);
    }
    Share::from(&SubmitSharesStandard { channel_id: 2, sequence_number, job_id, nonce, ntime, version })
}

#[test]
fn shares_cost_no_allocation() {
    for extended in [false, true] {
        let mut channel = channel(extended);
        let mut accepted = 0;
        let mut submit = |channel: &mut Channel, tip: u8| {
            for nonce in 0..SHARES {
                let verdict = channel.submit(NOW, &share(extended, tip, nonce));
                accepted += u32::from(matches!(verdict, Verdict::Accepted { .. }));
            }
        };
        for tip in 1..=WARM_UP {
            start(&mut channel, tip);
            submit(&mut channel, tip);
        }
        start(&mut channel, WARM_UP + 1);
        let counted = measure(|| submit(&mut channel, WARM_UP + 1));
        assert_eq!(counted.count_total, 0, "extended: {extended}");
        assert_eq!(accepted, SHARES * u32::from(WARM_UP + 1));
    }
}

/// Without any warm-up a full quota costs no more than the doublings of one table.
#[test]
fn a_table_grows_by_doubling() {
    let mut channel = channel(true);
    start(&mut channel, 1);
    let counted = measure(|| {
        for nonce in 0..16_384 {
            let verdict = channel.submit(NOW, &share(true, 1, nonce));
            assert!(matches!(verdict, Verdict::Accepted { .. }));
        }
    });
    assert_eq!(counted.count_total, 10); // 64 slots to 32,768
}
