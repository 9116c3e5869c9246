//! The only source of chance: one generator, seeded, with the few throws the shop needs.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A bijection on 64 bits that scatters neighbours (the finaliser of splitmix64, Steele, Lea and Flood 2014).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seeded generator. Two shops that throw the same dice in the same order are the same shop.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Dice of a seed; other streams of the same seed are independent.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Dice(Xoshiro256PlusPlus::seed_from_u64(scatter(seed) ^ stream))
    }

    /// For `fake`, which wants a generator.
    pub(crate) fn generator(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.0
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `low..high`; `low` when the range is empty.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(0).unsigned_abs();
        low + ((u128::from(self.bits()) * u128::from(span)) >> 64) as i64
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A waiting time: a quarter of `mean` for certain, the rest exponential, at most six times the mean.
    pub(crate) fn think(&mut self, mean: i64) -> i64 {
        let exponential = -(1.0 - self.unit()).ln();
        let factor = (0.25 + 0.75 * exponential).min(6.0);
        (mean as f64 * factor) as i64
    }

    /// One of `items`, all equally likely.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u32) as usize]
    }

    /// `mean` on average, an integer next to it: how many arrivals fall into a second.
    pub(crate) fn round(&mut self, mean: f64) -> u32 {
        (mean.max(0.0) + self.unit()) as u32
    }
}

/// Draws an index by weight in constant time (Vose's alias method, 1991).
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    keep: Vec<f32>,
    other: Vec<u32>,
}

impl Weighted {
    pub(crate) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * weights.len() as f64 / total).collect();
        let mut keep = vec![1.0; weights.len()];
        let mut other: Vec<u32> = (0..weights.len() as u32).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|&at| scaled[at] < 1.0);
        while let (Some(low), Some(high)) = (small.pop(), large.pop()) {
            keep[low] = scaled[low] as f32;
            other[low] = high as u32;
            scaled[high] -= 1.0 - scaled[low];
            if scaled[high] < 1.0 { small.push(high) } else { large.push(high) }
        }
        Weighted { keep, other }
    }

    pub(crate) fn draw(&self, dice: &mut Dice) -> u32 {
        let at = dice.below(self.keep.len() as u32) as usize;
        if dice.unit() < f64::from(self.keep[at]) { at as u32 } else { self.other[at] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_in_range() {
        let mut dice = Dice::new(7, 0);
        for _ in 0..10_000 {
            assert!(dice.below(3) < 3);
            assert!((-5..5).contains(&dice.between(-5, 5)));
            assert!((250..=6_000).contains(&dice.think(1_000)));
        }
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.between(4, 4), 4);
    }

    #[test]
    fn weights_hold() {
        let mut dice = Dice::new(7, 0);
        let table = Weighted::new(&[1.0, 3.0, 6.0]);
        let mut counts = [0; 3];
        for _ in 0..100_000 {
            counts[table.draw(&mut dice) as usize] += 1;
        }
        for (count, share) in counts.into_iter().zip([0.1, 0.3, 0.6]) {
            assert!((f64::from(count) / 100_000.0 - share).abs() < 0.01, "{counts:?}");
        }
    }
}
