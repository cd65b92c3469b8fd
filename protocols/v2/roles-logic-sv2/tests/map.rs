//! Messages of one protocol to those of another, and back to the same block.

mod support;

use std::{sync::Arc, time::Duration};

use binary_sv2::{B0_255, U256};
use bitcoin::{Block, Transaction, consensus::deserialize, hashes::Hash};
use mining_sv2::SetCustomMiningJob;
use roles_logic_sv2::{
    ChannelId, JobId, OpenSuccess, RequestId, SequenceNumber, Target, Tip,
    channel::{
        client::{ClientChannel, Submission},
        server::{Channel, Open},
    },
    custom::{self, CustomRules, Declared},
    extranonce::{Extranonce, Layout, Space},
    job::Job,
    share::{Rules, Share, Verdict},
};
use template_distribution_sv2::SetNewPrevHash;

use support::*;

const NOW: Duration = Duration::from_secs(1_000);

fn token() -> B0_255<'static> {
    B0_255::try_from(vec![9; 16]).unwrap()
}

#[test]
fn a_template_s_previous_hash_is_a_tip() {
    let message = |n_bits| SetNewPrevHash {
        template_id: 1,
        prev_hash: U256::from_le_bytes([3; 32]),
        header_timestamp: MIN_NTIME,
        n_bits,
        target: U256::MAX,
    };
    assert_eq!(Tip::of_template(&message(REGTEST), NOW), Ok(*tip(3, REGTEST, NOW)));
    assert!(Tip::of_template(&message(0), NOW).is_err());
}

/// A pool builds the job that we told it of: coinbase, merkle root, everything.
#[test]
fn a_job_of_ours_is_the_same_job_at_the_pool() {
    for (segwit, tag) in [(true, &b""[..]), (false, b""), (true, b"/ours/")] {
        let template = template(840_000, &[transaction(1), transaction(2)], segwit);
        let job = factory(tag, 20).build(JobId(1), &template).unwrap();
        let tip = tip(4, REGTEST, NOW);
        let request = job.set_custom_mining_job(ChannelId(2), RequestId(3), token(), &tip).unwrap();
        assert_eq!((request.channel_id, request.request_id), (2, 3));
        let tokens = |_: &SetCustomMiningJob<'_>| Ok(Declared { height: Some(840_000), ..Declared::default() });
        let rules = CustomRules { max_coinbase_prefix: 20, ..CustomRules::default() };
        let theirs = custom::build(NOW, &request, 20, &tip, &tokens, &rules, || JobId(77)).unwrap();
        let extranonce = [5; 20];
        assert_eq!(theirs.merkle_root(&extranonce), job.merkle_root(&extranonce));
        assert_eq!(theirs.coinbase_tx(&extranonce), job.coinbase_tx(&extranonce));
        assert!(tag.is_empty() == (request.coinbase_prefix.as_bytes().len() <= 8), "what the specification grants");
    }
}

#[test]
fn a_declared_job_has_its_witness() {
    for segwit in [true, false] {
        let transactions = [transaction(1)];
        let job = factory(b"", 20).build(JobId(1), &template(840_000, &transactions, segwit)).unwrap();
        let wtxids = transactions.iter().map(|transaction| transaction.compute_wtxid().to_byte_array());
        let message = job.declare_mining_job(RequestId(3), token(), wtxids).unwrap();
        let extranonce = [6; 20];
        let whole =
            [message.coinbase_tx_prefix.as_bytes(), &extranonce, message.coinbase_tx_suffix.as_bytes()].concat();
        assert_eq!(whole, job.coinbase_tx(&extranonce));
        let coinbase: Transaction = deserialize(&whole).unwrap();
        assert_eq!(coinbase.input[0].witness.is_empty(), !segwit);
        assert_eq!(message.wtxid_list.len(), 1);
    }
    let job = factory(b"", 20).build(JobId(1), &template(840_000, &[], false)).unwrap();
    assert!(job.declare_mining_job(RequestId(3), token(), std::iter::repeat_n([0; 32], 65_536)).is_err());
}

