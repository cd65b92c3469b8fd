//! Numbers that only look random: the same for the same seed everywhere.

/// xorshift64*, which is good enough for waiting times.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Seeds that differ in one bit give sequences that have nothing in common.
    pub(crate) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// Above 0, at most 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Normally distributed with mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Poisson distributed; for a large mean by the normal distribution.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 100.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (mut count, mut sum) = (0.0, self.exponential());
        while sum < mean {
            count += 1.0;
            sum += self.exponential();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let mut random = Random::new(1);
        let n = 100_000;
        let mut mean = |mut draw: Box<dyn FnMut(&mut Random) -> f64>| {
            (0..n).map(|_| draw(&mut random)).sum::<f64>() / f64::from(n)
        };
        assert!((mean(Box::new(Random::uniform)) - 0.5).abs() < 0.01);
        assert!((mean(Box::new(Random::exponential)) - 1.0).abs() < 0.02);
        assert!(mean(Box::new(Random::normal)).abs() < 0.02);
        assert!((mean(Box::new(|r| r.normal().powi(2))) - 1.0).abs() < 0.03);
        assert!((mean(Box::new(|r| r.poisson(3.0))) - 3.0).abs() < 0.05);
        assert!((mean(Box::new(|r| r.poisson(300.0))) - 300.0).abs() < 1.0);
    }
}
