//! The difficulty of shares on one listener: what `[shares]` says, and what the listener and its rules for devices say otherwise.

use roles_logic_sv2::{
    Target, TargetBounds,
    target::WORK_OF_DIFFICULTY_1,
    vardiff::policy::{DevicePattern, Start, TargetPolicies, TargetPolicy},
};
use serde::Deserialize;

use crate::config::{InvalidConfig, Listen, Shares};

/// What a listener or a kind of device has otherwise than `[shares]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// See [`Shares::per_minute`].
    pub per_minute: Option<f32>,
    /// See [`Shares::vardiff`]; for all devices of a listener alike.
    pub vardiff: Option<bool>,
    /// See [`Shares::min_difficulty`].
    pub min_difficulty: Option<f64>,
    /// See [`Shares::max_difficulty`].
    pub max_difficulty: Option<f64>,
    /// See [`Shares::start_difficulty`]. For a kind of device it holds whatever hashrate the device names: some all name the same.
    pub start_difficulty: Option<f64>,
}

/// Devices that are treated otherwise, by what they call themselves in SetupConnection (sv2-spec §3.6.1). The first rule that fits holds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Beginning of the vendor, in any case of letters; what is empty fits all.
    pub vendor: String,
    /// Beginning of the hardware version.
    pub hardware: String,
    /// Beginning of the firmware.
    pub firmware: String,
    /// How they are treated.
    pub shares: Overrides,
}

impl Shares {
    fn with(&self, other: &Overrides) -> Self {
        Self {
            per_minute: other.per_minute.unwrap_or(self.per_minute),
            vardiff: other.vardiff.unwrap_or(self.vardiff),
            min_difficulty: other.min_difficulty.unwrap_or(self.min_difficulty),
            max_difficulty: other.max_difficulty.or(self.max_difficulty),
            start_difficulty: other.start_difficulty.or(self.start_difficulty),
            ..self.clone()
        }
    }

    /// Says which value makes no sense, or contradicts another one.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.per_minute.is_finite() && self.per_minute > 0.0) {
            return Err("shares.per_minute: expected a positive number".into());
        }
        if !(self.min_difficulty.is_finite() && self.min_difficulty >= 0.0) {
            return Err("shares.min_difficulty: expected 0 or a positive number".into());
        }
        let positive = |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value > 0.0);
        if !positive(self.max_difficulty) || !positive(self.start_difficulty) {
            let names = "shares.max_difficulty, shares.start_difficulty";
            return Err(format!("{names}: expected a positive number, or leave them out"));
        }
        let (least, most) = (self.min_difficulty, self.max_difficulty.unwrap_or(f64::INFINITY));
        if most < least {
            return Err(format!(
                "shares.max_difficulty: expected no less than shares.min_difficulty, {least}, got {most}"
            ));
        }
        // Targets are powers of two, and between the two there has to be one.
        let TargetBounds { easiest, hardest } = self.bounds();
        if easiest < hardest {
            return Err(format!(
                "shares.max_difficulty: difficulties go in steps of two, and none is between {least} and {most}; leave more room"
            ));
        }
        match self.start_difficulty.filter(|start| !(least..=most).contains(start)) {
            Some(start) => Err(format!("shares.start_difficulty: expected {least} to {most}, got {start}")),
            None => Ok(()),
        }
    }

    fn bounds(&self) -> TargetBounds {
        let easiest = Target::from_zero_bits(work_bits(self.min_difficulty).ceil() as u32);
        TargetBounds { easiest, hardest: self.max_difficulty.map_or(TargetBounds::NONE.hardest, not_harder) }
    }

    fn policy(&self, start: fn(Option<Target>) -> Start) -> TargetPolicy {
        let start = start(self.start_difficulty.map(not_harder));
        TargetPolicy { shares_per_minute: self.per_minute, bounds: self.bounds(), start }
    }
}

