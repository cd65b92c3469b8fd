//! Whom blocks pay: from a channel's user identity to the outputs of its coinbase.
//!
//! All channels of the policy `pool` are one [`Payee`]; under `solo` each address is one, shared by its channels for as long as
//! there are any. A payee's jobs are made when the first of its channels gets them, from what is the same for all payees
//! (`roles_logic_sv2::job::PreparedTemplate`): a new template costs nothing per address until it is sent.
//!
//! # Limits
//! [`MAX_SOLO_PAYEES`] addresses at a time; [`CACHED_JOBS`] jobs of each for channels that are yet to get them.

use std::{
    collections::{HashMap, VecDeque},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bitcoin::{Address, AddressType, Network, ScriptBuf, hashes::Hash};
use roles_logic_sv2::{
    ids::JobId,
    job::{ALL_BASIS_POINTS, Constraints, Job, JobError, JobFactory, Payout, PreparedTemplate},
};

use crate::{
    config::{InvalidConfig, OnInvalidUser, PoolConfig},
    payout,
    user::{InvalidUser, Policy, User, is_hidden},
};

/// Solo payees at a time, each with its own address, fee and donation: about 1 KiB each. At the bound a channel with a new
/// one is refused.
pub const MAX_SOLO_PAYEES: usize = 65_536;

/// Jobs of a solo payee that are kept for its other channels: those at hand, the next, and the spare ones that targets use up.
/// An older one is built anew if a channel should need it.
pub const CACHED_JOBS: usize = 8;

/// The account of shares that nobody can be credited with, where [`OnInvalidUser::CreditPool`] says so. No user has it: a user's
/// account is never empty.
pub const POOL_ACCOUNT: &str = "";

/// Whom the blocks of some channels pay.
#[derive(Debug)]
pub struct Payee {
    number: u64,
    factory: JobFactory,
    /// Oldest first. Locked when a channel gets a job, never for a share.
    jobs: Mutex<VecDeque<Arc<Job>>>,
}

impl Payee {
    /// The one that all channels under the pool's policy have.
    const POOL: u64 = 0;

    fn new(number: u64, factory: JobFactory) -> Self {
        Self { number, factory, jobs: Mutex::default() }
    }

    /// Tells payees apart; never used twice.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is the pool.
    pub fn is_pool(&self) -> bool {
        self.number == Self::POOL
    }

    /// The job that pays this payee: built once, then shared.
    ///
    /// # Errors
    /// When the template makes no job; it makes one for the pool, or none for anybody.
    pub fn job(&self, id: JobId, template: &PreparedTemplate, variant: u32) -> Result<Arc<Job>, JobError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.iter().rev().find(|job| job.id() == id) {
            return Ok(job.clone());
        }
        let job = Arc::new(self.factory.build_prepared(id, template, variant)?);
        if jobs.len() >= CACHED_JOBS {
            jobs.pop_front();
        }
        jobs.push_back(job.clone());
        Ok(job)
    }
}

/// What a channel's user identity comes to.
#[derive(Clone, Debug)]
pub struct Miner {
    /// Whom to credit: a name, an address in its usual form, or [`POOL_ACCOUNT`].
    pub account: String,
    /// Name of the device; may be empty. What the miner called itself, where the pool is credited.
    pub worker: String,
    /// Whom its blocks pay.
    pub payee: Arc<Payee>,
}

/// Why a channel is refused for its user identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can not be read.
    #[error(transparent)]
    User(#[from] InvalidUser),
    /// It asks for what the listener does not offer.
    #[error("expected a listener with the payout policy {0}")]
    Policy(Policy),
    /// It is no address, or a mistyped one.
    #[error("expected an address of {network}: {reason}")]
    Address {
        /// The chain.
        network: Network,
        /// What is wrong with it.
        reason: String,
    },
    /// Anyone could spend what is paid there, or nobody.
    #[error("expected an address that coins can be spent from (P2PKH, P2SH, P2WPKH, P2WSH or P2TR)")]
    Unspendable,
    /// A donation under the policy `pool`.
    #[error("expected a donation only with the payout policy solo")]
    DonationToPool,
    /// Fee and donation are more than everything.
    #[error("expected a donation of at most {} percent beside the fee", f64::from(*.most) / 100.0)]
    Donation {
        /// What is left beside the fee, in basis points.
        most: u16,
    },
    /// [`MAX_SOLO_PAYEES`].
    #[error("expected at most {MAX_SOLO_PAYEES} addresses at a time")]
    TooManyPayees,
}

