//! Client and server against each other, over their messages: a chain of blocks is mined by hand.

mod support;

use std::{sync::Arc, time::Duration};

use bitcoin::{Block, BlockHash, consensus::deserialize, consensus::serialize, hashes::Hash};
use mining_sv2::{NewExtendedMiningJob, SetExtranoncePrefix, SetTarget};
use roles_logic_sv2::{
    ChannelId, JobIds, OpenSuccess, RequestId, SequenceNumber, Target, Tip,
    accounting::AckBatch,
    channel::{
        client::{Change, ClientChannel, ClientError, MAX_FUTURE_JOBS, Submission, Work},
        server::Channel,
    },
    extranonce::Extranonce,
    share::{Share, Verdict},
};
use support::{HARD, MIN_NTIME, REGTEST, extended, factory, job, mine, standard, template, transaction};

const NOW: Duration = Duration::from_secs(5);

fn client_of(channel: &Channel) -> ClientChannel {
    match channel.open_success(RequestId(1)) {
        OpenSuccess::Standard(success) => ClientChannel::standard(&success),
        OpenSuccess::Extended(success) => ClientChannel::extended(&success).unwrap(),
    }
}

fn share_of(submission: Submission) -> Share {
    match submission {
        Submission::Standard(message) => Share::from(&message),
        Submission::Extended(message) => Share::from(&message),
    }
}

/// Sends a job the way the channel takes it.
fn send(
    server: &Channel,
    client: &mut ClientChannel,
    job: &roles_logic_sv2::job::Job,
    min_ntime: Option<u32>,
) -> Change {
    let message = server.new_mining_job(job.id());
    match message {
        Some(message) => {
            assert_eq!(message.min_ntime, min_ntime);
            client.on_new_mining_job(&message).unwrap()
        }
        None => client.on_new_extended_mining_job(&job.new_extended_mining_job(server.id(), min_ntime)).unwrap(),
    }
}

fn solve(client: &mut ClientChannel, work: &Work) -> Share {
    let nonce = mine(|n| work.header(work.version, work.min_ntime, n), 0, |hash| work.target.is_met_by(hash));
    share_of(client.submit(work, work.version, work.min_ntime, nonce))
}

#[test]
fn a_chain_of_blocks_by_hand() {
    for server in [standard(Target::from_zero_bits(6)), extended(Target::from_zero_bits(6))] {
        chain(server);
    }
}

fn chain(mut server: Channel) {
    let mut client = client_of(&server);
    let (ids, factory) = (JobIds::new(), factory(b"/chain/", 20));
    let mut acks = AckBatch::new();
    let mut prev_hash = BlockHash::from_byte_array([1; 32]);
    for height in 100..104u32 {
        let transactions: Vec<_> = (0..height - 100).map(transaction).collect();
        let job = Arc::new(factory.build(ids.next(), &template(height, &transactions, true)).unwrap());
        server.on_new_job(NOW, job.clone(), None).unwrap();
        assert_eq!(send(&server, &mut client, &job, None), Change::None);
        let tip = Arc::new(Tip::new(prev_hash, MIN_NTIME + height, REGTEST, NOW).unwrap());
        server.on_set_new_prev_hash(NOW, job.id(), tip.clone()).unwrap();
        let message = tip.set_new_prev_hash(server.id(), job.id());
        assert_eq!(client.on_set_new_prev_hash(NOW, &message), Ok(Change::NewTip));

        let work = client.work().unwrap();
        let share = solve(&mut client, &work);
        assert_eq!(share.sequence_number, SequenceNumber(height - 100));
        let Verdict::Accepted { work: credited, block: Some(block), .. } = server.submit(NOW, &share) else {
            panic!("a block was expected");
        };
        acks.record(share.sequence_number, credited).unwrap();
        let raw: Vec<_> = transactions.iter().map(serialize).collect();
        let parsed: Block = deserialize(&block.block(&raw)).unwrap();
        assert!(parsed.check_merkle_root() && parsed.check_witness_commitment());
        assert_eq!(parsed.header.prev_blockhash, prev_hash);
        assert_eq!(parsed.bip34_block_height(), Ok(height.into()));
        parsed.header.validate_pow(parsed.header.target()).unwrap();
        prev_hash = parsed.block_hash();
        assert_eq!(prev_hash, block.hash);
    }
    let ack = acks.flush().unwrap().message(server.id());
    assert_eq!((ack.last_sequence_number, ack.new_submits_accepted_count, ack.new_shares_sum), (3, 4, 0));
}

