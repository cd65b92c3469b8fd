use binary_sv2::{B0_32, B0_64K, Message, Seq0_64K, Seq0_255, to_bytes};
use common_messages_sv2::{Reconnect, SetupConnectionError, SetupConnectionSuccess};
use mining_sv2::{
    CloseChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelSuccess,
    SetGroupChannel, SetTarget, SubmitSharesError,
};
use network_helpers::{FrameDecoder, Security, wire};

use super::*;

const MS: Duration = Duration::from_millis(1);
const EASIEST: U256 = U256::from_le_bytes([0xff; 32]);

/// A miner, and the pool's end of its connection.
struct Pair {
    miner: Miner,
    context: Context,
    out: FrameQueue,
    pool: FrameDecoder,
}

impl Pair {
    fn new(channel: ChannelKind) -> Self {
        let mut config = SwarmConfig::new("127.0.0.1:1".parse().unwrap(), Security::Plain);
        (config.channel, config.window) = (channel, 8);
        let (pool, mut out) = wire::plain();
        let miner = Miner::start(&config, 7, &mut out).unwrap();
        let context = Context { config, jobs: Jobs::default(), stats: Stats::default(), totals: Totals::default() };
        Self { miner, context, out, pool }
    }

    fn feed<M: Message>(&mut self, now: Duration, message: &M) -> Result<(), End> {
        let payload = to_bytes(message).unwrap();
        let header = Header::new(0, false, M::MESSAGE_TYPE, payload.len()).unwrap();
        self.miner.handle(now, header, &payload, &mut self.context, &mut self.out)
    }

    /// Numbers of the messages that the miner sent since the last call.
    fn sent(&mut self) -> Vec<u8> {
        let mut numbers = Vec::new();
        while !self.out.pending().is_empty() {
            let room = self.pool.writable();
            let count = room.len().min(self.out.pending().len());
            room[..count].copy_from_slice(&self.out.pending()[..count]);
            self.pool.advance(count);
            self.out.sent(count);
            while let Some(frame) = self.pool.next_frame().unwrap() {
                numbers.push(frame.header().message_type());
            }
        }
        numbers
    }

    /// With a channel of id 2 in group 1.
    fn open() -> Self {
        let mut pair = Self::new(ChannelKind::Extended { extranonce_size: 4 });
        pair.feed(MS, &SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
        assert_eq!(pair.sent(), [SetupConnection::MESSAGE_TYPE, OpenExtendedMiningChannel::MESSAGE_TYPE]);
        let success = OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: EASIEST,
            extranonce_size: 4,
            extranonce_prefix: B0_32::from_truncated(&[5; 8]),
            group_channel_id: 1,
        };
        pair.feed(MS, &success).unwrap();
        pair
    }

    fn live() -> Self {
        let mut pair = Self::open();
        pair.feed(MS, &job(1, 10, None)).unwrap();
        pair.feed(MS, &tip(1, 10)).unwrap();
        assert!(pair.miner.is_live());
        pair
    }

    fn submit(&mut self, now: Duration, wanted: usize) -> Submitted {
        self.miner.submit(now, wanted, &mut self.context, &mut self.out).unwrap()
    }

    fn acknowledge(&mut self, now: Duration, last_sequence_number: u32, count: u32) {
        let success = SubmitSharesSuccess {
            channel_id: 2,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: 0,
        };
        self.feed(now, &success).unwrap();
    }
}

fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob<'static> {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::try_from_iter([]).unwrap(),
        coinbase_tx_prefix: B0_64K::try_from(&[1; 50][..]).unwrap(),
        coinbase_tx_suffix: B0_64K::try_from(&[2; 50][..]).unwrap(),
    }
}

fn tip(channel_id: u32, job_id: u32) -> SetNewPrevHash {
    let prev_hash = U256::from_le_bytes([job_id as u8; 32]);
    SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime: 1_700_000_000, nbits: 0x1701_d936 }
}

#[test]
fn shares_are_answered_once_and_timed() {
    let mut pair = Pair::live();
    assert_eq!(pair.submit(10 * MS, 3), Submitted::All);
    assert_eq!(pair.submit(20 * MS, 100), Submitted::WindowFull);
    assert_eq!(pair.sent(), [SubmitSharesExtended::MESSAGE_TYPE; 8]);
    let error_code = Str0_255::from_truncated("stale-share");
    pair.feed(25 * MS, &SubmitSharesError { channel_id: 2, sequence_number: 4, error_code }).unwrap();
    pair.acknowledge(30 * MS, 5, 5);
    let Stats { submitted, accepted, acknowledged, rejected, .. } = &pair.context.stats;
    assert_eq!((*submitted, *accepted, acknowledged.len(), rejected["stale-share"]), (8, 5, 5, 1));
    let near = |time: Duration, expected: Duration| time.abs_diff(expected) < MS;
    assert!(near(acknowledged.quantile(0.4), 10 * MS) && near(acknowledged.max(), 20 * MS));
    assert_eq!((pair.miner.in_flight(), pair.context.totals.in_flight), (2, 2));
    // Twice the same changes nothing but what the pool says.
    pair.acknowledge(40 * MS, 5, 5);
    assert_eq!((pair.context.stats.acknowledged.len(), pair.context.stats.accepted), (5, 10));
    assert_eq!(pair.submit(50 * MS, 100), Submitted::WindowFull);
    assert_eq!(pair.sent().len(), 6);
}

