//! Custom jobs: what is checked, and that both sides build the same coinbase.

mod support;

use std::{cell::Cell, time::Duration};

use binary_sv2::{B0_64K, B0_255, Seq0_255, U256};
use bitcoin::{Amount, Transaction, TxOut, consensus::deserialize, consensus::serialize, hashes::Hash};
use mining_sv2::SetCustomMiningJob;
use proptest::prelude::*;
use roles_logic_sv2::{
    ChannelId, JobId, JobIds, OpenSuccess, RequestId, Target, TemplateId,
    channel::{
        client::{Change, ClientChannel, ClientError, Submission},
        group::Channels,
        server::{Channel, Open},
    },
    custom::{CustomJobError, CustomRules, Declared, MAX_MERKLE_PATH},
    extranonce::{Layout, Space},
    job::JobTemplate,
    share::{RejectReason, Rules, Share, Verdict},
};
use support::{HARD, MIN_NTIME, REGTEST, VALUE, extended, p2wpkh, standard, template, tip, transaction};

const NOW: Duration = Duration::from_secs(1_000_000);
const HEIGHT: u32 = 840_000;

/// What a job declarator client makes of its own template.
fn request(template: &JobTemplate, nbits: u32) -> SetCustomMiningJob<'static> {
    let payout = TxOut { value: Amount::from_sat(VALUE), script_pubkey: p2wpkh(1) };
    let mut outputs = vec![1 + template.coinbase_tx_outputs_count as u8];
    outputs.extend(serialize(&payout));
    outputs.extend(&template.coinbase_tx_outputs);
    SetCustomMiningJob {
        channel_id: 2,
        request_id: 9,
        mining_job_token: B0_255::try_from(vec![1, 2, 3]).unwrap(),
        version: template.version,
        prev_hash: U256::from_le_bytes([1; 32]),
        min_ntime: MIN_NTIME,
        nbits,
        coinbase_tx_version: template.coinbase_tx_version,
        coinbase_prefix: B0_255::try_from(template.coinbase_prefix.clone()).unwrap(),
        coinbase_tx_input_n_sequence: template.coinbase_tx_input_sequence,
        coinbase_tx_outputs: B0_64K::try_from(outputs).unwrap(),
        coinbase_tx_locktime: template.coinbase_tx_locktime,
        merkle_path: Seq0_255::try_from_iter(template.merkle_path.iter().map(|hash| U256::from_le_bytes(*hash)))
            .unwrap(),
    }
}

fn good() -> SetCustomMiningJob<'static> {
    request(&template(HEIGHT, &[transaction(1)], true), HARD)
}

fn declared() -> Declared {
    Declared {
        template_id: TemplateId(77),
        outputs: vec![TxOut { value: Amount::from_sat(VALUE), script_pubkey: p2wpkh(1) }],
        height: Some(HEIGHT),
        version: Some(0x2000_0000),
        least_ntime: None,
    }
}

fn tokens(request: &SetCustomMiningJob<'_>) -> Result<Declared, CustomJobError> {
    if request.mining_job_token.as_bytes() == [1, 2, 3] { Ok(declared()) } else { Err(CustomJobError::Token) }
}

/// An extended channel that a tip was told to, and no job.
fn channel(nbits: u32) -> Channel {
    let mut channel = extended(Target::from_zero_bits(4));
    channel.on_tip(NOW, tip(1, nbits, NOW));
    channel
}

fn answer(channel: &mut Channel, request: &SetCustomMiningJob<'_>, rules: &CustomRules) -> Result<u32, CustomJobError> {
    let success = channel.on_set_custom_mining_job(NOW, request, &tokens, rules, || JobId(5))?;
    assert_eq!((success.channel_id, success.request_id), (request.channel_id, request.request_id));
    Ok(success.job_id)
}