/// All payees, and the rules that make them.
#[derive(Debug)]
pub struct Payouts {
    network: Network,
    pool: Arc<Payee>,
    /// The address of the pool's script, or [`POOL_ACCOUNT`] where it has none.
    owner: String,
    /// The pool's script, and its part of a solo miner's block in basis points.
    fee: (ScriptBuf, u16),
    donations: ScriptBuf,
    on_invalid: OnInvalidUser,
    reserved: Constraints,
    solo: Mutex<SoloPayees>,
}

/// What tells solo payees apart: the miner's script, and its donation in basis points.
type SoloKey = (ScriptBuf, u16);

#[derive(Debug)]
struct SoloPayees {
    payees: HashMap<SoloKey, Weak<Payee>>,
    last: u64,
    /// When there are so many entries, those without channels are dropped.
    prune_at: usize,
}

/// Where [`SoloPayees::prune_at`] starts.
const FIRST_PRUNE: usize = 64;

impl Payouts {
    /// As configured, for coinbases with this full extranonce size.
    ///
    /// # Errors
    /// When a payout can not be read, or tag and payout make no coinbase.
    pub fn new(config: &PoolConfig, full_extranonce_size: usize) -> Result<Self, InvalidConfig> {
        let script = payout::script(&config.payout, config.network)?;
        let donations = match &config.solo.donation_payout {
            Some(text) => payout::script(text, config.network).map_err(InvalidConfig::DonationPayout)?,
            None => script.clone(),
        };
        let fee = (script.clone(), basis_points(config.solo.fee_percent));
        let owner = Address::from_script(&script, config.network).map_or(POOL_ACCOUNT.to_owned(), |it| it.to_string());
        let pool = Payout::single(script);
        let mut reserved = pool.constraints();
        if config.listen.iter().any(|listen| listen.policies.contains(&Policy::Solo)) {
            for worst in worst_scripts() {
                // Room for both parts, whatever they are.
                let worst = solo_payout(worst, &[(fee.0.clone(), 1), (donations.clone(), 1)])?;
                let Constraints { max_additional_size: size, max_additional_sigops: sigops } = worst.constraints();
                reserved.max_additional_size = reserved.max_additional_size.max(size);
                reserved.max_additional_sigops = reserved.max_additional_sigops.max(sigops);
            }
        }
        let factory = JobFactory::new(pool, config.coinbase_tag.clone().into(), full_extranonce_size, reserved)?;
        Ok(Self {
            network: config.network,
            pool: Arc::new(Payee::new(Payee::POOL, factory)),
            owner,
            fee,
            donations,
            on_invalid: config.on_invalid_user,
            reserved,
            solo: Mutex::new(SoloPayees { payees: HashMap::new(), last: Payee::POOL, prune_at: FIRST_PRUNE }),
        })
    }

    /// What to reserve with template sources: enough for every payee that there may be.
    pub fn constraints(&self) -> Constraints {
        self.reserved
    }

    /// Makes the jobs of all who are paid by the pool.
    pub fn factory(&self) -> &JobFactory {
        &self.pool.factory
    }

    /// Who a miner is on a listener with these policies, of which the first holds for those who name none.
    ///
    /// # Errors
    /// See [`Refused`]; where the configuration credits the pool instead, only for want of room.
    pub fn miner(&self, policies: &[Policy], identity: &[u8]) -> Result<Miner, Refused> {
        match self.try_miner(policies, identity) {
            Err(refused) if refused != Refused::TooManyPayees && self.on_invalid == OnInvalidUser::CreditPool => {
                let worker = String::from_utf8_lossy(identity).escape_debug().to_string();
                tracing::debug!(user = worker, "the pool is credited: {refused}");
                Ok(Miner { account: POOL_ACCOUNT.to_owned(), worker, payee: self.pool.clone() })
            }
            result => result,
        }
    }