#[test]
fn an_extended_client_never_repeats_its_extranonce_until_it_is_used_up() {
    let mut open = support::open(Target::MAX);
    open.channel_id = ChannelId(9);
    let mut server = Channel::extended(open, 1).unwrap();
    let mut client = client_of(&server);
    assert!(client.work().is_none());
    let first = job(1, 840_000);
    server.on_new_job(NOW, first.clone(), None).unwrap();
    send(&server, &mut client, &first, None);
    let tip = support::tip(1, HARD, NOW);
    server.on_set_new_prev_hash(NOW, first.id(), tip.clone()).unwrap();
    client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(server.id(), first.id())).unwrap();
    for byte in 0..=255u8 {
        let work = client.work().unwrap();
        assert_eq!(work.extranonce.unwrap().as_bytes(), [byte]);
        let share = share_of(client.submit(&work, work.version, work.min_ntime, 0));
        assert_eq!(server.submit(NOW, &share).reject_reason(), None);
    }
    assert!(client.work().is_none());
    // The next job starts over.
    let second = job(2, 840_000);
    server.on_new_job(NOW, second.clone(), Some(MIN_NTIME)).unwrap();
    assert_eq!(send(&server, &mut client, &second, Some(MIN_NTIME)), Change::NewWork);
    assert_eq!(client.work().unwrap().extranonce.unwrap().as_bytes(), [0]);
}

#[test]
fn a_standard_client_in_a_group_derives_its_own_merkle_root() {
    let mut server = standard(Target::MAX);
    let mut client = client_of(&server);
    assert!(client.is_addressed(1) && client.is_addressed(2) && !client.is_addressed(3));
    let job = job(1, 840_000);
    server.on_new_job(NOW, job.clone(), None).unwrap();
    client.on_new_extended_mining_job(&job.new_extended_mining_job(ChannelId(1), None)).unwrap();
    let tip = support::tip(1, HARD, NOW);
    client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(ChannelId(1), job.id())).unwrap();
    let work = client.work().unwrap();
    assert_eq!(work.merkle_root, server.merkle_root(job.id()).unwrap());
    assert_eq!(work.extranonce, None);
    assert_eq!(client.work(), Some(work));
    client.set_group_id(ChannelId(3));
    assert!(client.is_addressed(3) && !client.is_addressed(1));
}

