//! Server channels: what each kind of share gets, which jobs are known, which target holds.

mod support;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use roles_logic_sv2::{
    JobId, SequenceNumber, Target, TargetBounds,
    channel::server::{
        Channel, ChannelError, MAX_ACTIVE_JOBS, MAX_FUTURE_JOBS, MAX_RETIRED_JOBS, Open, RETIRED_JOB_AGE,
        TargetRequestError,
    },
    extranonce::{Extranonce, LayoutError},
    job::{Job, JobTemplate},
    share::{RejectReason, Rules, Share, Verdict},
};
use support::{HARD, MIN_NTIME, REGTEST, extended, factory, job, mine, open, standard, template, tip};

const START: Duration = Duration::from_secs(1_000_000);
const TARGET: Target = Target::from_zero_bits(4);

fn seconds(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

/// Gives out `id` as a future job and activates it.
fn activate(channel: &mut Channel, id: u32, prev_hash: u8, nbits: u32) -> Arc<Job> {
    let job = job(id, 840_000);
    channel.on_new_job(START, job.clone(), None).unwrap();
    channel.on_set_new_prev_hash(START, JobId(id), tip(prev_hash, nbits, START)).unwrap();
    job
}

fn share(job: &Job) -> Share {
    let (job_id, sequence_number) = (job.id(), SequenceNumber(0));
    Share { job_id, sequence_number, nonce: 0, ntime: MIN_NTIME, version: job.version(), extranonce: None }
}

fn header(channel: &Channel, job: &Job, share: &Share, prev_hash: u8, nbits: u32) -> roles_logic_sv2::Header {
    let rolled = share.extranonce.unwrap_or(Extranonce::EMPTY);
    let full = channel.prefix().join(rolled.as_bytes()).unwrap();
    roles_logic_sv2::Header {
        version: share.version,
        prev_hash: tip(prev_hash, nbits, START).prev_hash,
        merkle_root: job.merkle_root(full.as_bytes()),
        ntime: share.ntime,
        nbits,
        nonce: share.nonce,
    }
}

/// Finds a nonce for the share at hand so that its hash lies in `range` (harder bound, easier bound].
fn solve(channel: &Channel, job: &Job, share: Share, nbits: u32, above: Option<Target>, within: Target) -> Share {
    let nonce = mine(
        |nonce| header(channel, job, &Share { nonce, ..share }, 1, nbits),
        share.nonce,
        |hash| within.is_met_by(hash) && above.is_none_or(|above| !above.is_met_by(hash)),
    );
    Share { nonce, ..share }
}

fn reason(channel: &mut Channel, now: Duration, share: &Share) -> Option<RejectReason> {
    channel.submit(now, share).reject_reason()
}

#[test]
fn a_good_share_is_accepted_once() {
    let mut channel = standard(TARGET);
    let job = activate(&mut channel, 7, 1, HARD);
    let good = solve(&channel, &job, share(&job), HARD, None, TARGET);
    match channel.submit(START, &good) {
        Verdict::Accepted { work: 16, difficulty, hash, block: None } => {
            assert_eq!(difficulty, TARGET.difficulty());
            assert_eq!(hash, header(&channel, &job, &good, 1, HARD).hash());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reason(&mut channel, START, &good), Some(RejectReason::Duplicate));
    let next = solve(&channel, &job, Share { nonce: good.nonce + 1, ..good }, HARD, None, TARGET);
    assert_eq!(reason(&mut channel, START, &next), None);
    assert_eq!(channel.shares_on_tip(), 2);
}

#[test]
fn an_extended_channel_rolls_its_extranonce() {
    let mut channel = extended(TARGET);
    let job = activate(&mut channel, 7, 1, HARD);
    for counter in 0..3 {
        let extranonce = Some(Extranonce::from_counter(counter, 8).unwrap());
        let good = solve(&channel, &job, Share { extranonce, ..share(&job) }, HARD, None, TARGET);
        assert_eq!(reason(&mut channel, START, &good), None);
        // The same nonce with another extranonce is another hash.
        let wrong = Share { extranonce: Some(Extranonce::from_counter(counter + 100, 8).unwrap()), ..good };
        let meets = TARGET.is_met_by(&header(&channel, &job, &wrong, 1, HARD).hash());
        assert_eq!(reason(&mut channel, START, &wrong).is_none(), meets);
    }
    for size in [0, 7, 9, 20, 32] {
        let odd = Share { extranonce: Some(Extranonce::zeroed(size).unwrap()), ..share(&job) };
        assert_eq!(reason(&mut channel, START, &odd), Some(RejectReason::BadExtranonceSize));
    }
    assert_eq!(reason(&mut channel, START, &share(&job)), Some(RejectReason::BadExtranonceSize));
    // And a standard channel takes none.
    let mut channel = standard(TARGET);
    let job = activate(&mut channel, 7, 1, HARD);
    let odd = Share { extranonce: Some(Extranonce::zeroed(8).unwrap()), ..share(&job) };
    assert_eq!(reason(&mut channel, START, &odd), Some(RejectReason::BadExtranonceSize));
}

#[test]
fn version_bits() {
    let mut channel = standard(Target::MAX);
    let job = activate(&mut channel, 7, 1, HARD);
    let rolled = |bits: u32| Share { version: job.version() ^ bits, ..share(&job) };
    assert_eq!(reason(&mut channel, START, &rolled(0x1fff_ffe0)), None);
    for bit in [0, 4, 29, 31] {
        assert_eq!(reason(&mut channel, START, &rolled(1 << bit)), Some(RejectReason::InvalidVersionBit));
    }
    let rules = Rules { version_mask: 0x1fff_e000, ..Rules::default() };
    let mut channel = Channel::standard(Open { rules, ..open(Target::MAX) });
    activate(&mut channel, 7, 1, HARD);
    assert_eq!(reason(&mut channel, START, &rolled(1 << 12)), Some(RejectReason::InvalidVersionBit));
    assert_eq!(reason(&mut channel, START, &rolled(1 << 13)), None);

    let fixed = factory(b"", 20).with_fixed_version().build(JobId(9), &template(840_000, &[], true)).unwrap();
    channel.on_new_job(START, Arc::new(fixed), Some(MIN_NTIME)).unwrap();
    let rolled = Share { job_id: JobId(9), ..rolled(1 << 13) };
    assert_eq!(reason(&mut channel, START, &rolled), Some(RejectReason::VersionRollingNotAllowed));
    assert_eq!(reason(&mut channel, START, &Share { version: job.version(), ..rolled }), None);
}

#[test]
fn ntime_runs_with_the_clock() {
    let rules = Rules { ntime_tolerance: 10, ..Rules::default() };
    let mut channel = Channel::standard(Open { rules, ..open(Target::MAX) });
    let job = activate(&mut channel, 7, 1, HARD);
    let at = |ntime: u32| Share { ntime, ..share(&job) };
    let out = Some(RejectReason::NtimeOutOfRange);
    assert_eq!(reason(&mut channel, START, &at(MIN_NTIME - 1)), out);
    assert_eq!(reason(&mut channel, START, &at(MIN_NTIME + 10)), None);
    assert_eq!(reason(&mut channel, START, &at(MIN_NTIME + 11)), out);
    assert_eq!(reason(&mut channel, seconds(1), &at(MIN_NTIME + 11)), None);
    assert_eq!(reason(&mut channel, seconds(100), &at(MIN_NTIME + 110)), None);
    assert_eq!(reason(&mut channel, seconds(100), &at(MIN_NTIME + 111)), out);
    assert_eq!(reason(&mut channel, seconds(100), &at(u32::MAX)), out);
    // A clock that steps back must not panic.
    assert_eq!(reason(&mut channel, Duration::ZERO, &at(MIN_NTIME + 9)), None);
    // A later job of the same tip has its own least nTime, and can always be worked on at it.
    let later = support::job(8, 840_000);
    channel.on_new_job(START, later.clone(), Some(MIN_NTIME + 50)).unwrap();
    assert_eq!(reason(&mut channel, START, &Share { ntime: MIN_NTIME + 49, ..share(&later) }), out);
    assert_eq!(reason(&mut channel, START, &Share { ntime: MIN_NTIME + 50, ..share(&later) }), None);
}

#[test]
fn a_hash_above_the_target_is_refused_and_not_remembered() {
    let mut channel = standard(TARGET);
    let job = activate(&mut channel, 7, 1, HARD);
    let poor = solve(&channel, &job, share(&job), HARD, Some(TARGET), Target::MAX);
    for _ in 0..2 {
        assert_eq!(reason(&mut channel, START, &poor), Some(RejectReason::DifficultyTooLow));
    }
    assert_eq!(channel.shares_on_tip(), 0);
}

#[test]
fn the_quota_stops_a_flood_and_forgets_nothing() {
    let rules = Rules { share_quota: 5, ..Rules::default() };
    let mut channel = Channel::standard(Open { rules, ..open(Target::MAX) });
    let job = activate(&mut channel, 7, 1, HARD);
    let at = |nonce| Share { nonce, ..share(&job) };
    for nonce in 0..5 {
        assert_eq!(reason(&mut channel, START, &at(nonce)), None);
    }
    assert_eq!(reason(&mut channel, START, &at(5)), Some(RejectReason::TooManyShares));
    assert_eq!(reason(&mut channel, START, &at(0)), Some(RejectReason::Duplicate));
    let next = activate(&mut channel, 8, 2, HARD);
    assert_eq!(reason(&mut channel, START, &share(&next)), None);
}

#[test]
fn duplicates_are_seen_across_jobs_with_the_same_content() {
    let mut channel = standard(Target::MAX);
    let build = |id| Arc::new(factory(b"", 20).build(JobId(id), &template(840_000, &[], true)).unwrap());
    let (a, b) = (build(1), build(2));
    channel.on_new_job(START, a.clone(), None).unwrap();
    channel.on_set_new_prev_hash(START, a.id(), tip(1, HARD, START)).unwrap();
    channel.on_new_job(START, b.clone(), Some(MIN_NTIME)).unwrap();
    assert_eq!(reason(&mut channel, START, &share(&a)), None);
    assert_eq!(reason(&mut channel, START, &share(&b)), Some(RejectReason::Duplicate));
}

#[test]
fn a_reorganisation_to_and_fro_credits_nothing_twice() {
    let mut channel = standard(Target::MAX);
    let build = |id| Arc::new(factory(b"", 20).build(JobId(id), &template(840_000, &[], true)).unwrap());
    for (id, prev_hash) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
        let job = build(id);
        channel.on_new_job(START, job.clone(), None).unwrap();
        channel.on_set_new_prev_hash(START, job.id(), tip(prev_hash, HARD, START)).unwrap();
        let expected = (id > 2).then_some(RejectReason::Duplicate);
        assert_eq!(reason(&mut channel, START, &share(&job)), expected, "job {id}");
    }
}

#[test]
fn a_block_is_handed_on_whatever_else_is_wrong() {
    // On regtest every other hash is a block; the target is much harder.
    let block_but_no_share = |channel: &Channel, job: &Job, share: Share| {
        solve(channel, job, share, REGTEST, Some(TARGET), Target::from_compact(REGTEST).unwrap())
    };
    let mut channel = standard(TARGET);
    let job = activate(&mut channel, 7, 1, REGTEST);
    let odd = [
        (share(&job), RejectReason::DifficultyTooLow),
        (Share { ntime: MIN_NTIME - 1, ..share(&job) }, RejectReason::NtimeOutOfRange),
        (Share { version: !job.version(), ..share(&job) }, RejectReason::InvalidVersionBit),
    ];
    for (share, expected) in odd {
        let share = block_but_no_share(&channel, &job, share);
        let verdict = channel.submit(START, &share);
        assert_eq!(verdict.reject_reason(), Some(expected));
        let block = verdict.block().expect("the block is there");
        assert_eq!(block.header, header(&channel, &job, &share, 1, REGTEST));
        assert_eq!(block.hash, block.header.hash());
        assert_eq!(&block.extranonce, channel.prefix());
        assert_eq!(block.job.id(), job.id());
        assert_eq!(block.coinbase_tx(), job.coinbase_tx(channel.prefix().as_bytes()));
        let solution = block.submit_solution();
        assert_eq!((solution.template_id, solution.version), (840_000, share.version));
        assert_eq!((solution.header_timestamp, solution.header_nonce), (share.ntime, share.nonce));
        assert_eq!(solution.coinbase_tx.as_bytes(), block.coinbase_tx());
    }
    let good = solve(&channel, &job, share(&job), REGTEST, None, TARGET);
    assert!(matches!(channel.submit(START, &good), Verdict::Accepted { block: Some(_), .. }));
    let again = channel.submit(START, &good);
    assert_eq!(again.reject_reason(), Some(RejectReason::Duplicate));
    assert!(again.block().is_some());
    // Stale, with the old tip's hash in its header.
    activate(&mut channel, 8, 2, REGTEST);
    let stale = channel.submit(START, &good);
    assert_eq!(stale.reject_reason(), Some(RejectReason::Stale));
    assert_eq!(stale.block().unwrap().header, header(&channel, &job, &good, 1, REGTEST));
}

#[test]
fn retired_jobs_are_stale_for_three_tips_or_ten_minutes_then_unknown() {
    let mut channel = standard(Target::MAX);
    let first = activate(&mut channel, 1, 1, HARD);
    for id in 2..=4 {
        activate(&mut channel, id, id as u8, HARD);
        assert_eq!(reason(&mut channel, START, &share(&first)), Some(RejectReason::Stale), "tip {id}");
    }
    activate(&mut channel, 5, 5, HARD);
    assert_eq!(reason(&mut channel, START, &share(&first)), Some(RejectReason::InvalidJobId));

    let mut channel = standard(Target::MAX);
    let first = activate(&mut channel, 1, 1, HARD);
    activate(&mut channel, 2, 2, HARD);
    assert_eq!(reason(&mut channel, START + RETIRED_JOB_AGE, &share(&first)), Some(RejectReason::Stale));
    let late = START + RETIRED_JOB_AGE + Duration::from_secs(1);
    assert_eq!(reason(&mut channel, late, &share(&first)), Some(RejectReason::InvalidJobId));
}

#[test]
fn a_share_that_counts_for_nobody_is_looked_at_for_a_block() {
    let mut channel = standard(Target::MAX);
    let job = activate(&mut channel, 1, 1, REGTEST);
    let network = Target::from_compact(REGTEST).unwrap();
    let block = solve(&channel, &job, share(&job), REGTEST, None, network);
    let none = solve(&channel, &job, share(&job), REGTEST, Some(network), Target::MAX);
    let expected = header(&channel, &job, &block, 1, REGTEST);
    assert_eq!(channel.probe(START, &block).unwrap().header, expected);
    assert!(channel.probe(START, &none).is_none());
    assert!(channel.probe(START, &Share { job_id: JobId(9), ..block }).is_none());
    // Nothing was remembered.
    assert_eq!(channel.shares_on_tip(), 0);
    assert_eq!(reason(&mut channel, START, &block), None);
    // It is a block on a retired job, too.
    activate(&mut channel, 2, 2, REGTEST);
    assert_eq!(channel.probe(START, &block).unwrap().header, expected);
}

#[test]
fn versions_of_jobs_that_shares_may_name() {
    let mut channel = standard(Target::MAX);
    let build = |id: u32| {
        let template = JobTemplate { version: 0x2000_0000 + id, ..template(840_000, &[], true) };
        Arc::new(factory(b"", 20).build(JobId(id), &template).unwrap())
    };
    for id in 1..=4 {
        channel.on_new_job(START, build(id), None).unwrap();
        // Those of the tip before retire.
        if id % 2 == 1 {
            channel.on_set_new_prev_hash(START, JobId(id), tip(id as u8, HARD, START)).unwrap();
        } else {
            channel.on_new_job(START, build(10 + id), Some(MIN_NTIME)).unwrap();
        }
    }
    for (id, known) in [(1, true), (12, true), (3, true), (14, true), (9, false)] {
        assert_eq!(channel.version_of(JobId(id)), known.then_some(0x2000_0000 + id), "job {id}");
    }
}

#[test]
fn jobs_of_the_same_tip_live_side_by_side_up_to_a_bound() {
    let mut channel = standard(Target::MAX);
    let first = activate(&mut channel, 1, 1, HARD);
    for id in 2..=MAX_ACTIVE_JOBS as u32 {
        channel.on_new_job(START, job(id, 840_000), Some(MIN_NTIME)).unwrap();
    }
    assert_eq!(reason(&mut channel, START, &share(&first)), None);
    channel.on_new_job(START, job(100, 840_000), Some(MIN_NTIME)).unwrap();
    assert_eq!(channel.active_jobs().len(), MAX_ACTIVE_JOBS);
    assert_eq!(reason(&mut channel, START, &share(&first)), Some(RejectReason::Stale));
}

#[test]
fn retired_jobs_are_known_up_to_a_bound() {
    let mut channel = standard(Target::MAX);
    let first = activate(&mut channel, 1, 1, HARD);
    let late = |channel: &mut Channel, id| reason(channel, START, &Share { job_id: JobId(id), ..share(&first) });
    let ids = 2..=(MAX_ACTIVE_JOBS + MAX_RETIRED_JOBS) as u32;
    for id in ids.clone() {
        let job = factory(b"", 20).build(JobId(id), &template(840_000, &[], true)).unwrap();
        channel.on_new_job(START, Arc::new(job), Some(MIN_NTIME)).unwrap();
    }
    assert_eq!(late(&mut channel, 1), Some(RejectReason::Stale), "the oldest of as many as are kept");
    channel
        .on_new_job(
            START,
            Arc::new(factory(b"", 20).build(JobId(999), &template(840_000, &[], true)).unwrap()),
            Some(MIN_NTIME),
        )
        .unwrap();
    assert_eq!(late(&mut channel, 1), Some(RejectReason::InvalidJobId));
    assert_eq!(late(&mut channel, 2), Some(RejectReason::Stale));
    assert_eq!(late(&mut channel, *ids.end()), None);
}

#[test]
fn calls_that_do_not_fit_the_state() {
    let mut channel = standard(Target::MAX);
    assert_eq!(channel.on_new_job(START, job(1, 840_000), Some(1)), Err(ChannelError::NoTip(JobId(1))));
    let tip_1 = tip(1, HARD, START);
    let unknown = Err(ChannelError::UnknownFutureJob(JobId(1)));
    assert_eq!(channel.on_set_new_prev_hash(START, JobId(1), tip_1.clone()), unknown);
    channel.on_new_job(START, job(1, 840_000), None).unwrap();
    assert_eq!(channel.on_new_job(START, job(1, 840_000), None), Err(ChannelError::JobIdInUse(JobId(1))));
    channel.on_set_new_prev_hash(START, JobId(1), tip_1.clone()).unwrap();
    for min_ntime in [None, Some(MIN_NTIME)] {
        let again = channel.on_new_job(START, job(1, 840_000), min_ntime);
        assert_eq!(again, Err(ChannelError::JobIdInUse(JobId(1))), "an active job's");
    }
    assert!(channel.has_active_job(JobId(1)) && !channel.has_active_job(JobId(2)));
    // An active job is no future job any more, and the tip has not changed.
    assert_eq!(channel.on_set_new_prev_hash(START, JobId(1), tip(2, HARD, START)), unknown);
    assert_eq!(channel.tip(), Some(&tip_1));
    let small = factory(b"", 12).build(JobId(3), &template(840_000, &[], true)).unwrap();
    let error = Err(ChannelError::ExtranonceSize { expected: 20, got: 12 });
    assert_eq!(channel.on_new_job(START, Arc::new(small), None), error);
    // Future jobs are bounded, and a share for one is not known yet.
    for id in 10..=10 + MAX_FUTURE_JOBS as u32 {
        channel.on_new_job(START, job(id, 840_001), None).unwrap();
    }
    assert_eq!(reason(&mut channel, START, &share(&job(11, 840_001))), Some(RejectReason::InvalidJobId));
    let dropped = Err(ChannelError::UnknownFutureJob(JobId(10)));
    assert_eq!(channel.on_set_new_prev_hash(START, JobId(10), tip(2, HARD, START)), dropped);
    assert_eq!(channel.on_set_new_prev_hash(START, JobId(11), tip(2, HARD, START)), Ok(()));
    // The other future jobs ended with it.
    let ended = Err(ChannelError::UnknownFutureJob(JobId(12)));
    assert_eq!(channel.on_set_new_prev_hash(START, JobId(12), tip(3, HARD, START)), ended);
}

#[test]
fn the_client_s_max_target_is_never_passed() {
    let max_target = Target::from_zero_bits(20);
    let mut channel = Channel::standard(Open { max_target, ..open(Target::from_zero_bits(4)) });
    assert_eq!(channel.target(), max_target);
    assert_eq!(channel.set_target(Target::MAX), max_target);
    assert_eq!(channel.set_target(Target::from_zero_bits(30)), Target::from_zero_bits(30));
    let bounds = TargetBounds { easiest: Target::from_zero_bits(8), hardest: Target::from_zero_bits(40) };
    // 2^30 hashes a minute at one share a minute, but the client wants 35 bits at least.
    let rate = (1u64 << 30) as f32 / 60.0;
    assert_eq!(channel.update(rate, Target::from_zero_bits(35), 1.0, bounds), Ok(Some(Target::from_zero_bits(35))));
    assert_eq!(channel.set_target(Target::MAX), Target::from_zero_bits(35));
    assert_eq!(channel.update(rate, Target::MAX, 1.0, bounds), Ok(Some(Target::from_zero_bits(30))));
    assert_eq!(channel.update(rate, Target::MAX, 1.0, bounds), Ok(None));
    let too_hard = channel.update(rate, Target::from_zero_bits(41), 1.0, bounds);
    assert_eq!(too_hard, Err(TargetRequestError::MaxTargetOutOfRange));
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        assert_eq!(channel.update(rate, Target::MAX, 1.0, bounds), Err(TargetRequestError::InvalidHashrate));
    }
    assert_eq!(channel.target(), Target::from_zero_bits(30));
}

