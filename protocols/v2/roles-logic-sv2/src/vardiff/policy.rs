//! Which targets a device may have, and which it starts with: by the port that it comes to, and by what it calls itself.
//!
//! A table for each listener; its default is the port's. What a device calls itself (vendor, hardware version and firmware of
//! SetupConnection, sv2-spec §3.6.1) is a claim and no proof: a table may only say what is good for devices that tell the truth.

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, time::Duration};

use crate::{
    channel::server::{TargetRequestError, target_for_request},
    target::{Target, TargetBounds},
    vardiff::Vardiff,
};

/// Rules that a table may have: each new connection looks through them.
pub const MAX_RULES: usize = 256;

/// The target that a channel starts with, when its user asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The one for the nominal hashrate; where the device names none (zero), this one, or, without one, the easiest.
    Nominal(Option<Target>),
    /// This one, whatever the device names: for devices that all name the same hashrate.
    Fixed(Target),
}

/// How a channel's target is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetPolicy {
    /// Shares a minute to aim at; positive.
    pub shares_per_minute: f32,
    /// The easiest and the hardest target.
    pub bounds: TargetBounds,
    /// The first target.
    pub start: Start,
}

impl TargetPolicy {
    /// The first target of a channel, within the bounds and not easier than the client's `max_target`; or why the request can
    /// not be met. `hint` is what the user asked for, for example in the identity; it takes precedence over `start`.
    pub fn first_target(
        &self,
        nominal_hash_rate: f32,
        max_target: Target,
        hint: Option<Target>,
    ) -> Result<Target, TargetRequestError> {
        let bounds = self.bounds;
        let named = target_for_request(nominal_hash_rate, max_target, self.shares_per_minute, bounds)?;
        let start = match self.start {
            Start::Fixed(target) => Some(target),
            Start::Nominal(target) => target.filter(|_| nominal_hash_rate == 0.0),
        };
        Ok(hint.or(start).map_or(named, |target| bounds.for_client(max_target).clamp(target)))
    }

    /// A controller that begins with [`first_target`](Self::first_target), rounded to the harder side.
    pub fn vardiff(
        &self,
        now: Duration,
        nominal_hash_rate: f32,
        max_target: Target,
        hint: Option<Target>,
    ) -> Result<Vardiff, TargetRequestError> {
        let target = self.first_target(nominal_hash_rate, max_target, hint)?;
        let vardiff = Vardiff::new(now, self.shares_per_minute, self.bounds, max_target, nominal_hash_rate);
        Ok(vardiff.with_start(target))
    }

    fn check(&self) -> Result<(), PolicyError> {
        if !(self.shares_per_minute.is_finite() && self.shares_per_minute > 0.0) {
            return Err(PolicyError::SharesPerMinute(self.shares_per_minute));
        }
        let TargetBounds { easiest, hardest } = self.bounds;
        if easiest < hardest { Err(PolicyError::Bounds { easiest, hardest }) } else { Ok(()) }
    }
}

/// Which devices a rule is for: those whose fields begin with these, in upper or lower case. What is empty fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevicePattern {
    /// Beginning of `vendor`.
    pub vendor: Box<str>,
    /// Beginning of `hardware_version`.
    pub hardware_version: Box<str>,
    /// Beginning of `firmware`.
    pub firmware: Box<str>,
}

/// What a device calls itself in SetupConnection. A field that is no UTF-8 is `""`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device<'a> {
    /// Who made it.
    pub vendor: &'a str,
    /// What it is.
    pub hardware_version: &'a str,
    /// What runs on it.
    pub firmware: &'a str,
}

impl DevicePattern {
    /// Whether all three fields fit.
    pub fn is_for(&self, device: &Device<'_>) -> bool {
        let pairs = [
            (&self.vendor, device.vendor),
            (&self.hardware_version, device.hardware_version),
            (&self.firmware, device.firmware),
        ];
        pairs.iter().all(|(prefix, field)| {
            field.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        })
    }
}