#[test]
fn news_count_from_the_first_work_on() {
    let mut pair = Pair::live();
    assert_eq!(pair.context.stats.arrivals.broadcasts().count(), 0, "the first work is no news");
    pair.feed(2 * MS, &job(1, 11, None)).unwrap();
    pair.feed(3 * MS, &tip(1, 11)).unwrap();
    pair.feed(4 * MS, &job(2, 12, Some(1_700_000_001))).unwrap();
    let arrivals = &pair.context.stats.arrivals;
    assert_eq!(arrivals.of(Broadcast::Tip([11; 32])), [3 * MS]);
    assert_eq!(arrivals.broadcasts().count(), 2);
    assert!(matches!(arrivals.broadcasts().last(), Some(Broadcast::Job(_))));
}

#[test]
fn groups_and_targets_change() {
    let mut pair = Pair::live();
    pair.feed(MS, &job(9, 11, None)).unwrap();
    assert!(pair.feed(MS, &tip(1, 11)).is_err(), "the job was for another group");
    let mut pair = Pair::live();
    let channel_ids = Seq0_64K::try_from_iter([2]).unwrap();
    pair.feed(MS, &SetGroupChannel { group_channel_id: 9, channel_ids }).unwrap();
    pair.feed(MS, &job(9, 11, None)).unwrap();
    pair.feed(MS, &tip(9, 11)).unwrap();
    pair.feed(MS, &SetTarget { channel_id: 2, maximum_target: U256::from_le_bytes([0; 32]) }).unwrap();
    assert_eq!(pair.submit(MS, 1), Submitted::OutOfTurn, "no hash meets it");
    assert_eq!(pair.context.stats.hashes, u64::from(HASHES_PER_TURN));
}

#[test]
fn a_standard_channel_sends_standard_shares() {
    let mut pair = Pair::new(ChannelKind::Standard);
    pair.feed(MS, &SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
    assert_eq!(pair.sent(), [SetupConnection::MESSAGE_TYPE, OpenStandardMiningChannel::MESSAGE_TYPE]);
    let extranonce_prefix = B0_32::from_truncated(&[5; 20]);
    let target = EASIEST;
    pair.feed(
        MS,
        &OpenStandardMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target,
            extranonce_prefix,
            group_channel_id: 1,
        },
    )
    .unwrap();
    let merkle_root = U256::from_le_bytes([3; 32]);
    pair.feed(MS, &NewMiningJob { channel_id: 2, job_id: 10, min_ntime: None, version: 1, merkle_root }).unwrap();
    pair.feed(MS, &tip(1, 10)).unwrap();
    assert_eq!(pair.submit(MS, 2), Submitted::All);
    assert_eq!(pair.sent(), [SubmitSharesStandard::MESSAGE_TYPE; 2]);
}

#[test]
fn what_is_refused_or_out_of_place_ends_it() {
    let ends = |pair: &mut Pair, result: fn(&mut Pair) -> Result<(), End>| result(pair).unwrap_err();
    let refused = Str0_255::from_truncated("no-thanks");
    let mut setup = Pair::new(ChannelKind::Standard);
    let end = setup.feed(MS, &SetupConnectionError { flags: 0, error_code: refused.clone() }).unwrap_err();
    assert_eq!(end, "setup refused: no-thanks");
    let mut opening = Pair::new(ChannelKind::Standard);
    opening.feed(MS, &SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
    assert!(ends(&mut opening, |pair| pair.feed(MS, &tip(1, 10))).contains("out of place"));
    let end = opening.feed(MS, &OpenMiningChannelError { request_id: 1, error_code: refused.clone() }).unwrap_err();
    assert_eq!(end, "channel refused: no-thanks");
    let mut open = Pair::open();
    assert!(ends(&mut open, |pair| pair.feed(MS, &job(2, 1, Some(5)))).contains("before the first SetNewPrevHash"));
    assert!(ends(&mut open, |pair| pair.feed(MS, &tip(2, 99))).contains("unknown job"));
    let mut live = Pair::live();
    let end = live.feed(MS, &CloseChannel { channel_id: 2, reason_code: refused }).unwrap_err();
    assert_eq!(end, "channel closed: no-thanks");
    let end = live.feed(MS, &Reconnect { new_host: Str0_255::EMPTY, new_port: 0 }).unwrap_err();
    assert_eq!(end, "the pool asked to reconnect");
    let header = Header::new(0, true, SubmitSharesSuccess::MESSAGE_TYPE, 1).unwrap();
    let end = live.miner.handle(MS, header, &[1], &mut live.context, &mut live.out).unwrap_err();
    assert!(end.starts_with("undecodable"), "{end}");
}