    fn try_miner(&self, policies: &[Policy], identity: &[u8]) -> Result<Miner, Refused> {
        if policies.contains(&Policy::Owner) {
            return Ok(self.owners(identity));
        }
        let User { policy, account, worker, donation } = User::parse(identity)?;
        let policy = match policy {
            Some(policy) if policies.contains(&policy) => policy,
            Some(policy) => return Err(Refused::Policy(policy)),
            None => policies.first().copied().unwrap_or(Policy::Pool),
        };
        match policy {
            Policy::Pool if donation > 0 => Err(Refused::DonationToPool),
            Policy::Pool | Policy::Owner => {
                // An account may be an address, from which the pool could pay it: then it must be a right one.
                let account = if is_like_an_address(&account) { self.address(&account)?.to_string() } else { account };
                Ok(Miner { account, worker, payee: self.pool.clone() })
            }
            Policy::Solo => {
                let address = self.address(&account)?;
                let payee = self.solo_payee(address.script_pubkey(), donation)?;
                Ok(Miner { account: address.to_string(), worker, payee })
            }
        }
    }

    /// A device of the pool's owner: what stands behind its address, or else all of the identity, is its name.
    fn owners(&self, identity: &[u8]) -> Miner {
        let visible = |c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c };
        let identity: String = String::from_utf8_lossy(identity).chars().map(visible).collect();
        let identity = identity.trim();
        let (account, worker) = identity.split_once('.').unwrap_or((identity, ""));
        let is_own = self.address(account).is_ok_and(|address| address.to_string() == self.owner);
        let worker = if is_own { worker } else { identity };
        Miner { account: self.owner.clone(), worker: worker.to_owned(), payee: self.pool.clone() }
    }

    fn address(&self, account: &str) -> Result<Address, Refused> {
        let refused = |reason: String| Refused::Address { network: self.network, reason };
        let address = Address::from_str(account).map_err(|error| refused(error.to_string()))?;
        let address =
            address.require_network(self.network).map_err(|_| refused("it is of another chain".to_owned()))?;
        match address.address_type() {
            Some(
                AddressType::P2pkh | AddressType::P2sh | AddressType::P2wpkh | AddressType::P2wsh | AddressType::P2tr,
            ) => Ok(address),
            _ => Err(Refused::Unspendable),
        }
    }

    fn solo_payee(&self, script: ScriptBuf, donation: u16) -> Result<Arc<Payee>, Refused> {
        let (pool, fee) = &self.fee;
        let most = ALL_BASIS_POINTS - fee;
        if donation > most {
            return Err(Refused::Donation { most });
        }
        let mut parts = vec![(pool.clone(), *fee), (self.donations.clone(), donation)];
        if parts[0].0 == parts[1].0 {
            parts = vec![(pool.clone(), fee + donation)];
        }
        let mut solo = self.solo.lock().unwrap_or_else(PoisonError::into_inner);
        solo.payee((script, donation), |(script, _)| {
            let factory = solo_payout(script.clone(), &parts).and_then(|payout| self.pool.factory.for_payout(payout));
            factory.map_err(|error| {
                // The room reserved is for the worst case.
                tracing::error!("a solo miner's address makes no coinbase: {error}");
                Refused::Unspendable
            })
        })
    }
}

/// All to the miner but these parts, in basis points.
fn solo_payout(miner: ScriptBuf, parts: &[(ScriptBuf, u16)]) -> Result<Payout, JobError> {
    let mut parts = parts.iter().filter(|(_, basis_points)| *basis_points > 0);
    parts.try_fold(Payout::single(miner), |payout, (script, part)| payout.with_weight(script.clone(), *part))
}

