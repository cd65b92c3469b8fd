//! What each device is put through, and what is counted.

use crate::{algorithms::Algorithm, devices::Device, world::World};

/// Powers of two that a target may be off and still count as right: the best step, which is up to half of one off, or one beside
/// it.
pub(crate) const RIGHT: f64 = 1.5;
/// Seconds after which a change counts as not followed.
pub(crate) const PATIENCE: f64 = 7_200.0;
/// Seconds of steady running in which retargets are counted.
const STEADY: f64 = 3_600.0;
/// Seconds between one change and the next.
const PAUSE: f64 = 300.0;

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It connects.
    Start,
    /// Ten times the hashrate.
    RiseBy10,
    /// A thousand times.
    RiseBy1000,
    /// Half of it is gone.
    FallByHalf,
    /// A tenth is left.
    FallBy10,
    /// A thousandth is left.
    FallBy1000,
}

impl Change {
    /// In the order in which they happen.
    pub const ALL: [Self; 6] =
        [Self::Start, Self::RiseBy10, Self::RiseBy1000, Self::FallByHalf, Self::FallBy10, Self::FallBy1000];

    const fn factor(self) -> f64 {
        match self {
            Self::Start => 1.0,
            Self::RiseBy10 => 10.0,
            Self::RiseBy1000 => 1e3,
            Self::FallByHalf => 0.5,
            Self::FallBy10 => 0.1,
            Self::FallBy1000 => 1e-3,
        }
    }
}

/// How a change was followed.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Whether the target was too easy at first; else it was too hard, or right.
    pub rising: bool,
    /// Whether it was right from the first.
    pub at_once: bool,
    /// Shares until the target was right; `None` if it never was.
    pub shares: Option<u64>,
    /// Seconds until then, or as long as was waited.
    pub seconds: f64,
    /// New targets until then.
    pub steps: u32,
    /// Shares until the device worked on a right one.
    pub shares_in_force: u64,
}

/// Everything about one device with one algorithm and all seeds.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// By change, one entry a seed.
    pub reached: [Vec<Reached>; Change::ALL.len()],
    /// Steady running.
    pub totals: Totals,
}

/// Sums over steady running.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Hours that were run.
    pub hours: f64,
    /// New targets that were no better, although the one in force was right.
    pub false_retargets: u64,
    /// New targets in all.
    pub retargets: u64,
    /// Shares.
    pub shares: u64,
    /// Shares found on a target that was replaced.
    pub late: u64,
}

impl Totals {
    /// Adds another device's.
    pub fn add(&mut self, other: &Self) {
        self.hours += other.hours;
        self.false_retargets += other.false_retargets;
        self.retargets += other.retargets;
        self.shares += other.shares;
        self.late += other.late;
    }

    /// A number of these per hour and device.
    pub fn per_hour(&self, count: u64) -> f64 {
        count as f64 / self.hours.max(f64::MIN_POSITIVE)
    }
}

/// Runs one device with seeds `first..first + seeds`.
pub fn simulate(algorithm: Algorithm, device: &Device, first: u64, seeds: u64) -> Results {
    let mut results = Results::default();
    for seed in first..first + seeds {
        run(&mut World::new(algorithm, device, seed), &mut results);
    }
    results
}

fn run(world: &mut World, results: &mut Results) {
    for (change, all) in Change::ALL.into_iter().zip(&mut results.reached) {
        world.scale *= change.factor();
        let reached = follow(world);
        all.push(reached);
        if reached.shares.is_none() {
            // It is not served; what comes next would measure nothing.
            return;
        }
        pass(world, PAUSE);
        if change == Change::Start {
            let totals = steady(world);
            results.totals.add(&totals);
        }
    }
}

/// Runs until the target is right, then until the device has it.
fn follow(world: &mut World) -> Reached {
    let (start, shares) = (world.now, world.shares);
    let end = start + PATIENCE;
    let (rising, at_once) = (world.error() < -RIGHT, world.error().abs() <= RIGHT);
    world.retargets.clear();
    while world.error().abs() > RIGHT && world.now < end {
        world.step(end);
    }
    let mut reached = Reached {
        rising,
        at_once,
        shares: (world.error().abs() <= RIGHT).then_some(world.shares - shares),
        seconds: world.now - start,
        steps: u32::try_from(world.retargets.len()).unwrap_or(u32::MAX),
        shares_in_force: 0,
    };
    while world.error_in_force().abs() > RIGHT && world.now < end {
        world.step(end);
    }
    reached.shares_in_force = world.shares - shares;
    reached
}

fn steady(world: &mut World) -> Totals {
    let (shares, late) = (world.shares, world.late);
    world.retargets.clear();
    pass(world, STEADY);
    Totals {
        hours: STEADY / 3_600.0,
        false_retargets: world.retargets.iter().filter(|retarget| retarget.is_false()).count() as u64,
        retargets: world.retargets.len() as u64,
        shares: world.shares - shares,
        late: world.late - late,
    }
}

fn pass(world: &mut World, seconds: f64) {
    let end = world.now + seconds;
    while world.now < end {
        world.step(end);
    }
}

/// How far the target is off at regular times, for the plot: the median over seeds, in powers of two.
pub(crate) fn trace(algorithm: Algorithm, device: &Device, changes: &[(f64, f64)], end: f64, seeds: u64) -> Vec<f64> {
    const EVERY: f64 = 15.0;
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for seed in 0..seeds {
        let mut world = World::new(algorithm, device, seed);
        let mut changes = changes.iter().peekable();
        for i in 0..=(end / EVERY) as usize {
            let until = i as f64 * EVERY;
            while world.now < until {
                world.step(until);
            }
            while let Some((_, factor)) = changes.next_if(|(at, _)| *at <= until) {
                world.scale *= factor;
            }
            if columns.len() <= i {
                columns.push(Vec::new());
            }
            columns[i].push(world.error());
        }
    }
    columns.iter_mut().map(|column| percentile(column, 0.5)).collect()
}

/// A percentile, by its rank; NaN of nothing.
pub(crate) fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (part * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