#[test]
fn a_block_is_mined_on_a_custom_job() {
    let transactions = [transaction(1), transaction(2)];
    let request = request(&template(HEIGHT, &transactions, true), REGTEST);
    let mut server = channel(REGTEST);
    let OpenSuccess::Extended(success) = server.open_success(RequestId(1)) else { unreachable!() };
    let mut client = ClientChannel::extended(&success).unwrap();
    let ids = JobIds::new();
    let rules = CustomRules::default();
    let success = server.on_set_custom_mining_job(NOW, &request, &tokens, &rules, || ids.next()).unwrap();
    assert_eq!(success.job_id, 1);
    assert_eq!(client.on_custom_job(NOW, &request, &success), Ok(Change::NewTip));

    let work = client.work().unwrap();
    assert_eq!((work.job_id, work.nbits, work.min_ntime), (JobId(1), REGTEST, MIN_NTIME));
    let nonce =
        support::mine(|nonce| work.header(work.version, work.min_ntime, nonce), 0, |hash| work.target.is_met_by(hash));
    let Submission::Extended(message) = client.submit(&work, work.version, work.min_ntime, nonce) else {
        unreachable!()
    };
    let share = Share::from(&message);
    let verdict = server.submit(NOW, &share);
    assert!(matches!(verdict, Verdict::Accepted { work: 16, .. }), "{verdict:?}");
    let candidate = verdict.block().expect("four bits are a block on regtest");
    assert!(candidate.job.is_custom());
    assert_eq!(candidate.submit_solution().template_id, 77);
    let others: Vec<_> = transactions.iter().map(serialize).collect();
    let block: bitcoin::Block = deserialize(&candidate.block(&others)).unwrap();
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    assert_eq!(block.bip34_block_height(), Ok(HEIGHT.into()));
    assert_eq!(block.block_hash(), candidate.hash);
    assert_eq!(server.submit(NOW, &share).reject_reason(), Some(RejectReason::Duplicate));
    // A second custom job on the same tip; a tip ends both.
    let second = server.on_set_custom_mining_job(NOW, &request, &tokens, &rules, || ids.next()).unwrap();
    assert_eq!(client.on_custom_job(NOW, &request, &second), Ok(Change::NewWork));
    assert_eq!(server.active_jobs(), [JobId(1), JobId(2)]);
    server.on_tip(NOW, tip(2, REGTEST, NOW));
    assert_eq!(server.submit(NOW, &share).reject_reason(), Some(RejectReason::Stale));
}

#[test]
fn each_field_has_its_error() {
    use CustomJobError as E;
    let output = |sat: u64, to: u8| serialize(&TxOut { value: Amount::from_sat(sat), script_pubkey: p2wpkh(to) });
    let outputs =
        |bytes: Vec<u8>| SetCustomMiningJob { coinbase_tx_outputs: B0_64K::try_from(bytes).unwrap(), ..good() };
    let prefix =
        |bytes: &[u8]| SetCustomMiningJob { coinbase_prefix: B0_255::try_from(bytes.to_vec()).unwrap(), ..good() };
    let path = |len| Seq0_255::try_from_iter((0..len).map(|_| U256::from_le_bytes([0; 32]))).unwrap();
    let late = MIN_NTIME + CustomRules::default().ntime_tolerance + 1;
    let trailing = [good().coinbase_tx_outputs.as_bytes(), &[0]].concat();
    let cases = [
        (E::StaleTip, SetCustomMiningJob { prev_hash: U256::from_le_bytes([2; 32]), ..good() }),
        (E::Nbits, SetCustomMiningJob { nbits: REGTEST, ..good() }),
        (E::Token, SetCustomMiningJob { mining_job_token: B0_255::try_from(vec![1]).unwrap(), ..good() }),
        (E::MinNtime, SetCustomMiningJob { min_ntime: MIN_NTIME - 1, ..good() }),
        (E::MinNtime, SetCustomMiningJob { min_ntime: late, ..good() }),
        (E::Version, SetCustomMiningJob { version: 0x2000_0001, ..good() }),
        (E::MerklePath, SetCustomMiningJob { merkle_path: path(MAX_MERKLE_PATH + 1), ..good() }),
        (E::CoinbasePrefix, prefix(&[3, 0x40, 0xd1, 0x0d])), // the height after
        (E::CoinbasePrefix, prefix(&[3, 0x40, 0xd1, 0x0c, 4, 1, 2, 3, 4])), // 9 bytes
        (E::CoinbasePrefix, prefix(&[])),
        (E::CoinbaseOutputs, outputs(vec![])),
        (E::CoinbaseOutputs, outputs(vec![0])),
        (E::CoinbaseOutputs, outputs(trailing)),
        (E::CoinbaseOutputs, outputs([vec![2], output(VALUE, 1)].concat())),
        (E::CoinbaseOutputs, outputs([vec![1], output(VALUE - 1, 1)].concat())),
        (E::CoinbaseOutputs, outputs([vec![1], output(VALUE, 2)].concat())),
        (E::CoinbaseOutputs, outputs([vec![2], output(VALUE, 1), output(u64::MAX, 2)].concat())),
        (E::CoinbaseLockTime, SetCustomMiningJob { coinbase_tx_locktime: HEIGHT, ..good() }),
        (E::CoinbaseLockTime, SetCustomMiningJob { coinbase_tx_locktime: MIN_NTIME, ..good() }),
        (E::Coinbase, outputs([vec![0xfd, 0x41, 0x08], output(VALUE, 1), output(1, 3).repeat(2112)].concat())),
    ];
    let mut channel = channel(HARD);
    let rules = CustomRules::default();
    for (expected, request) in cases {
        let taken = Cell::new(false);
        let id = || {
            taken.set(true);
            JobId(5)
        };
        let result = channel.on_set_custom_mining_job(NOW, &request, &tokens, &rules, id);
        assert_eq!(result.map(|_| ()), Err(expected));
        assert!(!taken.get(), "an id was used up for {expected}");
        let message = expected.message(&request);
        assert_eq!((message.channel_id, message.request_id), (2, 9));
        assert_eq!(message.error_code.as_utf8(), Ok(expected.error_code()));
    }
    assert!(channel.active_jobs().is_empty());
    assert_eq!(answer(&mut channel, &good(), &rules), Ok(5));
    assert_eq!(channel.active_jobs(), [JobId(5)]);
}