#[test]
fn a_max_target_that_changes_holds_for_the_next_target() {
    let mut channel = standard(TARGET);
    // Between two powers of two: the harder one counts.
    channel.set_max_target(Target::DIFFICULTY_1);
    assert_eq!((channel.max_target(), channel.target()), (Target::from_zero_bits(33), TARGET));
    assert_eq!(channel.set_target(TARGET), Target::from_zero_bits(33));
    channel.set_max_target(Target::MAX);
    assert_eq!((channel.set_target(TARGET), channel.target()), (TARGET, TARGET));
}

#[test]
fn set_target_leaves_jobs_with_min_ntime_alone_and_holds_for_waiting_future_jobs() {
    let (easy, hard) = (Target::from_zero_bits(2), Target::from_zero_bits(6));
    let mut channel = standard(easy);
    activate(&mut channel, 1, 1, HARD);
    let frozen = job(2, 840_000);
    channel.on_new_job(START, frozen.clone(), Some(MIN_NTIME)).unwrap();
    let waiting = job(3, 840_001);
    channel.on_new_job(START, waiting.clone(), None).unwrap();
    channel.set_target(hard);
    let later = job(4, 840_000);
    channel.on_new_job(START, later.clone(), Some(MIN_NTIME)).unwrap();

    let between = |channel: &Channel, job: &Job| solve(channel, job, share(job), HARD, Some(hard), easy);
    let old = between(&channel, &frozen);
    assert!(matches!(channel.submit(START, &old), Verdict::Accepted { work: 4, .. }));
    let new = between(&channel, &later);
    assert_eq!(reason(&mut channel, START, &new), Some(RejectReason::DifficultyTooLow));
    // The waiting job was received with an empty min_ntime: the new target holds.
    channel.on_set_new_prev_hash(START, waiting.id(), tip(1, HARD, START)).unwrap();
    let activated = between(&channel, &waiting);
    assert_eq!(reason(&mut channel, START, &activated), Some(RejectReason::DifficultyTooLow));
}