/// Why a table is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicyError {
    /// More than [`MAX_RULES`].
    TooManyRules,
    /// Not a positive number.
    SharesPerMinute(f32),
    /// The easiest target is harder than the hardest.
    Bounds {
        /// Meant as the easiest.
        easiest: Target,
        /// Meant as the hardest.
        hardest: Target,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRules => write!(f, "expected at most {MAX_RULES} rules for devices, got one more"),
            Self::SharesPerMinute(rate) => write!(f, "expected a positive number of shares per minute, got {rate}"),
            Self::Bounds { easiest, hardest } => {
                let (least, most) = (easiest.difficulty(), hardest.difficulty());
                write!(f, "expected a least difficulty that is not over the most, got {least} and {most}")
            }
        }
    }
}

impl core::error::Error for PolicyError {}

/// The policies of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetPolicies {
    port: TargetPolicy,
    rules: Vec<(DevicePattern, TargetPolicy)>,
}

impl TargetPolicies {
    /// One policy for all who come.
    pub fn new(port: TargetPolicy) -> Result<Self, PolicyError> {
        port.check()?;
        Ok(Self { port, rules: Vec::new() })
    }

    /// Another policy for some devices. Rules added before take precedence.
    pub fn with_rule(mut self, pattern: DevicePattern, policy: TargetPolicy) -> Result<Self, PolicyError> {
        if self.rules.len() >= MAX_RULES {
            return Err(PolicyError::TooManyRules);
        }
        policy.check()?;
        self.rules.push((pattern, policy));
        Ok(self)
    }

    /// The policy that devices get which no rule is for.
    pub const fn port(&self) -> &TargetPolicy {
        &self.port
    }

