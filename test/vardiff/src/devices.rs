//! The devices that are simulated.

use crate::random::Random;

/// A kind of device.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// What it is.
    pub name: &'static str,
    /// Hashes per second that it does on average.
    pub hashrate: f64,
    /// Hashes per second that it claims; 0 when it claims nothing.
    pub nominal: f64,
    pub(crate) running: Running,
    pub(crate) delivery: Delivery,
}

impl Device {
    /// Whether shares arrive one by one at a rate that lasts longer than it takes to measure it. If not, no count of shares says
    /// how good an algorithm is: a batch is as large as it is.
    pub fn is_regular(&self) -> bool {
        let lasting = !matches!(self.running, Running::Throttled { seconds, .. } if seconds <= 60.0);
        lasting && matches!(self.delivery, Delivery::AtOnce)
    }
}

/// How its hashrate changes over time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Running {
    /// Not at all.
    Steady,
    /// By these factors in turn, each for so many seconds.
    Throttled { factors: &'static [f64], seconds: f64 },
    /// Many devices behind one channel, a few of which come and go each minute: a new factor with this deviation.
    Aggregate { deviation: f64 },
}

impl Running {
    /// The factor from `now` on, and until when.
    pub(crate) fn factor(self, now: f64, random: &mut Random) -> (f64, f64) {
        match self {
            Self::Steady => (1.0, f64::INFINITY),
            Self::Throttled { factors, seconds } => {
                let turn = (now / seconds + 1e-9).floor();
                (factors[turn as usize % factors.len()], (turn + 1.0) * seconds)
            }
            Self::Aggregate { deviation } => ((1.0 + deviation * random.normal()).max(0.1), now + 60.0),
        }
    }
}

/// When its shares arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery {
    /// When they are found.
    AtOnce,
    /// Together, at the end of every so many seconds.
    Batches { seconds: f64 },
    /// When they are found, except that the connection stalls for `seconds` in every `every` seconds.
    Stalls { every: f64, seconds: f64 },
}

impl Delivery {
    /// When a share arrives that is found at `now`.
    pub(crate) fn arrival(self, now: f64) -> f64 {
        match self {
            Self::AtOnce => now,
            Self::Batches { seconds } => (now / seconds).ceil() * seconds,
            Self::Stalls { every, seconds } => {
                let start = (now / every).floor() * every;
                now.max(if now < start + seconds { start + seconds } else { now })
            }
        }
    }
}

const fn steady(name: &'static str, hashrate: f64, nominal: f64) -> Device {
    Device { name, hashrate, nominal, running: Running::Steady, delivery: Delivery::AtOnce }
}

const fn throttled(name: &'static str, hashrate: f64, nominal: f64, factors: &'static [f64], seconds: f64) -> Device {
    Device { running: Running::Throttled { factors, seconds }, ..steady(name, hashrate, nominal) }
}

/// The twenty devices of the table in `docs/vardiff.md`.
pub const DEVICES: [Device; 20] = [
    steady("microcontroller, 50 kH/s", 50e3, 50e3),
    steady("microcontroller, 80 kH/s, claims 1 TH/s", 80e3, 1e12),
    steady("microcontroller, 400 kH/s", 400e3, 350e3),
    steady("old CPU, 100 kH/s, claims nothing", 100e3, 0.0),
    steady("USB stick, 300 MH/s", 300e6, 333e6),
    steady("old ASIC, 12 GH/s", 12e9, 10e9),
    steady("hobby ASIC, 480 GH/s, claims 1 TH/s", 480e9, 1e12),
    steady("hobby ASIC, 1.2 TH/s, claims 1 TH/s", 1.2e12, 1e12),
    steady("hobby ASIC, 4.8 TH/s, claims 1 TH/s", 4.8e12, 1e12),
    throttled("hobby ASIC, 3 TH/s, heat: ×1.2 and ×0.8, 10 min each", 3e12, 3e12, &[1.2, 0.8], 600.0),
    steady("home ASIC, 14 TH/s", 14e12, 14e12),
    steady("ASIC, 104 TH/s, claims 1 TH/s", 104e12, 1e12),
    throttled("ASIC, 95 TH/s, power plan: ×1, ×0.7, ×0.5, 20 min each", 95e12, 95e12, &[1.0, 0.7, 0.5], 1_200.0),
    throttled("ASIC, 110 TH/s, fast throttle: ×1.5, ×0.5, 1 min each", 110e12, 110e12, &[1.5, 0.5], 60.0),
    Device {
        delivery: Delivery::Batches { seconds: 10.0 },
        ..steady("ASIC, 140 TH/s, shares in batches of 10 s", 140e12, 140e12)
    },
    Device {
        delivery: Delivery::Stalls { every: 300.0, seconds: 30.0 },
        ..steady("ASIC, 200 TH/s, connection stalls 30 s in 5 min", 200e12, 234e12)
    },
    Device { running: Running::Aggregate { deviation: 0.1 }, ..steady("proxy, 20 devices, 2 PH/s", 2e15, 2e15) },
    Device {
        running: Running::Aggregate { deviation: 0.02 },
        delivery: Delivery::Batches { seconds: 2.0 },
        ..steady("proxy, 300 devices, 30 PH/s, claims ten times too little", 30e15, 3e15)
    },
    Device {
        running: Running::Aggregate { deviation: 0.02 },
        ..steady("proxy, 1,000 devices, 100 PH/s", 100e15, 100e15)
    },
    Device {
        running: Running::Aggregate { deviation: 0.02 },
        ..steady("proxy, 1,000 devices, 100 PH/s, claims 1 TH/s", 100e15, 1e12)
    },
];
