//! In the steady state a share costs no allocation on its way to the verdict, on either kind of channel.

use std::{sync::Arc, time::Duration};

use allocation_counter::measure;
use binary_sv2::B0_32;
use bitcoin::{BlockHash, ScriptBuf, WPubkeyHash, hashes::Hash};
use framing_sv2::{Frame, Sv2Frame};
use mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetCustomMiningJob, SubmitSharesExtended,
    SubmitSharesStandard, UpdateChannel,
};
use roles_logic_sv2::{
    ChannelId, JobId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    dispatch::MiningServerHandler,
    extranonce::{Extranonce, Layout, Space},
    job::{JobFactory, JobTemplate, Payout},
    protocol::Mining,
    routing::ChannelMap,
    session::{
        Violation,
        client::{Device, setup_connection},
        server::{AwaitSetup, Incoming, Offer},
    },
    setup::Support,
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

/// Takes shares to the channel and nothing else.
struct Pool {
    channel: Channel,
    accepted: u32,
}

macro_rules! ignore {
    ($($method:ident($message:ty);)+) => {
        $(fn $method(&mut self, _: &mut Duration, _: $message) -> Result<(), Violation> { Ok(()) })+
    };
}

impl MiningServerHandler<Duration> for Pool {
    type Error = Violation;

    fn submit_shares_extended(
        &mut self,
        now: &mut Duration,
        message: SubmitSharesExtended,
        fields: &[u8],
    ) -> Result<(), Violation> {
        assert!(fields.is_empty());
        let verdict = self.channel.submit(*now, &Share::from(&message));
        self.accepted += u32::from(matches!(verdict, Verdict::Accepted { .. }));
        Ok(())
    }

    ignore! {
        open_standard_mining_channel(OpenStandardMiningChannel<'_>);
        open_extended_mining_channel(OpenExtendedMiningChannel<'_>);
        update_channel(UpdateChannel);
        close_channel(CloseChannel<'_>);
        submit_shares_standard(SubmitSharesStandard);
        set_custom_mining_job(SetCustomMiningJob<'_>);
    }
}

/// From the frame to the verdict: the session sorts it, the dispatcher decodes it, and a proxy finds its way and its form upstream.
#[test]
fn sessions_dispatch_and_routing_cost_no_allocation() {
    let mut pool = Pool { channel: channel(true), accepted: 0 };
    for tip in 1..=WARM_UP {
        start(&mut pool.channel, tip);
        for nonce in 0..SHARES {
            let _ = pool.channel.submit(NOW, &share(true, tip, nonce));
        }
    }
    start(&mut pool.channel, WARM_UP + 1);
    let device = Device { vendor: "v", hardware_version: "", firmware: "", device_id: "" };
    let setup = Sv2Frame::from_message(&setup_connection::<Mining>(0, "host", 1, &device)).unwrap();
    let requested = AwaitSetup::new(NOW, NOW).handle_frame(setup.header(), setup.payload()).unwrap();
    let (mut connection, _) = requested.accept::<Mining>(NOW, &Support::MINING, Offer::NONE).unwrap();
    let mut proxy = ChannelMap::new(10);
    proxy.open(ChannelId(2), ChannelId(1)).unwrap();
    proxy.attach(ChannelId(2), 'a', ChannelId(9)).unwrap();
    let prefix = Extranonce::zeroed(12).unwrap();
    let frames: Vec<Sv2Frame<'static>> = (0..SHARES)
        .map(|nonce| {
            let Share { job_id, sequence_number, ntime, version, extranonce, .. } = share(true, WARM_UP + 1, nonce);
            let (channel_id, sequence_number) = (2, sequence_number.0);
            let extranonce = extranonce.unwrap().into();
            let message = SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id: job_id.0,
                nonce,
                ntime,
                version,
                extranonce,
            };
            Sv2Frame::from_message(&message).unwrap()
        })
        .collect();
    let counted = measure(|| {
        for frame in &frames {
            let Ok(Incoming::Message(message)) = connection.receive(frame.header(), frame.payload()) else {
                panic!("a share")
            };
            message.dispatch(&mut pool, &mut { NOW }).unwrap();
            let upstream = proxy.upstream_of('a', ChannelId(9)).unwrap();
            let share = share(true, WARM_UP + 1, 7);
            assert!(share.to_upstream(upstream, share.sequence_number, &prefix, 10).is_ok());
            assert_eq!(proxy.forward_down(frame.header(), frame.payload()).unwrap().count(), 1);
        }
    });
    assert_eq!((counted.count_total, pool.accepted), (0, SHARES));
}
