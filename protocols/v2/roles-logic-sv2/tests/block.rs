//! Jobs against rust-bitcoin: what comes out of a job is a valid block's coinbase and merkle root.

mod support;

use bitcoin::{
    Amount, Block, BlockHash, ScriptBuf, TxOut,
    consensus::{deserialize, serialize},
    hashes::Hash,
    opcodes::all::OP_CHECKSIG,
    script::Builder,
};
use proptest::prelude::*;
use roles_logic_sv2::{
    Header, JobId, Target,
    job::{Constraints, JobError, JobFactory, Payout, PreparedTemplate, VARIANT_LEN},
};
use support::{VALUE, factory, p2wpkh, template, transaction};

fn header(merkle_root: [u8; 32]) -> Header {
    Header {
        version: 0x2000_0000,
        prev_hash: BlockHash::from_byte_array([5; 32]),
        merkle_root,
        ntime: 1_700_000_000,
        nbits: support::REGTEST,
        nonce: 42,
    }
}

/// Builds a job and its block, and checks everything that can be wrong with its coinbase.
fn check(height: u32, transactions: u32, segwit: bool, tag: &[u8], extranonce: &[u8]) {
    let transactions: Vec<_> = (0..transactions).map(transaction).collect();
    let template = template(height, &transactions, segwit);
    let job = factory(tag, extranonce.len()).build(JobId(1), &template).unwrap();
    let raw: Vec<_> = transactions.iter().map(serialize).collect();
    let header = header(job.merkle_root(extranonce));
    let bytes = job.block(&header.to_bytes(), extranonce, &raw);

    let block: Block = deserialize(&bytes).unwrap();
    assert!(block.check_merkle_root());
    assert_eq!(block.header.merkle_root.to_byte_array(), header.merkle_root);
    assert_eq!(block.block_hash(), header.hash());
    assert_eq!(block.bip34_block_height(), Ok(height.into()));
    assert_eq!(block.txdata.len(), transactions.len() + 1);
    assert_eq!(block.txdata[1..], transactions);
    if segwit {
        assert!(block.check_witness_commitment());
    }

    let coinbase = block.coinbase().unwrap();
    assert!(coinbase.is_coinbase());
    assert_eq!(coinbase.input[0].witness.len(), usize::from(segwit));
    assert_eq!(serialize(coinbase), job.coinbase_tx(extranonce));
    let stripped = [job.coinbase_tx_prefix(), extranonce, job.coinbase_tx_suffix()].concat();
    let stripped: bitcoin::Transaction = deserialize(&stripped).unwrap();
    assert_eq!(stripped.compute_txid(), coinbase.compute_txid());
    assert_eq!(coinbase.output[0], TxOut { value: Amount::from_sat(VALUE), script_pubkey: p2wpkh(1) });

    let script = &coinbase.input[0].script_sig;
    assert!(script.len() <= 100);
    assert_eq!(script.count_sigops_legacy(), 0);
    let instructions: Vec<_> = script.instructions().map(Result::unwrap).collect();
    let pushes: Vec<_> = instructions.iter().map(|push| push.push_bytes().unwrap().as_bytes()).collect();
    assert_eq!(pushes.last(), Some(&extranonce));
    assert_eq!(pushes.len(), if tag.is_empty() { 2 } else { 3 });
    if !tag.is_empty() {
        assert_eq!(pushes[1], tag);
    }
}