/// The targets of a listener's devices, and whether they follow what a channel delivers.
///
/// # Errors
/// A text that names the listener and what is wrong.
pub fn targets(shares: &Shares, listen: &Listen) -> Result<(TargetPolicies, bool), InvalidConfig> {
    let other = |text: String| InvalidConfig::Other(format!("listen {}: {text}", listen.label()));
    let port = shares.with(&listen.shares);
    port.check().map_err(other)?;
    let mut table = TargetPolicies::new(port.policy(Start::Nominal)).map_err(|error| other(error.to_string()))?;
    for (index, device) in listen.device.iter().enumerate() {
        let other = |text: String| other(format!("device {}: {text}", index + 1));
        let Device { vendor, hardware, firmware, shares } = device;
        if shares.vardiff.is_some() {
            return Err(other("shares.vardiff: expected it for the listener, not for a kind of device".into()));
        }
        let own = port.with(shares);
        own.check().map_err(other)?;
        let fixed = |start: Option<Target>| start.map_or(Start::Nominal(None), Start::Fixed);
        let policy = own.policy(if shares.start_difficulty.is_some() { fixed } else { Start::Nominal });
        let pattern = DevicePattern {
            vendor: vendor.as_str().into(),
            hardware_version: hardware.as_str().into(),
            firmware: firmware.as_str().into(),
        };
        table = table.with_rule(pattern, policy).map_err(|error| other(error.to_string()))?;
    }
    Ok((table, port.vardiff))
}

fn not_harder(difficulty: f64) -> Target {
    Target::from_zero_bits(work_bits(difficulty).floor() as u32)
}

/// Logarithm to base 2 of a difficulty's work, between 0 and 127.
fn work_bits(difficulty: f64) -> f64 {
    (difficulty * WORK_OF_DIFFICULTY_1 as f64).max(1.0).log2().min(127.0)
}

#[cfg(test)]
mod tests {
    use roles_logic_sv2::vardiff::policy;

    use super::*;
    use crate::testing::config;

    fn listener(change: impl FnOnce(&mut Listen)) -> Result<(TargetPolicies, bool), String> {
        let mut config = config();
        let mut listen = config.listen.remove(0);
        change(&mut listen);
        targets(&config.shares, &listen).map_err(|error| error.to_string())
    }

    #[test]
    fn a_listener_and_its_devices_differ_from_the_rest() {
        let (plain, vardiff) = listener(|_| {}).unwrap();
        assert_eq!((plain.port().bounds.easiest, vardiff), (Target::MAX, true), "the easiest that there is");
        let (table, vardiff) = listener(|listen| {
            listen.shares = Overrides {
                per_minute: Some(6.0),
                vardiff: Some(false),
                min_difficulty: Some(1.0),
                max_difficulty: Some(1024.0),
                start_difficulty: Some(64.0),
            };
            let shares = Overrides { start_difficulty: Some(2.0), ..Overrides::default() };
            listen.device = vec![Device { vendor: "bitaxe".into(), shares, ..Device::default() }];
        })
        .unwrap();
        assert!(!vardiff);
        let port = table.port();
        assert_eq!(port.shares_per_minute, 6.0);
        let bits = |target: Target| target.leading_zeros();
        // Difficulty 1 is a little more work than 2^32.
        assert_eq!((bits(port.bounds.easiest), bits(port.bounds.hardest)), (33, 42));
        assert_eq!(port.start, Start::Nominal(Some(Target::from_zero_bits(38))));
        let device = policy::Device { vendor: "Bitaxe Gamma", ..policy::Device::default() };
        let own = table.for_device(&device);
        assert_eq!((own.start, own.bounds), (Start::Fixed(Target::from_zero_bits(33)), port.bounds));
    }

    #[test]
    fn contradictions_are_explained() {
        let error = |shares: Overrides| listener(|listen| listen.shares = shares).unwrap_err();
        let none = Overrides::default;
        let crossed = error(Overrides { min_difficulty: Some(8.0), max_difficulty: Some(4.0), ..none() });
        assert!(crossed.contains("no less than shares.min_difficulty, 8, got 4"), "{crossed}");
        let narrow = error(Overrides { min_difficulty: Some(4.1), max_difficulty: Some(4.2), ..none() });
        assert!(narrow.contains("steps of two"), "{narrow}");
        let start = error(Overrides { min_difficulty: Some(8.0), start_difficulty: Some(4.0), ..none() });
        assert!(start.contains("start_difficulty: expected 8 to inf, got 4"), "{start}");
        let device = listener(|listen| {
            listen.name = Some("hobby".into());
            let shares = Overrides { vardiff: Some(false), ..Overrides::default() };
            listen.device = vec![Device { shares, ..Device::default() }];
        });
        let device = device.unwrap_err();
        assert!(device.starts_with("listen hobby: device 1: shares.vardiff"), "{device}");
    }
}
