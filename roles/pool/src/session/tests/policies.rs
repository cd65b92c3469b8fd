//! Channels that are paid in different ways.

use bitcoin::{Transaction, consensus::deserialize};

use super::*;

const MINE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const YOURS: &str = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn";

/// A session that offers both policies, with room for some channels.
fn both(change: impl FnOnce(&mut crate::PoolConfig)) -> Fixture {
    let mut f = fixture();
    let mut settings = config();
    settings.listen[0].policies = vec![Policy::Pool, Policy::Solo];
    change(&mut settings);
    let config = Arc::get_mut(&mut f.session.config).unwrap();
    config.payouts = Arc::new(payouts(&settings));
    (config.policies, config.max_channels) = (settings.listen[0].policies.clone(), 8);
    f.setup(0);
    f
}

impl Fixture {
    fn open_as(&mut self, user: &str) -> OpenExtendedMiningChannelSuccess {
        self.send(&OpenExtendedMiningChannel { user_identity: Str0_255::from_truncated(user), ..extended(8) });
        self.last()
    }

    /// Scripts that the last extended job pays.
    fn scripts(&self) -> Vec<String> {
        let job: NewExtendedMiningJob<'_> = self.last();
        let coinbase = [job.coinbase_tx_prefix.as_bytes(), &[0; 20], job.coinbase_tx_suffix.as_bytes()].concat();
        let coinbase: Transaction = deserialize(&coinbase).unwrap();
        coinbase.output.iter().map(|output| output.script_pubkey.to_hex_string()).collect()
    }
}

fn script(address: &str) -> String {
    crate::payout::script(address, bitcoin::Network::Regtest).unwrap().to_hex_string()
}

#[test]
fn each_channel_works_for_whom_it_is_to_pay() {
    let mut f = both(|settings| settings.solo.fee_percent = 2.0);
    let pool = f.open_as("alice.rig");
    assert_eq!(f.scripts(), ["51"]);
    let solo = f.open_as(&format!("solo:{MINE}.rig"));
    assert_eq!(f.scripts(), [&script(MINE), "51"]);
    let other = f.open_as(&format!("solo:{YOURS}.rig"));
    assert_eq!(f.scripts(), [&script(YOURS), "51"]);
    let same = f.open_as(&format!("solo:{}.rig 2", MINE.to_uppercase()));
    let groups = [&pool, &solo, &other, &same].map(|channel| channel.group_channel_id);
    assert_eq!(groups[1], groups[3], "paid alike");
    assert_eq!(std::collections::BTreeSet::from(groups).len(), 3);
    f.sink.sent.clear();
    // One message for the two that are paid alike, one for each of the others.
    f.source(Event::Template(template(2, 101, false, true)));
    let jobs: Vec<(u32, u32)> = f
        .sink
        .sent
        .iter()
        .map(|(_, payload)| from_bytes::<NewExtendedMiningJob<'_>>(payload).unwrap())
        .map(|job| (job.channel_id, job.job_id))
        .collect();
    assert_eq!(jobs, [(pool.channel_id, 2), (groups[1], 2), (other.channel_id, 2)], "one id for all");
    let session = &f.session;
    let job = |id: u32| session.channels.get(ChannelId(id)).unwrap().payee.clone();
    assert!(Arc::ptr_eq(&job(solo.channel_id), &job(same.channel_id)), "one coinbase for one address");
}

#[test]
fn a_solo_block_pays_the_miner_and_is_found_by_its_template() {
    let mut f = both(|_| {});
    let solo = f.open_as(&format!("solo:{MINE}.rig"));
    f.mine(solo.channel_id, 1, 0, true);
    let found = f.sink.reports.pop().unwrap();
    assert_eq!(found.finder.to_string(), format!("{MINE}.rig"));
    let coinbase: Transaction = deserialize(&found.candidate.coinbase_tx()).unwrap();
    assert_eq!(coinbase.output[0].script_pubkey.to_hex_string(), script(MINE));
    let hash = found.candidate.hash;
    f.hub.handle_candidate(NOW, &found);
    let submitted = crate::testing::outputs(&mut f.hub).into_iter().any(|output| {
        matches!(output, crate::hub::Output::Command { command: template_source::Command::SubmitSolution(s), .. } if s.hash == hash)
    });
    assert!(submitted);
}

#[test]
fn solo_channels_get_spare_and_refreshed_jobs_of_their_own() {
    let mut f = hard_blocks();
    let mut settings = config();
    settings.listen[0].policies = vec![Policy::Solo];
    let config = Arc::get_mut(&mut f.session.config).unwrap();
    config.payouts = Arc::new(payouts(&settings));
    config.policies = settings.listen[0].policies.clone();
    f.setup(0);
    let solo = f.open_as(&format!("{MINE}.rig"));
    let max = U256::from_le_bytes([0xff; 32]);
    f.send(&UpdateChannel { channel_id: solo.channel_id, nominal_hash_rate: 1e12, maximum_target: max });
    assert_eq!(f.scripts(), [script(MINE)]);
    let spare = f.last::<NewExtendedMiningJob<'_>>().job_id;
    f.hub.handle_timeout(NOW + Duration::from_secs(30));
    f.notice();
    assert_eq!(f.scripts(), [script(MINE)]);
    assert!(f.last::<NewExtendedMiningJob<'_>>().job_id > spare);
}

#[test]
fn a_wrong_address_is_refused_with_a_reason() {
    let mut f = both(|_| {});
    for (user, reason) in [
        ("solo:alice.rig", "expected an address of regtest"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig", "it is of another chain"),
        ("", "expected an account"),
        ("a\u{7}b", "expected visible characters, got U+0007"),
    ] {
        f.send(&OpenExtendedMiningChannel { user_identity: Str0_255::from_truncated(user), ..extended(8) });
        let error = f.last::<OpenMiningChannelError<'_>>().error_code.to_string();
        assert!(error.starts_with("invalid-user-identity: ") && error.contains(reason), "{error}");
    }
    assert_eq!((f.session.channels.len(), f.sink.gone.as_deref()), (0, None));
    assert_eq!(f.session.config.space.live(), 0);
}