#[test]
fn what_is_in_order_after_all() {
    let rules = CustomRules::default();
    let ok = |request: SetCustomMiningJob<'_>| answer(&mut channel(HARD), &request, &rules).is_ok();
    assert!(ok(SetCustomMiningJob { version: 0x3fff_ffe0, ..good() })); // general purpose bits
    assert!(ok(SetCustomMiningJob { coinbase_tx_locktime: 0, ..good() }));
    let never = u32::MAX;
    assert!(ok(SetCustomMiningJob { coinbase_tx_locktime: never, coinbase_tx_input_n_sequence: never, ..good() }));
    assert!(ok(SetCustomMiningJob { min_ntime: MIN_NTIME + rules.ntime_tolerance, ..good() }));
    // With its tag in the prefix, as job declarators in the field send it.
    let tagged = [good().coinbase_prefix.as_bytes(), b"\x0a/ a tag /\x14"].concat();
    let tagged = SetCustomMiningJob { coinbase_prefix: B0_255::try_from(tagged).unwrap(), ..good() };
    assert!(!ok(tagged.clone()));
    let wide = CustomRules { max_coinbase_prefix: 100, ..rules };
    assert_eq!(answer(&mut channel(HARD), &tagged, &wide), Ok(5));
    let over = [&[3, 0x40, 0xd1, 0x0c][..], &[0x51; 77]].concat();
    let over = SetCustomMiningJob { coinbase_prefix: B0_255::try_from(over).unwrap(), ..good() };
    assert_eq!(answer(&mut channel(HARD), &over, &wide), Err(CustomJobError::CoinbasePrefix));
    // Nothing declared but the token: then nothing more is known.
    let nothing = |_: &SetCustomMiningJob<'_>| Ok(Declared::default());
    let odd = SetCustomMiningJob { version: 4, coinbase_tx_locktime: HEIGHT + 1, ..good() };
    let result = channel(HARD).on_set_custom_mining_job(NOW, &odd, &nothing, &rules, || JobId(1));
    assert!(result.is_ok());
    // A node may know that an earlier nTime is allowed than the tip's.
    let earlier = |_: &SetCustomMiningJob<'_>| Ok(Declared { least_ntime: Some(MIN_NTIME - 60), ..declared() });
    let request = SetCustomMiningJob { min_ntime: MIN_NTIME - 60, ..good() };
    let result = channel(HARD).on_set_custom_mining_job(NOW, &request, &earlier, &rules, || JobId(1));
    assert!(result.is_ok());
}