/// Jobs with `min_ntime` keep the target of when they were sent, however many came after.
#[test]
fn late_shares_of_several_superseded_targets_count_by_their_own_job_s() {
    let mut channel = standard(Target::from_zero_bits(1));
    activate(&mut channel, 1, 1, HARD);
    // Harder and easier by turns.
    let targets = [(2, 3), (3, 6), (4, 2), (5, 8), (6, 4)].map(|(id, bits)| {
        channel.set_target(Target::from_zero_bits(bits));
        let job = job(id, 840_000);
        channel.on_new_job(START, job.clone(), Some(MIN_NTIME)).unwrap();
        (job, bits)
    });
    channel.set_target(Target::from_zero_bits(7));
    for (job, bits) in targets.iter().rev() {
        let (own, harder) = (Target::from_zero_bits(*bits), Target::from_zero_bits(bits + 1));
        let barely = solve(&channel, job, share(job), HARD, Some(harder), own);
        match channel.submit(seconds(60), &barely) {
            Verdict::Accepted { work, difficulty, .. } => {
                assert_eq!((work, difficulty), (1 << bits, own.difficulty()));
            }
            other => panic!("{other:?}"),
        }
        let missed = solve(&channel, job, share(job), HARD, Some(own), Target::from_zero_bits(bits - 1));
        assert_eq!(reason(&mut channel, seconds(60), &missed), Some(RejectReason::DifficultyTooLow));
    }
}