/// A pool, a proxy that splits its channel, and clients of both kinds behind it: each share counts at the pool.
#[test]
fn shares_from_behind_a_proxy_count_upstream() {
    let mut pool = Channel::extended(open(Target::from_zero_bits(2)), 12).unwrap();
    let OpenSuccess::Extended(success) = pool.open_success(RequestId(1)) else { unreachable!() };
    let upstream_prefix = Extranonce::from(success.extranonce_prefix);
    let pools_job = job(7, 840_000);
    let tip = tip(4, REGTEST, NOW);
    pool.on_new_job(NOW, pools_job.clone(), None).unwrap();
    pool.on_set_new_prev_hash(NOW, JobId(7), tip.clone()).unwrap();

    // The proxy: the same job, channels whose prefixes begin with the pool's.
    let message = pools_job.new_extended_mining_job(ChannelId(2), None);
    let proxy_job = Arc::new(Job::of_upstream(&message, 20).unwrap());
    assert_eq!(proxy_job.id(), JobId(7));
    for (index, extended) in [false, true].into_iter().enumerate() {
        let slot = Space::new(Layout::new(0, 0, 8, 12).unwrap(), 0, 0).unwrap();
        let _others: Vec<_> = (0..index).map(|_| slot.allocate().unwrap()).collect();
        let own = slot.allocate().unwrap();
        let local = if extended { own.prefix(8).unwrap() } else { own.full_prefix() };
        let prefix = upstream_prefix.join(local.as_bytes()).unwrap();
        let (root_size, rolled) = if extended { (8, Some(Extranonce::zeroed(8).unwrap())) } else { (0, None) };
        assert_eq!(prefix.len() + root_size, 20);
        let full = match rolled {
            Some(rolled) => prefix.join(rolled.as_bytes()).unwrap(),
            None => prefix,
        };
        let merkle_root = proxy_job.merkle_root(full.as_bytes());
        let header = |nonce| roles_logic_sv2::Header {
            version: proxy_job.version(),
            prev_hash: tip.prev_hash,
            merkle_root,
            ntime: MIN_NTIME,
            nbits: REGTEST,
            nonce,
        };
        let nonce = mine(header, 0, |hash| Target::from_zero_bits(2).is_met_by(hash));
        let share = Share {
            job_id: JobId(7),
            sequence_number: SequenceNumber(0),
            nonce,
            ntime: MIN_NTIME,
            version: proxy_job.version(),
            extranonce: rolled,
        };
        let up = share.to_upstream(ChannelId(2), SequenceNumber(index as u32), &prefix, upstream_prefix.len()).unwrap();
        assert_eq!(up.extranonce.as_bytes().len(), 12);
        let verdict = pool.submit(NOW, &Share::from(&up));
        assert!(matches!(verdict, Verdict::Accepted { .. }), "{verdict:?}");
        assert!(share.to_upstream(ChannelId(2), SequenceNumber(0), &prefix, 33).is_err());
    }
    assert!(Job::of_upstream(&message, 0).is_err() && Job::of_upstream(&message, 33).is_err());
}

/// Downstream standard channels of a proxy get standard jobs that their clients can hash on.
#[test]
fn standard_jobs_are_derived_from_the_upstream_s_extended_job() {
    let upstream = job(7, 840_000);
    let job = Arc::new(Job::of_upstream(&upstream.new_extended_mining_job(ChannelId(9), None), 20).unwrap());
    let tip = tip(4, REGTEST, NOW);
    let mut server = Channel::standard(Open { rules: Rules::default(), ..open(Target::from_zero_bits(3)) });
    server.on_new_job(NOW, job, None).unwrap();
    let OpenSuccess::Standard(success) = server.open_success(RequestId(1)) else { unreachable!() };
    let mut client = ClientChannel::standard(&success);
    client.on_new_mining_job(&server.new_mining_job(JobId(7)).unwrap()).unwrap();
    server.on_set_new_prev_hash(NOW, JobId(7), tip.clone()).unwrap();
    client.on_set_new_prev_hash(NOW, &tip.set_new_prev_hash(server.id(), JobId(7))).unwrap();
    let work = client.work().unwrap();
    assert_eq!(work.merkle_root, upstream.merkle_root(server.prefix().as_bytes()));
    let nonce = mine(|nonce| work.header(work.version, MIN_NTIME, nonce), 0, |hash| work.target.is_met_by(hash));
    let Submission::Standard(share) = client.submit(&work, work.version, MIN_NTIME, nonce) else { unreachable!() };
    assert!(matches!(server.submit(NOW, &Share::from(&share)), Verdict::Accepted { .. }));
}

/// Both messages for a block are the block.
#[test]
fn a_block_is_a_solution_for_either_server() {
    let transactions = [transaction(1)];
    let job = Arc::new(factory(b"", 20).build(JobId(1), &template(840_000, &transactions, true)).unwrap());
    let tip = tip(4, REGTEST, NOW);
    let mut channel = extended(Target::MAX);
    channel.on_new_job(NOW, job.clone(), None).unwrap();
    channel.on_set_new_prev_hash(NOW, JobId(1), tip.clone()).unwrap();
    let block = (0..)
        .find_map(|nonce| {
            let share = Share {
                job_id: JobId(1),
                sequence_number: SequenceNumber(nonce),
                nonce,
                ntime: MIN_NTIME,
                version: job.version(),
                extranonce: Some(Extranonce::zeroed(8).unwrap()),
            };
            channel.submit(NOW, &share).block().cloned()
        })
        .unwrap();
    let raw: Vec<Vec<u8>> = transactions.iter().map(bitcoin::consensus::serialize).collect();
    let whole: Block = deserialize(&block.block(&raw)).unwrap();

    let solution = block.submit_solution();
    let coinbase: Transaction = deserialize(solution.coinbase_tx.as_bytes()).unwrap();
    assert_eq!((&coinbase, solution.header_nonce), (&whole.txdata[0], whole.header.nonce));
    let push = block.push_solution();
    // What a Job Declarator Server makes of it.
    let declared = job.declare_mining_job(RequestId(1), token(), []).unwrap();
    let (prefix, suffix) = (declared.coinbase_tx_prefix.as_bytes(), declared.coinbase_tx_suffix.as_bytes());
    assert_eq!([prefix, push.extranonce.as_bytes(), suffix].concat(), solution.coinbase_tx.as_bytes());
    let header = (push.version, push.prev_hash.to_le_bytes(), push.ntime, push.nbits, push.nonce);
    let expected = whole.header;
    assert_eq!(
        header,
        (
            expected.version.to_consensus() as u32,
            expected.prev_blockhash.to_byte_array(),
            expected.time,
            expected.bits.to_consensus(),
            expected.nonce
        )
    );
}