#[test]
fn the_client_keeps_the_target_that_every_server_accepts() {
    let targets = [6, 8, 4].map(Target::from_zero_bits);
    let mut server = standard(targets[0]);
    let mut client = client_of(&server);
    let first = job(1, 840_000);
    server.on_new_job(NOW, first.clone(), None).unwrap();
    send(&server, &mut client, &first, None);
    let tip = support::tip(1, HARD, NOW);
    server.on_set_new_prev_hash(NOW, first.id(), tip.clone()).unwrap();
    client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(server.id(), first.id())).unwrap();

    let set = |client: &mut ClientChannel, target: Target| {
        client.on_set_target(&SetTarget { channel_id: 2, maximum_target: target.into() })
    };
    // An activated future job: the harder one of the two.
    assert_eq!(set(&mut client, targets[1]), Change::NewWork);
    assert_eq!(client.work().unwrap().target, targets[1]);
    assert_eq!(set(&mut client, targets[2]), Change::None);
    assert_eq!(client.work().unwrap().target, targets[1]);
    server.set_target(targets[1]);
    server.set_target(targets[2]);
    let work = client.work().unwrap();
    let share = solve(&mut client, &work);
    assert!(matches!(server.submit(NOW, &share), Verdict::Accepted { work: 256, .. }));
    // A job with min_ntime: the one at the time.
    let second = job(2, 840_000);
    server.on_new_job(NOW, second.clone(), Some(MIN_NTIME)).unwrap();
    send(&server, &mut client, &second, Some(MIN_NTIME));
    assert_eq!(set(&mut client, targets[1]), Change::None);
    assert_eq!(client.work().unwrap().target, targets[2]);
    assert_eq!(server.set_target_message().maximum_target, targets[2].into());
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_apart() {
    let mut server = extended(Target::MAX);
    let mut client = client_of(&server);
    let first = job(1, 840_000);
    let message = |min_ntime| first.new_extended_mining_job(ChannelId(2), min_ntime);
    assert_eq!(client.on_new_extended_mining_job(&message(Some(1))), Err(ClientError::JobWithoutTip(first.id())));
    let tip = support::tip(1, HARD, NOW);
    let start = tip.set_new_prev_hash(ChannelId(2), first.id());
    assert_eq!(client.on_set_new_prev_hash(NOW, &start), Err(ClientError::UnknownJob(first.id())));
    client.on_new_extended_mining_job(&message(None)).unwrap();
    let mut odd = start;
    odd.nbits = 0;
    assert!(matches!(client.on_set_new_prev_hash(NOW, &odd), Err(ClientError::Nbits(_))));
    client.on_set_new_prev_hash(NOW, &start).unwrap();

    let mut other = standard(Target::MAX);
    other.on_new_job(NOW, first.clone(), None).unwrap();
    let standard_job = other.new_mining_job(first.id()).unwrap();
    let error = Err(ClientError::StandardJobOnExtendedChannel(first.id()));
    assert_eq!(client.on_new_mining_job(&standard_job), error);

    for id in 10..=10 + MAX_FUTURE_JOBS as u32 {
        client.on_new_extended_mining_job(&job(id, 840_001).new_extended_mining_job(ChannelId(2), None)).unwrap();
    }
    let dropped = tip.set_new_prev_hash(ChannelId(2), 10.into());
    assert_eq!(client.on_set_new_prev_hash(NOW, &dropped), Err(ClientError::UnknownJob(10.into())));

    let OpenSuccess::Extended(mut success) = server.open_success(RequestId(1)) else { panic!("extended") };
    success.extranonce_size = 21;
    assert!(matches!(ClientChannel::extended(&success), Err(ClientError::ExtranonceTooLong(_))));
    assert!(server.new_mining_job(first.id()).is_none());
    assert!(server.on_new_job(NOW, first, None).is_ok());
}

#[test]
fn a_new_prefix_holds_for_jobs_to_come() {
    let server = extended(Target::MAX);
    let mut client = client_of(&server);
    let (first, second) = (job(1, 840_000), job(2, 840_000));
    client.on_new_extended_mining_job(&first.new_extended_mining_job(ChannelId(2), None)).unwrap();
    let prefix = |bytes: &[u8]| SetExtranoncePrefix { channel_id: 2, extranonce_prefix: bytes.try_into().unwrap() };
    assert_eq!(
        client.on_set_extranonce_prefix(&prefix(&[9; 11])),
        Err(ClientError::PrefixSize { expected: 12, got: 11 })
    );
    client.on_set_extranonce_prefix(&prefix(&[9; 12])).unwrap();
    let tip = support::tip(1, HARD, NOW);
    client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(ChannelId(2), first.id())).unwrap();
    let full = |prefix: &[u8]| Extranonce::try_from(prefix).unwrap().join(&[0; 8]).unwrap();
    let root = first.merkle_root(full(server.prefix().as_bytes()).as_bytes());
    assert_eq!(client.work().unwrap().merkle_root, root);
    let message: NewExtendedMiningJob<'_> = second.new_extended_mining_job(ChannelId(2), Some(MIN_NTIME));
    client.on_new_extended_mining_job(&message).unwrap();
    assert_eq!(client.work().unwrap().merkle_root, second.merkle_root(full(&[9; 12]).as_bytes()));
}

#[test]
fn ntime_and_staleness_of_work() {
    let server = extended(Target::MAX);
    let mut client = client_of(&server);
    for (id, byte) in [(1, 1), (2, 2)] {
        let job = job(id, 840_000);
        client.on_new_extended_mining_job(&job.new_extended_mining_job(ChannelId(2), None)).unwrap();
        let before = client.work();
        let tip = support::tip(byte, HARD, NOW);
        client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(ChannelId(2), job.id())).unwrap();
        let work = client.work().unwrap();
        assert!(client.is_current(&work));
        assert!(before.is_none_or(|old| !client.is_current(&old)));
        assert_eq!(work.max_ntime(NOW), MIN_NTIME);
        assert_eq!(work.max_ntime(NOW + Duration::from_millis(2_900)), MIN_NTIME + 2);
        assert_eq!(work.network_target(), Target::from_compact(HARD).unwrap());
        assert_eq!(work.version_mask, 0x1fff_ffe0);
    }
}