impl SoloPayees {
    fn payee(
        &mut self,
        key: SoloKey,
        factory: impl FnOnce(&SoloKey) -> Result<JobFactory, Refused>,
    ) -> Result<Arc<Payee>, Refused> {
        if let Some(payee) = self.payees.get(&key).and_then(Weak::upgrade) {
            return Ok(payee);
        }
        if self.payees.len() >= self.prune_at {
            self.payees.retain(|_, payee| payee.strong_count() > 0);
            self.prune_at = (self.payees.len() * 2).clamp(FIRST_PRUNE, MAX_SOLO_PAYEES);
            if self.payees.len() >= MAX_SOLO_PAYEES {
                return Err(Refused::TooManyPayees);
            }
        }
        self.last += 1;
        let payee = Arc::new(Payee::new(self.last, factory(&key)?));
        self.payees.insert(key, Arc::downgrade(&payee));
        Ok(payee)
    }
}

/// Of the scripts that [`Payouts::address`] lets through, the longest and the one with the most sigops.
fn worst_scripts() -> [ScriptBuf; 2] {
    [ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::all_zeros()), ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::all_zeros())]
}

/// Whether a name was meant to be an address: then it must not pass for a mere name when it is mistyped.
fn is_like_an_address(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_segwit = ["bc1", "tb1", "bcrt1"].iter().any(|start| lower.starts_with(start))
        && lower.len() >= SHORTEST_SEGWIT
        && lower.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    let is_legacy =
        name.starts_with(['1', '2', '3', 'm', 'n']) && LEGACY.contains(&name.len()) && name.bytes().all(is_base58);
    is_segwit || is_legacy
}

/// Length of an address with a witness program of two bytes.
const SHORTEST_SEGWIT: usize = 14;
/// Lengths of 25 bytes in base58.
const LEGACY: std::ops::RangeInclusive<usize> = 26..=35;