#[test]
fn bounds_are_included() {
    let rules = CustomRules { max_coinbase_prefix: 100, ..CustomRules::default() };
    let nothing = |_: &SetCustomMiningJob<'_>| Ok(Declared::default());
    let build = |request: &SetCustomMiningJob<'_>, size: usize| {
        roles_logic_sv2::custom::build(NOW, request, size, &tip(1, HARD, NOW), &nothing, &rules, || JobId(1))
            .map(|_| ())
    };
    // A lock by time is final only before the median time of the last blocks, which nobody tells: the least nTime is later by a
    // second at least, and a lock of that second would make the block invalid.
    let lock = |lock_time| SetCustomMiningJob { coinbase_tx_locktime: lock_time, ..good() };
    for (lock_time, is_final) in [(HEIGHT - 1, true), (HEIGHT, false), (499_999_999, false), (500_000_000, false)] {
        let expected = if is_final { Ok(5) } else { Err(CustomJobError::CoinbaseLockTime) };
        assert_eq!(answer(&mut channel(HARD), &lock(lock_time), &rules), expected, "{lock_time}");
    }
    let known = |_: &SetCustomMiningJob<'_>| Ok(Declared { least_ntime: Some(MIN_NTIME), ..declared() });
    for lock_time in [MIN_NTIME - 2, MIN_NTIME - 1, MIN_NTIME] {
        let result = channel(HARD).on_set_custom_mining_job(NOW, &lock(lock_time), &known, &rules, || JobId(1));
        assert_eq!(result.err(), Some(CustomJobError::CoinbaseLockTime), "{lock_time}");
    }
    // A merkle path of the deepest block.
    let path = |levels| Seq0_255::try_from_iter(core::iter::repeat_n(U256::from_le_bytes([7; 32]), levels)).unwrap();
    assert_eq!(build(&SetCustomMiningJob { merkle_path: path(15), ..good() }, 20), Ok(()));
    let deep = SetCustomMiningJob { merkle_path: path(16), ..good() };
    assert_eq!(build(&deep, 20), Err(CustomJobError::MerklePath));
    // All the money there can be, and a satoshi more.
    let outputs = |value: u64, script: usize| {
        let script = bitcoin::ScriptBuf::from_bytes(vec![0x51; script]);
        let output = TxOut { value: Amount::from_sat(value), script_pubkey: script };
        let bytes = [vec![1], serialize(&output)].concat();
        SetCustomMiningJob { coinbase_tx_outputs: B0_64K::try_from(bytes).unwrap(), ..good() }
    };
    assert_eq!(build(&outputs(21_000_000 * 100_000_000, 1), 20), Ok(()));
    assert_eq!(build(&outputs(21_000_000 * 100_000_000 + 1, 1), 20), Err(CustomJobError::CoinbaseOutputs));
    // 65,535 bytes with the witness: 42 + 4 + 20 before nSequence, 8 around the outputs, 1 + 8 + 3 of the output, 36 of BIP 141.
    let longest = 65_535 - 66 - 8 - 12 - 36;
    assert_eq!(build(&outputs(1, longest), 20), Ok(()));
    assert_eq!(build(&outputs(1, longest + 1), 20), Err(CustomJobError::Coinbase));
    // A scriptSig of 2 to 100 bytes.
    let prefix = |len| SetCustomMiningJob { coinbase_prefix: B0_255::try_from(vec![0x51; len]).unwrap(), ..good() };
    for (len, size, fits) in [(0, 1, false), (0, 2, true), (1, 1, true), (80, 20, true), (81, 20, false)] {
        assert_eq!(build(&prefix(len), size).is_ok(), fits, "{len} {size}");
    }
    let exactly_8 = CustomRules::default();
    let height = [3, 0x40, 0xd1, 0x0c, 3, 1, 2, 3];
    let request = SetCustomMiningJob { coinbase_prefix: B0_255::try_from(height.to_vec()).unwrap(), ..good() };
    assert!(answer(&mut channel(HARD), &request, &exactly_8).is_ok());
    // A script that must be paid nothing must be there all the same, and two outputs to one script are added up.
    let due = |sats: &'static [u64]| {
        move |_: &SetCustomMiningJob<'_>| {
            let to = |sat: &u64| TxOut { value: Amount::from_sat(*sat), script_pubkey: p2wpkh(1) };
            Ok(Declared { outputs: sats.iter().map(to).collect(), ..Declared::default() })
        }
    };
    let paid = |sats: &[u64], script: u8, due: &dyn Fn(&SetCustomMiningJob<'_>) -> Result<Declared, CustomJobError>| {
        let outputs = sats
            .iter()
            .flat_map(|sat| serialize(&TxOut { value: Amount::from_sat(*sat), script_pubkey: p2wpkh(script) }));
        let bytes: Vec<u8> = std::iter::once(sats.len() as u8).chain(outputs).collect();
        let request = SetCustomMiningJob { coinbase_tx_outputs: B0_64K::try_from(bytes).unwrap(), ..good() };
        let tokens = |request: &SetCustomMiningJob<'_>| due(request);
        channel(HARD).on_set_custom_mining_job(NOW, &request, &tokens, &exactly_8, || JobId(1)).is_ok()
    };
    assert!(paid(&[0], 1, &due(&[0])) && !paid(&[0], 2, &due(&[0])));
    assert!(paid(&[3, 4], 1, &due(&[7])) && !paid(&[3, 4], 1, &due(&[8])));
    assert!(paid(&[7], 1, &due(&[3, 4])) && !paid(&[6], 1, &due(&[3, 4])));
}