    /// The policy of the first rule that is for the device, else the port's.
    pub fn for_device(&self, device: &Device<'_>) -> &TargetPolicy {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.is_for(device));
        rule.map_or(&self.port, |(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn bits(bits: u32) -> Target {
        Target::from_zero_bits(bits)
    }

    fn policy(easiest: u32, hardest: u32, start: Start) -> TargetPolicy {
        let bounds = TargetBounds { easiest: bits(easiest), hardest: bits(hardest) };
        TargetPolicy { shares_per_minute: 12.0, bounds, start }
    }

    fn pattern(vendor: &str, hardware_version: &str, firmware: &str) -> DevicePattern {
        DevicePattern { vendor: vendor.into(), hardware_version: hardware_version.into(), firmware: firmware.into() }
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_the_port_s_policy_else() {
        let policies = [33, 34, 35, 36].map(|easiest| policy(easiest, 60, Start::Nominal(None)));
        let table = TargetPolicies::new(policies[0]).unwrap();
        assert_eq!(table.port(), &policies[0]);
        let table = table.with_rule(pattern("Vendor", "", "fw 2"), policies[1]).unwrap();
        let table = table.with_rule(pattern("vendor", "", ""), policies[2]).unwrap();
        let table = table.with_rule(pattern("", "S19", ""), policies[3]).unwrap();
        let get = |vendor, hardware_version, firmware| {
            let device = Device { vendor, hardware_version, firmware };
            table.for_device(&device).bounds.easiest.leading_zeros()
        };
        assert_eq!(get("vendor inc", "S19", "FW 2.1"), 34);
        assert_eq!(get("VENDOR", "S19", "fw 1"), 35);
        assert_eq!(get("Vendo", "s19j", "fw 2"), 36, "a field may be longer than the rule, but not shorter");
        assert_eq!(get("", "S1", ""), 33);
        assert_eq!(get("ｖendor", "", ""), 33, "not on a character's border");
    }

    #[test]
    fn tables_that_can_not_be() {
        let good = policy(30, 60, Start::Nominal(None));
        let crossed = policy(60, 30, Start::Nominal(None));
        let error = PolicyError::Bounds { easiest: bits(60), hardest: bits(30) };
        assert_eq!(TargetPolicies::new(crossed), Err(error));
        assert!(
            error.to_string().starts_with("expected a least difficulty that is not over the most, got 26843"),
            "{error}"
        );
        let table = TargetPolicies::new(policy(30, 30, Start::Nominal(None))).unwrap();
        assert_eq!(table.with_rule(DevicePattern::default(), crossed), Err(error));
        for rate in [0.0, -1.0, f32::INFINITY] {
            let odd = TargetPolicy { shares_per_minute: rate, ..good };
            assert_eq!(TargetPolicies::new(odd), Err(PolicyError::SharesPerMinute(rate)));
        }
        assert!(TargetPolicies::new(TargetPolicy { shares_per_minute: f32::NAN, ..good }).is_err());
        let mut table = TargetPolicies::new(good).unwrap();
        for _ in 0..MAX_RULES {
            table = table.with_rule(DevicePattern::default(), good).unwrap();
        }
        assert_eq!(table.with_rule(DevicePattern::default(), good), Err(PolicyError::TooManyRules));
        assert_eq!(PolicyError::TooManyRules.to_string(), "expected at most 256 rules for devices, got one more");
        let text = PolicyError::SharesPerMinute(0.0).to_string();
        assert_eq!(text, "expected a positive number of shares per minute, got 0");
    }

    #[test]
    fn a_start_by_hint_then_by_rule_then_by_the_nominal_hashrate() {
        let first = |start, nominal, hint| policy(32, 60, start).first_target(nominal, Target::MAX, hint).unwrap();
        // 1e12 hashes a second at a share in 5 s: 42 bits.
        assert_eq!(first(Start::Nominal(None), 1e12, None), bits(42));
        assert_eq!(first(Start::Nominal(None), 0.0, None), bits(32));
        assert_eq!(first(Start::Nominal(Some(bits(50))), 0.0, None), bits(50));
        assert_eq!(first(Start::Nominal(Some(bits(50))), 1e12, None), bits(42));
        assert_eq!(first(Start::Fixed(bits(36)), 1e12, None), bits(36));
        for start in [Start::Nominal(Some(bits(50))), Start::Fixed(bits(36))] {
            assert_eq!(first(start, 1e12, Some(bits(45))), bits(45));
            assert_eq!(first(start, 0.0, Some(bits(10))), bits(32), "no hint gets below the floor");
            assert_eq!(first(start, 0.0, Some(bits(70))), bits(60));
        }
        let policy = policy(32, 60, Start::Fixed(bits(36)));
        assert_eq!(policy.first_target(1e12, bits(40), None), Ok(bits(40)), "the client's maximum");
        assert_eq!(policy.first_target(1e12, bits(61), None), Err(TargetRequestError::MaxTargetOutOfRange));
        assert_eq!(policy.first_target(-1.0, Target::MAX, None), Err(TargetRequestError::InvalidHashrate));
        let vardiff = policy.vardiff(Duration::ZERO, 1e12, Target::MAX, Some(Target::DIFFICULTY_1)).unwrap();
        assert_eq!(vardiff.target(), bits(33));
        assert!(policy.vardiff(Duration::ZERO, f32::NAN, Target::MAX, None).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whoever_asks_for_whatever_the_bounds_hold(
            easiest in 0u32..128, more in 0u32..128, start in 0u32..256, fixed: bool,
            nominal in prop::num::f32::POSITIVE, max in 0u32..256, hint in prop::option::of(any::<[u8; 32]>()),
        ) {
            let start = if fixed { Start::Fixed(bits(start)) } else { Start::Nominal(Some(bits(start))) };
            let policy = policy(easiest, (easiest + more).min(127), start);
            let hint = hint.map(Target::from_le_bytes);
            match policy.first_target(nominal, bits(max), hint) {
                Ok(target) => {
                    prop_assert!(target <= bits(easiest) && target <= bits(max) && target >= policy.bounds.hardest);
                    let vardiff = policy.vardiff(Duration::ZERO, nominal, bits(max), hint).unwrap();
                    prop_assert_eq!(vardiff.target(), target.round_to_harder());
                }
                Err(error) => {
                    prop_assert_eq!(error, TargetRequestError::MaxTargetOutOfRange);
                    prop_assert!(max > (easiest + more).min(127));
                }
            }
        }
    }
}
