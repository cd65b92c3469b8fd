//! One device on one pool, on virtual time.

use crate::{
    algorithms::{Algorithm, Controller},
    devices::{Delivery, Device},
    measure::RIGHT,
    random::Random,
};

/// Seconds between the jobs that a pool sends anyway.
const JOB_INTERVAL: f64 = 30.0;
/// Seconds from a pool's decision until shares of the new job arrive.
const ROUND_TRIP: f64 = 0.1;
/// Jobs that our pool sends a channel between those, at most.
const EXTRA_JOBS: u32 = 4;
/// Shares a second above which shares that change nothing come in bulk, and for how many seconds at a time.
const BULK: (f64, f64) = (10.0, 1.0);
/// Shares that arrive together are told to the algorithm in this many parts, give or take one.
const MOST_ARRIVALS: u64 = 500;

/// A change of the target, or a look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retarget {
    /// Logarithm to base 2 of a share's work, less that of the right one.
    pub before: f64,
    /// The same afterwards.
    pub after: f64,
}

impl Retarget {
    /// Whether it moved a right target, and not nearer to the best one.
    pub(crate) fn is_false(&self) -> bool {
        self.before.abs() <= RIGHT && self.after.abs() >= self.before.abs()
    }
}

pub(crate) struct World {
    pub now: f64,
    algorithm: Algorithm,
    controller: Box<dyn Controller>,
    device: Device,
    random: Random,
    /// What the scenario makes of the hashrate, and the device itself.
    pub scale: f64,
    factor: f64,
    factor_until: f64,
    /// Work of a share on the device's job.
    in_force: f64,
    next_job: f64,
    extra_jobs: u32,
    /// A job on its way.
    coming: Option<(f64, f64)>,
    next_timer: f64,
    /// Shares that were found but have not arrived: work and number. They arrive together.
    held: Vec<(f64, u64)>,
    held_until: f64,
    /// Shares that arrived.
    pub shares: u64,
    /// Those of them found on a target that was replaced.
    pub late: u64,
    pub retargets: Vec<Retarget>,
}

impl World {
    pub(crate) fn new(algorithm: Algorithm, device: &Device, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let controller = algorithm.start(device);
        let (factor, factor_until) = device.running.factor(0.0, &mut random);
        let (job_phase, timer_phase) = (random.uniform(), random.uniform());
        Self {
            now: 0.0,
            algorithm,
            in_force: controller.work(),
            controller,
            device: *device,
            scale: 1.0,
            factor,
            factor_until,
            next_job: JOB_INTERVAL * job_phase,
            extra_jobs: 0,
            coming: None,
            next_timer: algorithm.timer().map_or(f64::INFINITY, |interval| interval * timer_phase),
            held: Vec::new(),
            held_until: f64::INFINITY,
            shares: 0,
            late: 0,
            retargets: Vec::new(),
            random,
        }
    }

    /// How far the pool's target is from the right one, in powers of two; above 0 it is too hard.
    pub(crate) fn error(&self) -> f64 {
        self.error_of(self.controller.work())
    }

    /// The same for the target that the device works on.
    pub(crate) fn error_in_force(&self) -> f64 {
        self.error_of(self.in_force)
    }

    fn error_of(&self, work: f64) -> f64 {
        // A device that throttles within a minute is as fast as it is on average.
        let factor = match self.device.running {
            crate::devices::Running::Throttled { seconds, .. } if seconds <= 60.0 => 1.0,
            _ => self.factor,
        };
        let right = self.device.hashrate * self.scale * factor / self.algorithm.rate();
        (work / right.max(self.controller.least())).log2()
    }

    /// Runs until something happened: a share, a job, a timer, at most until `end`.
    pub(crate) fn step(&mut self, end: f64) {
        let rate = self.device.hashrate * self.scale * self.factor / self.in_force;
        let coming = self.coming.map_or(f64::INFINITY, |(at, _)| at);
        let next = [end, self.factor_until, self.next_job, self.next_timer, coming, self.held_until]
            .into_iter()
            .fold(f64::INFINITY, f64::min);
        let at_once = matches!(self.device.delivery, Delivery::AtOnce);
        let bulk = rate > BULK.0 && !(at_once && self.controller.cares_for(self.in_force));
        if bulk {
            let until = next.min(self.now + BULK.1);
            let count = self.random.poisson(rate * (until - self.now));
            self.now = until;
            if count > 0.0 {
                self.found(count as u64);
            }
        } else {
            let found = self.now + self.random.exponential() / rate;
            if found < next {
                self.now = found;
                return self.found(1);
            }
            self.now = next;
        }
        self.due();
    }

    fn found(&mut self, count: u64) {
        let arrival = self.device.delivery.arrival(self.now);
        if arrival <= self.now {
            return self.arrive(self.in_force, count);
        }
        match self.held.last_mut().filter(|(work, _)| *work == self.in_force) {
            Some((_, held)) => *held += count,
            None => self.held.push((self.in_force, count)),
        }
        self.held_until = arrival;
    }

    /// Whatever is due now.
    fn due(&mut self) {
        if self.now >= self.held_until {
            self.held_until = f64::INFINITY;
            for (work, mut count) in std::mem::take(&mut self.held) {
                let part = (count / MOST_ARRIVALS).max(1);
                while count > 0 {
                    self.arrive(work, part.min(count));
                    count -= part.min(count);
                }
            }
        }
        if let Some((_, work)) = self.coming.filter(|(at, _)| *at <= self.now) {
            self.in_force = work;
            self.coming = None;
        }
        if self.now >= self.next_job {
            self.in_force = self.controller.work();
            self.coming = None;
            self.extra_jobs = 0;
            self.next_job += JOB_INTERVAL;
        }
        if self.now >= self.factor_until {
            (self.factor, self.factor_until) = self.device.running.factor(self.now, &mut self.random);
        }
        if self.now >= self.next_timer {
            self.next_timer += self.algorithm.timer().unwrap_or(f64::INFINITY);
            let before = self.controller.work();
            self.controller.on_timer(self.now);
            self.changed(before);
        }
    }

    fn arrive(&mut self, work: f64, count: u64) {
        self.shares += count;
        let before = self.controller.work();
        if work != before {
            self.late += count;
        }
        self.controller.on_shares(self.now, work, count);
        self.changed(before);
    }

    fn changed(&mut self, before: f64) {
        let work = self.controller.work();
        if work == before {
            return;
        }
        self.retargets.push(Retarget { before: self.error_of(before), after: self.error_of(work) });
        if self.algorithm.sends_job() && self.extra_jobs < EXTRA_JOBS {
            self.extra_jobs += 1;
            self.coming = Some((self.now + ROUND_TRIP, work));
        }
    }
}