/// The strings of sv2-spec §5.3.20, and our own.
#[test]
fn every_error_has_its_code() {
    use CustomJobError as E;
    let codes = [
        (E::NotSupported, "jd-not-supported"),
        (E::Channel, "invalid-channel-id"),
        (E::StaleTip, "stale-chain-tip"),
        (E::Nbits, "invalid-nbits"),
        (E::MinNtime, "invalid-min-ntime"),
        (E::Token, "invalid-mining-job-token"),
        (E::NotYetValidated, "job-not-yet-validated"),
        (E::Version, "invalid-version"),
        (E::MerklePath, "invalid-merkle-path"),
        (E::CoinbasePrefix, "invalid-coinbase-prefix"),
        (E::CoinbaseVersion, "invalid-coinbase-tx-version"),
        (E::CoinbaseSequence, "invalid-coinbase-tx-input-n-sequence"),
        (E::CoinbaseOutputs, "invalid-coinbase-tx-outputs"),
        (E::CoinbaseLockTime, "invalid-coinbase-tx-locktime"),
        (E::Coinbase, "invalid-coinbase-tx"),
    ];
    for (error, code) in codes {
        assert_eq!((error.error_code(), error.to_string().as_str()), (code, code));
    }
}

#[test]
fn who_takes_custom_jobs() {
    let rules = CustomRules::default();
    assert_eq!(answer(&mut extended(Target::MAX), &good(), &rules), Err(CustomJobError::StaleTip));
    let mut standard = standard(Target::MAX);
    standard.on_tip(NOW, tip(1, HARD, NOW));
    assert_eq!(answer(&mut standard, &good(), &rules), Err(CustomJobError::Channel));
    let OpenSuccess::Standard(success) = standard.open_success(RequestId(1)) else { unreachable!() };
    let mut client = ClientChannel::standard(&success);
    let success = mining_sv2::SetCustomMiningJobSuccess { channel_id: 2, request_id: 9, job_id: 1 };
    let refused = client.on_custom_job(NOW, &good(), &success);
    assert_eq!(refused, Err(ClientError::CustomJob(CustomJobError::Channel)));
    // With a fixed version, the job's can not be rolled.
    let mut fixed = channel(HARD);
    let rules = CustomRules { version_rolling_allowed: false, ..rules };
    answer(&mut fixed, &good(), &rules).unwrap();
    let mut rolled = Share {
        job_id: JobId(5),
        sequence_number: 0.into(),
        nonce: 0,
        ntime: MIN_NTIME,
        version: 0x2000_2000,
        extranonce: Some(roles_logic_sv2::extranonce::Extranonce::zeroed(8).unwrap()),
    };
    assert_eq!(fixed.submit(NOW, &rolled).reject_reason(), Some(RejectReason::VersionRollingNotAllowed));
    rolled.version = 0x2000_0000;
    assert_ne!(fixed.submit(NOW, &rolled).reject_reason(), Some(RejectReason::VersionRollingNotAllowed));
}