/// `docs/spec/targets.md`: a client may apply a SetTarget to an activated future job or not. Whatever it does, none of its
/// shares is refused, and it is credited with the hashes that it computed.
#[test]
fn both_readings_of_set_target_are_served_and_credited_alike() {
    const HASHES: u32 = 1 << 15;
    let (before, easier, harder) = (Target::from_zero_bits(6), Target::from_zero_bits(3), Target::from_zero_bits(8));
    for after in [easier, harder] {
        let mut credits = Vec::new();
        for client_target in [before, after] {
            let mut channel = standard(before);
            let job = activate(&mut channel, 1, 1, HARD);
            channel.set_target(after);
            let mut credited = 0;
            for nonce in 0..HASHES {
                let share = Share { nonce, ..share(&job) };
                if !client_target.is_met_by(&header(&channel, &job, &share, 1, HARD).hash()) {
                    continue;
                }
                match channel.submit(START, &share) {
                    Verdict::Accepted { work, .. } => credited += work,
                    Verdict::Rejected { reason, .. } => panic!("an honest share was refused: {reason}"),
                }
            }
            let ratio = credited as f64 / f64::from(HASHES);
            assert!((0.75..1.25).contains(&ratio), "credited {credited} for {HASHES} hashes");
            credits.push(credited);
        }
        assert_eq!(credits[0], credits[1]);
    }
}