/// A percentage in basis points, to the nearest; the configuration is checked before.
fn basis_points(percent: f64) -> u16 {
    (percent * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use bitcoin::{Transaction, WitnessProgram, WitnessVersion, consensus::deserialize};

    use super::*;
    use crate::testing::config;

    const MINE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const TAPROOT: &str = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6";
    const LEGACY: &str = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn";
    const ALL: [Policy; 2] = [Policy::Pool, Policy::Solo];

    fn payouts(change: impl FnOnce(&mut PoolConfig)) -> Payouts {
        let mut config = config();
        config.listen[0].policies = ALL.to_vec();
        change(&mut config);
        Payouts::new(&config, 20).unwrap()
    }

    fn miner(payouts: &Payouts, identity: &str) -> Result<Miner, Refused> {
        payouts.miner(&ALL, identity.as_bytes())
    }

    fn prepared(value: u64) -> PreparedTemplate {
        let mut template = crate::hub::job_template(&crate::testing::template(1, 101, true, true));
        template.coinbase_tx_value_remaining = value;
        PreparedTemplate::new(template).unwrap()
    }

    /// Satoshis to each script for a block of this value.
    fn pays(payouts: &Payouts, identity: &str, value: u64) -> Vec<(String, u64)> {
        let payee = miner(payouts, identity).unwrap().payee;
        let job = payee.job(JobId(1), &prepared(value), 0).unwrap();
        let coinbase: Transaction = deserialize(&job.coinbase_tx(&[0; 20])).unwrap();
        coinbase.output.iter().map(|output| (output.script_pubkey.to_hex_string(), output.value.to_sat())).collect()
    }

    fn script(address: &str) -> String {
        payout::script(address, Network::Regtest).unwrap().to_hex_string()
    }

    #[test]
    fn who_is_paid_by_which_identity() {
        let plain = payouts(|_| {});
        let pool = "51".to_owned();
        assert_eq!(pays(&plain, "alice.rig", 1_000), [(pool.clone(), 1_000)]);
        assert_eq!(
            pays(&plain, &format!("{MINE}.rig"), 1_000),
            [(pool.clone(), 1_000)],
            "the first policy is the default"
        );
        assert_eq!(pays(&plain, &format!("solo:{MINE}.rig"), 1_000), [(script(MINE), 1_000)]);
        // Part of the reward is given away; the pool's script is where, unless configured otherwise.
        let given = pays(&plain, &format!("solo:{MINE};donate=10"), 1_000_000);
        assert_eq!(given, [(script(MINE), 900_000), (pool.clone(), 100_000)]);
        let with_fee = payouts(|config| {
            config.solo.fee_percent = 1.5;
            config.solo.donation_payout = Some(LEGACY.into());
        });
        let paid = pays(&with_fee, &format!("solo:{TAPROOT};donate=2.01"), 1_000_000_007);
        let (fee, donation) = (15_000_000, 20_100_000);
        let rest = 1_000_000_007 - fee - donation;
        assert_eq!(paid, [(script(TAPROOT), rest), (pool.clone(), fee), (script(LEGACY), donation)]);
        // Fee and donation to one script are one output; what is dust stays with the miner.
        let one = payouts(|config| config.solo.fee_percent = 1.0);
        assert_eq!(pays(&one, &format!("solo:{MINE};donate=1"), 1_000_000), [(script(MINE), 980_000), (pool, 20_000)]);
        assert_eq!(pays(&one, &format!("solo:{MINE}"), 10_000), [(script(MINE), 10_000)]);
    }

    #[test]
    fn accounts_are_names_or_addresses_in_one_form() {
        let payouts = payouts(|_| {});
        for (identity, account, worker) in [
            ("alice.rig", "alice", "rig"),
            ("pool:alice", "alice", ""),
            (&MINE.to_uppercase(), MINE, ""),
            (&format!("solo:{}.7", MINE.to_uppercase()), MINE, "7"),
            ("1234567890", "1234567890", ""),
        ] {
            let miner = miner(&payouts, identity).unwrap();
            assert_eq!((&*miner.account, &*miner.worker), (account, worker), "{identity}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_or_credited_to_the_pool() {
        let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let mistyped = MINE.replace("w508", "w509");
        // A witness program of a version to come, and one that anyone can spend (BIP 433's).
        let future = WitnessProgram::new(WitnessVersion::V2, &[7; 32]).unwrap();
        let future = Address::from_witness_program(future, Network::Regtest);
        let anyone = "bcrt1pfeesnyr2tx";
        let strict = payouts(|_| {});
        let lenient = payouts(|config| config.on_invalid_user = OnInvalidUser::CreditPool);
        for (identity, reason) in [
            (mainnet.to_owned(), "another chain"),
            (mistyped.clone(), "expected an address of regtest"),
            (format!("solo:{mistyped}"), "expected an address of regtest"),
            ("solo:alice".to_owned(), "expected an address of regtest"),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".to_owned(), "another chain"),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb".to_owned(), "expected an address of regtest"),
            (format!("solo:{anyone}"), "can be spent from"),
            (format!("solo:{future}"), "can be spent from"),
            (format!("{MINE};donate=1"), "only with the payout policy solo"),
            ("a\nb".to_owned(), "visible"),
            (String::new(), "expected an account"),
        ] {
            let refused = miner(&strict, &identity).unwrap_err().to_string();
            assert!(refused.contains(reason), "{identity}: {refused}");
            let miner = miner(&lenient, &identity).unwrap();
            assert_eq!((&*miner.account, miner.payee.is_pool()), (POOL_ACCOUNT, true));
            assert!(!miner.worker.chars().any(is_hidden), "{}", miner.worker);
        }
        let dear = payouts(|config| config.solo.fee_percent = 10.0);
        let refused = miner(&dear, &format!("solo:{MINE};donate=90.01"));
        assert_eq!(refused.unwrap_err(), Refused::Donation { most: 9_000 });
        let refused = strict.miner(&[Policy::Pool], format!("solo:{MINE}").as_bytes()).unwrap_err();
        assert_eq!(refused, Refused::Policy(Policy::Solo));
    }

    #[test]
    fn channels_paid_alike_share_a_payee_while_there_are_any() {
        let payouts = payouts(|_| {});
        let number = |identity: &str| miner(&payouts, identity).unwrap().payee;
        let first = number(&format!("solo:{MINE}.a"));
        assert_eq!(first.number(), number(&format!("solo:{}.b", MINE.to_uppercase())).number());
        assert_ne!(first.number(), number(&format!("solo:{MINE};donate=1")).number());
        let before = first.number();
        drop(first);
        assert_ne!(before, number(&format!("solo:{MINE}.a")).number(), "never used twice");
        assert_eq!(number("alice").number(), number("bob").number());
    }

    #[test]
    fn payees_without_channels_make_room_and_the_rest_is_bounded() {
        let mut payees = SoloPayees { payees: HashMap::new(), last: 0, prune_at: FIRST_PRUNE };
        let factory = payouts(|_| {}).factory().clone();
        let key = |n: usize| (ScriptBuf::from_bytes(n.to_le_bytes().to_vec()), 0);
        let payee = |payees: &mut SoloPayees, n: usize| payees.payee(key(n), |_| Ok(factory.clone()));
        for n in 0..10_000 {
            payee(&mut payees, n).unwrap();
            assert!(payees.payees.len() <= FIRST_PRUNE);
        }
        let held: Vec<_> = (0..MAX_SOLO_PAYEES).map(|n| payee(&mut payees, n).unwrap()).collect();
        assert_eq!(payee(&mut payees, MAX_SOLO_PAYEES).unwrap_err(), Refused::TooManyPayees);
        assert_eq!(payee(&mut payees, 7).unwrap().number(), held[7].number());
        drop(held);
        payee(&mut payees, MAX_SOLO_PAYEES).unwrap();
    }

    #[test]
    fn with_an_owner_every_name_is_a_device() {
        let payouts = payouts(|config| {
            config.payout = MINE.into();
            config.listen[0].policies = vec![Policy::Owner];
        });
        for (identity, worker) in [
            ("rig", "rig"),
            ("alice.rig", "alice.rig"),
            ("", ""),
            (MINE, ""),
            (&format!("{MINE}.bitaxe.2"), "bitaxe.2"),
            (&format!("{}.bitaxe", MINE.to_uppercase()), "bitaxe"),
            // Somebody else's, or mistyped: it is paid to the owner all the same.
            (&format!("{TAPROOT}.x"), &format!("{TAPROOT}.x")),
            (&format!("solo:{TAPROOT};donate=3"), &format!("solo:{TAPROOT};donate=3")),
            ("a\u{202e}b\n", "a\u{fffd}b\u{fffd}"),
        ] {
            let miner = payouts.miner(&[Policy::Owner], identity.as_bytes()).unwrap();
            assert_eq!((miner.account.as_str(), miner.worker.as_str()), (MINE, worker));
            assert!(miner.payee.is_pool());
        }
        assert_eq!(payouts.miner(&[Policy::Owner], &[0xff, b'x']).unwrap().worker, "\u{fffd}x");
        // A script without an address is nobody's name.
        let nameless = Payouts::new(
            &{
                let mut it = config();
                it.payout = "raw(51)".into();
                it
            },
            20,
        )
        .unwrap();
        assert_eq!(nameless.miner(&[Policy::Owner], b"rig").unwrap().account, POOL_ACCOUNT);
    }

    /// No block is made that is larger, or has more sigops, than its template has room for.
    #[test]
    fn what_is_reserved_is_enough_for_every_kind_of_address() {
        let p2sh = "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm";
        let p2wsh = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
        for fee in [0.0, 2.0] {
            let payouts = payouts(|config| {
                config.payout = LEGACY.into();
                config.solo.fee_percent = fee;
                config.solo.donation_payout = Some(p2wsh.into());
            });
            for address in [MINE, TAPROOT, LEGACY, p2sh, p2wsh] {
                for donation in ["", ";donate=50"] {
                    // A factory over the reserve can not be made.
                    miner(&payouts, &format!("solo:{address}{donation}")).unwrap();
                }
            }
        }
        // Without solo, nothing is reserved for it.
        let pool = payouts(|config| config.listen[0].policies = vec![Policy::Pool]);
        assert_eq!(pool.constraints(), Payout::single(ScriptBuf::from_bytes(vec![0x51])).constraints());
    }
}