#[test]
fn a_group_s_standard_channels_are_left_alone() {
    let space = Space::new(Layout::SV2_DEFAULT, 0, 0).unwrap();
    let mut channels = Channels::new();
    let group = channels.open_group(20).unwrap();
    let mut add = |extended: bool, tip_byte: u8| {
        let (slot, channel_id) = (space.allocate().unwrap(), channels.next_id().unwrap());
        let (target, rules) = (Target::MAX, Rules::default());
        let open = Open { channel_id, group_channel_id: group, slot, max_target: Target::MAX, target, rules };
        let mut channel = if extended { Channel::extended(open, 8).unwrap() } else { Channel::standard(open) };
        channel.on_tip(NOW, tip(tip_byte, HARD, NOW));
        channels.insert(channel).unwrap();
        channel_id
    };
    let ids = [add(false, 1), add(true, 1), add(true, 1), add(true, 2)];
    let rules = CustomRules::default();
    let to = |id: ChannelId| SetCustomMiningJob { channel_id: id.0, ..good() };
    let success = channels.on_set_custom_mining_job(NOW, &to(group), &tokens, &rules, || JobId(8)).unwrap();
    assert_eq!((success.channel_id, success.job_id), (group.0, 8));
    // Nor does the one that is on another tip.
    let jobs: Vec<_> = ids.iter().map(|id| channels.get(*id).unwrap().active_jobs().len()).collect();
    assert_eq!(jobs, [0, 1, 1, 0]);
    for id in [ids[0], ChannelId(99)] {
        let result = channels.on_set_custom_mining_job(NOW, &to(id), &tokens, &rules, || JobId(9));
        assert_eq!(result, Err(CustomJobError::Channel));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the message says, nothing panics; and what is accepted has a coinbase that is a transaction, the one that the
    /// client hashes.
    #[test]
    fn any_message_is_refused_or_makes_a_transaction(
        prefix in prop::collection::vec(any::<u8>(), 0..90), outputs in prop::collection::vec(any::<u8>(), 0..60),
        real in any::<bool>(), version: u32, lock_time: u32, n_sequence: u32, path in 0usize..20,
    ) {
        let outputs = if real { good().coinbase_tx_outputs } else { B0_64K::try_from(outputs).unwrap() };
        let request = SetCustomMiningJob {
            coinbase_prefix: B0_255::try_from(prefix.clone()).unwrap(),
            coinbase_tx_outputs: outputs,
            coinbase_tx_version: version,
            coinbase_tx_locktime: lock_time,
            coinbase_tx_input_n_sequence: n_sequence,
            merkle_path: Seq0_255::try_from_iter((0..path).map(|_| U256::from_le_bytes([3; 32]))).unwrap(),
            ..good()
        };
        let nothing = |_: &SetCustomMiningJob<'_>| Ok(Declared::default());
        let rules = CustomRules { max_coinbase_prefix: 100, ..CustomRules::default() };
        let tip = tip(1, HARD, NOW);
        let job = roles_logic_sv2::custom::build(NOW, &request, 20, &tip, &nothing, &rules, || JobId(1));
        let expected = real && path <= MAX_MERKLE_PATH && prefix.len() <= 80;
        if real { prop_assert_eq!(job.is_ok(), expected); }
        let Ok(job) = job else { return Ok(()) };
        let coinbase: Transaction = deserialize(&job.coinbase_tx(&[7; 20])).unwrap();
        prop_assert!(coinbase.is_coinbase());
        prop_assert_eq!(coinbase.input[0].script_sig.as_bytes(), [&prefix[..], &[7; 20]].concat());
        if path == 0 {
            prop_assert_eq!(coinbase.compute_txid().to_byte_array(), job.merkle_root(&[7; 20]));
        }
        prop_assert_eq!(coinbase.version.0 as u32, version);
        if path == 0 {
            prop_assert_eq!(coinbase.compute_txid().to_byte_array(), job.merkle_root(&[7; 20]));
        }
    }
}