#[test]
fn a_block_with_transactions_and_commitment() {
    check(840_000, 3, true, b"/pool/", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
}

#[test]
fn an_empty_block_with_and_without_commitment() {
    check(500, 0, true, b"", &[0; 12]);
    check(500, 0, false, b"", &[0; 12]);
}

#[test]
fn bytes_that_are_checksig_opcodes_cost_no_sigops() {
    let opcodes = [0xac, 0xad, 0xae, 0xaf].repeat(18);
    for size in [1, 4, 12, 20, 32] {
        let tag = &opcodes[..JobFactory::max_tag(size).min(70)];
        check(100_000, 1, true, tag, &opcodes[..size]);
    }
}

#[test]
fn the_longest_tag_fits_and_one_byte_more_does_not() {
    let payout = Payout::single(p2wpkh(1));
    for (size, limit) in [(1, 75), (15, 75), (20, 70), (32, 58)] {
        assert_eq!(JobFactory::max_tag(size), limit);
        check(2_000_000_000, 0, true, &vec![b'x'; limit], &vec![0xff; size]);
        let long = JobFactory::new(payout.clone(), vec![b'x'; limit + 1], size, payout.constraints());
        assert_eq!(long.err(), Some(JobError::TagTooLong { limit, len: limit + 1 }));
    }
    for size in [0, 33] {
        let odd = JobFactory::new(payout.clone(), Vec::new(), size, payout.constraints());
        assert_eq!(odd.err(), Some(JobError::ExtranonceSize(size)));
    }
}

#[test]
fn variants_of_a_job_differ_and_are_blocks() {
    // Bytes that would be opcodes that count, were they not pushed.
    let variant = u32::from_le_bytes([0xac; 4]);
    let template = template(2_000_000_000, &[], true);
    let limit = JobFactory::max_tag(20) - VARIANT_LEN;
    let factory = factory(&vec![b'x'; limit], 20);
    let jobs = [0, 1, variant].map(|variant| factory.build_variant(JobId(1), &template, variant).unwrap());
    assert_eq!(jobs[0].coinbase_tx_prefix(), factory.build(JobId(1), &template).unwrap().coinbase_tx_prefix());
    let roots = jobs.each_ref().map(|job| job.merkle_root(&[7; 20]));
    assert!(roots[0] != roots[1] && roots[1] != roots[2] && roots[0] != roots[2]);
    for ((job, root), variant) in jobs.iter().zip(roots).zip([None, Some(1), Some(variant)]) {
        let block: Block = deserialize(&job.block(&header(root).to_bytes(), &[7; 20], &[])).unwrap();
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        let script = &block.coinbase().unwrap().input[0].script_sig;
        assert!(script.len() <= 100 && script.count_sigops_legacy() == 0);
        let instructions: Vec<_> = script.instructions().map(Result::unwrap).collect();
        let behind_tag = instructions[2..].iter().map(|push| push.push_bytes().unwrap().as_bytes());
        let variant = variant.map(u32::to_le_bytes);
        assert!(behind_tag.eq(variant.iter().map(|variant| &variant[..]).chain([&[7; 20][..]])));
    }
    // This template's prefix is three bytes shorter than the longest one.
    let too_long = support::factory(&vec![b'x'; limit + 4], 20).build_variant(JobId(1), &template, 1);
    assert_eq!(too_long.unwrap_err(), JobError::ScriptSigTooLong { len: 101 });
}

/// 10,000 solo addresses share all of a template but the coinbase.
#[test]
fn payouts_of_one_template_differ_in_the_coinbase_only() {
    let template = template(840_000, &[transaction(0), transaction(1), transaction(2)], true);
    let raw: Vec<_> = (0..3).map(|index| serialize(&transaction(index))).collect();
    let prepared = PreparedTemplate::new(template.clone()).unwrap();
    assert_eq!(prepared.template(), &template);
    let fee = |byte| Payout::single(p2wpkh(byte)).with_weight(p2wpkh(200), 100).unwrap();
    let first = JobFactory::new(fee(1), b"/solo/".to_vec(), 20, fee(1).constraints()).unwrap();
    let jobs: Vec<_> = (1..=3)
        .map(|byte| {
            let factory = first.for_payout(fee(byte)).unwrap();
            assert_eq!(factory.full_extranonce_size(), 20);
            let job = factory.build_prepared(JobId(byte.into()), &prepared, 0).unwrap();
            let alone = factory.build(JobId(byte.into()), &template).unwrap();
            let bytes = |job: &roles_logic_sv2::job::Job| {
                binary_sv2::to_bytes(&job.new_extended_mining_job(1.into(), None)).unwrap()
            };
            assert_eq!(bytes(&job), bytes(&alone));
            job
        })
        .collect();
    for (index, job) in jobs.iter().enumerate() {
        let block: Block =
            deserialize(&job.block(&header(job.merkle_root(&[5; 20])).to_bytes(), &[5; 20], &raw)).unwrap();
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        let outputs = &block.coinbase().unwrap().output;
        assert_eq!(
            (&outputs[0].script_pubkey, outputs[0].value.to_sat()),
            (&p2wpkh(index as u8 + 1), VALUE / 100 * 99)
        );
        assert_eq!((&outputs[1].script_pubkey, outputs[1].value.to_sat()), (&p2wpkh(200), VALUE / 100));
        assert!(std::ptr::eq(job.merkle_path(), jobs[0].merkle_path()), "one merkle path for all");
        assert_eq!(job.coinbase_tx_prefix(), jobs[0].coinbase_tx_prefix());
    }
    let larger = fee(1).with_weight(p2wpkh(9), 1).unwrap();
    assert_eq!(first.for_payout(larger).err(), Some(JobError::SizeOverReserve { reserved: 62, needed: 93 }));
    let fixed = first.clone().with_fixed_version().for_payout(fee(2)).unwrap();
    assert!(!fixed.build_prepared(JobId(1), &prepared, 0).unwrap().version_rolling_allowed());
}

#[test]
fn a_payout_over_the_reserve_is_refused() {
    // One legacy sigop, which counts four.
    let script = Builder::new().push_slice([2; 33]).push_opcode(OP_CHECKSIG).into_script();
    let payout = Payout::single(script);
    let enough = Constraints { max_additional_size: 8 + 1 + 35, max_additional_sigops: 4 };
    assert_eq!(payout.constraints(), enough);
    assert!(JobFactory::new(payout.clone(), Vec::new(), 20, enough).is_ok());
    let small = Constraints { max_additional_size: 43, ..enough };
    let error = JobFactory::new(payout.clone(), Vec::new(), 20, small).err();
    assert_eq!(error, Some(JobError::SizeOverReserve { reserved: 43, needed: 44 }));
    let few = Constraints { max_additional_sigops: 3, ..enough };
    let error = JobFactory::new(payout, Vec::new(), 20, few).err();
    assert_eq!(error, Some(JobError::SigopsOverReserve { reserved: 3, needed: 4 }));
}

#[test]
fn templates_that_make_no_block_are_refused() {
    let factory = factory(&[b'x'; 70], 20);
    let good = template(840_000, &[], true);
    assert!(factory.build(JobId(1), &good).is_ok());

    let mut fewer = good.clone();
    fewer.coinbase_tx_outputs_count = 0;
    let mut more = good.clone();
    more.coinbase_tx_outputs_count = u32::MAX;
    let mut cut = good.clone();
    cut.coinbase_tx_outputs.pop();
    for bad in [fewer, more, cut] {
        assert_eq!(factory.build(JobId(1), &bad).err(), Some(JobError::MalformedTemplateOutputs));
    }

    // A push that would swallow the tag.
    let mut open_push = good.clone();
    open_push.coinbase_prefix = vec![3, 1, 2];
    assert_eq!(factory.build(JobId(1), &open_push).err(), Some(JobError::MalformedCoinbasePrefix));

    let mut longest = good.clone();
    longest.coinbase_prefix = [vec![7], vec![0; 7]].concat();
    let job = factory.build(JobId(1), &longest).unwrap();
    let coinbase: bitcoin::Transaction = deserialize(&job.coinbase_tx(&[0; 20])).unwrap();
    assert_eq!(coinbase.input[0].script_sig.len(), 100);
    let mut long = good.clone();
    long.coinbase_prefix = [vec![8], vec![0; 8]].concat();
    assert_eq!(factory.build(JobId(1), &long).err(), Some(JobError::ScriptSigTooLong { len: 101 }));

    let mut deep = good.clone();
    deep.merkle_path = vec![[0; 32]; 256];
    let error = JobError::TooLongForMessage { part: "merkle path", len: 256 };
    assert_eq!(factory.build(JobId(1), &deep).err(), Some(error));

    // The coinbase with its witness, to the byte.
    let build = |len: usize| {
        let script_pubkey = ScriptBuf::from_bytes(vec![0x51; len]);
        let mut wide = good.clone();
        wide.coinbase_tx_outputs.extend(serialize(&TxOut { value: Amount::ZERO, script_pubkey }));
        wide.coinbase_tx_outputs_count = 2;
        factory.build(JobId(1), &wide)
    };
    let beside = build(65_000).unwrap().coinbase_tx(&[0; 20]).len() - 65_000;
    let most = usize::from(u16::MAX);
    assert_eq!(build(most - beside).unwrap().coinbase_tx(&[0; 20]).len(), most);
    let error = JobError::TooLongForMessage { part: "coinbase transaction", len: most + 1 };
    assert_eq!(build(most - beside + 1).err(), Some(error));
}

#[test]
fn messages_carry_the_job_unchanged() {
    let template = template(840_000, &[transaction(0), transaction(1), transaction(2)], true);
    let job = factory(b"/pool/", 20).build(JobId(77), &template).unwrap();
    let message = job.new_extended_mining_job(5.into(), Some(9));
    let bytes = binary_sv2::to_bytes(&message).unwrap();
    let decoded: mining_sv2::NewExtendedMiningJob<'_> = binary_sv2::from_bytes(&bytes).unwrap();
    assert_eq!((decoded.channel_id, decoded.job_id, decoded.min_ntime, decoded.version), (5, 77, Some(9), 0x2000_0000));
    assert_eq!(decoded.coinbase_tx_prefix.as_bytes(), job.coinbase_tx_prefix());
    assert_eq!(decoded.coinbase_tx_suffix.as_bytes(), job.coinbase_tx_suffix());
    let path: Vec<_> = decoded.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect();
    assert_eq!(path, template.merkle_path);
    assert_eq!((job.merkle_path(), job.is_custom()), (&template.merkle_path[..], false));
    // BIP 141's marker is gone: the input count follows nVersion.
    assert_eq!(job.coinbase_tx_prefix()[4], 1);
    assert!(Target::MAX.is_met_by(&header(job.merkle_root(&[0; 20])).hash()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_job_makes_a_valid_coinbase(
        height in 17u32..0x7fff_ffff,
        transactions in 0u32..20,
        segwit: bool,
        tag in prop::collection::vec(any::<u8>(), 0..=58),
        extranonce in prop::collection::vec(any::<u8>(), 1..=32),
    ) {
        check(height, transactions, segwit, &tag, &extranonce);
    }
}