#[test]
fn a_channel_s_slot_comes_back_when_it_is_dropped_unless_someone_holds_it() {
    let space =
        roles_logic_sv2::extranonce::Space::new(roles_logic_sv2::extranonce::Layout::SV2_DEFAULT, 0, 0).unwrap();
    let channel = Channel::standard(Open { slot: space.allocate().unwrap(), ..open(TARGET) });
    let held = channel.slot().clone();
    drop(channel);
    assert_eq!(space.live(), 1);
    drop(held);
    assert_eq!(space.live(), 0);
}

#[test]
fn errors_say_what_was_expected() {
    let errors = [
        (ChannelError::NoTip(JobId(5)), "expected a tip before job 5, which is not a future job"),
        (ChannelError::UnknownFutureJob(JobId(5)), "expected a tip for a future job given out before, got job 5"),
        (ChannelError::JobIdInUse(JobId(5)), "expected an unused job id, got 5"),
        (ChannelError::ExtranonceSize { expected: 20, got: 12 }, "expected a full extranonce of 20 bytes, got 12"),
        (
            ChannelError::Slot(LayoutError::Rollable { wanted: 9, available: 8 }),
            "expected at most 8 extranonce bytes to be asked for, got 9",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
    for (error, code) in [
        (TargetRequestError::MaxTargetOutOfRange, "max-target-out-of-range"),
        (TargetRequestError::InvalidHashrate, "invalid-nominal-hashrate"),
    ] {
        assert_eq!((error.error_code(), error.to_string().as_str()), (code, code));
    }
}

#[test]
fn what_is_shared_between_threads_can_be() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Channel>();
    sent::<roles_logic_sv2::channel::client::ClientChannel>();
    shared::<Job>();
    shared::<roles_logic_sv2::extranonce::Space>();
    shared::<roles_logic_sv2::extranonce::Slot>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is submitted, nothing panics, a block is a block, and what is accepted keeps every rule.
    #[test]
    fn any_share_gets_the_verdict_that_its_fields_deserve(
        job_id in 0u32..4, nonce: u32, ntime_offset in -5i64..20, bits: u32, roll in 0u32..3,
        extranonce in prop::option::of(prop::collection::vec(any::<u8>(), 7..=9)), elapsed in 0u64..8,
    ) {
        let rules = Rules { ntime_tolerance: 5, ..Rules::default() };
        let target = Target::from_zero_bits(1);
        let mut channel = Channel::extended(Open { rules, ..open(target) }, 8).unwrap();
        let retired = activate(&mut channel, 1, 1, REGTEST);
        let active = activate(&mut channel, 2, 1, REGTEST);
        let job = if job_id == 1 { &retired } else { &active };
        let version = job.version() ^ match roll { 0 => 0, 1 => bits & 0x1fff_ffe0, _ => bits };
        let ntime = u32::try_from(i64::from(MIN_NTIME) + ntime_offset).unwrap();
        let extranonce = extranonce.map(|bytes| Extranonce::try_from(&bytes[..]).unwrap());
        let share = Share { job_id: JobId(job_id), sequence_number: SequenceNumber(0), nonce, ntime, version, extranonce };
        let verdict = channel.submit(seconds(elapsed), &share);

        let known = job_id == 1 || job_id == 2;
        let sized = extranonce.is_some_and(|extranonce| extranonce.len() == 8);
        if !(known && sized) {
            let expected = if known { RejectReason::BadExtranonceSize } else { RejectReason::InvalidJobId };
            prop_assert_eq!(verdict.reject_reason(), Some(expected));
            prop_assert!(verdict.block().is_none());
            return Ok(());
        }
        let hash = header(&channel, job, &share, 1, REGTEST).hash();
        prop_assert_eq!(verdict.block().is_some(), Target::from_compact(REGTEST).unwrap().is_met_by(&hash));
        let late = ntime_offset > 5 + elapsed as i64;
        let expected = if (version ^ job.version()) & !0x1fff_ffe0 != 0 {
            Some(RejectReason::InvalidVersionBit)
        } else if job_id == 1 {
            Some(RejectReason::Stale)
        } else if ntime_offset < 0 || late {
            Some(RejectReason::NtimeOutOfRange)
        } else if !target.is_met_by(&hash) {
            Some(RejectReason::DifficultyTooLow)
        } else {
            None
        };
        prop_assert_eq!(verdict.reject_reason(), expected);
    }
}
