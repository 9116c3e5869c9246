//! The registers of one group: a short list while few are set, one byte each from then on.

/// Registers of one group. `Few` and `All` hold the same information; which it is depends on how many are set.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Registers {
    /// `register << 8 | value` of those that are not 0, in no order.
    Few(Vec<u32>),
    /// The value of every register.
    All(Box<[u8]>),
}

impl Default for Registers {
    fn default() -> Self {
        Registers::Few(Vec::new())
    }
}

impl Registers {
    /// Takes in one hash.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, precision: u32) {
        let register = (hash >> (64 - precision)) as u32;
        // The bit set below the hash bounds the count of zeros at 64 − precision.
        let value = ((hash << precision) | (1 << (precision - 1))).leading_zeros() as u8 + 1;
        self.raise(register, value, precision);
    }

    #[inline]
    fn raise(&mut self, register: u32, value: u8, precision: u32) {
        match self {
            Registers::All(values) => {
                let held = &mut values[register as usize];
                *held = (*held).max(value);
            }
            Registers::Few(few) => {
                if let Some(held) = few.iter_mut().find(|held| **held >> 8 == register) {
                    *held = (*held).max(register << 8 | u32::from(value));
                } else if few.len() < few_max(precision) {
                    few.push(register << 8 | u32::from(value));
                } else {
                    let mut all = vec![0; 1 << precision].into_boxed_slice();
                    few.iter().for_each(|held| all[(held >> 8) as usize] = *held as u8);
                    all[register as usize] = value;
                    *self = Registers::All(all);
                }
            }
        }
    }

    /// The registers of both: each the larger of the two.
    pub(super) fn merge(&mut self, other: &Registers, precision: u32) {
        match other {
            Registers::Few(few) => few.iter().for_each(|held| self.raise(held >> 8, *held as u8, precision)),
            Registers::All(others) => match self {
                Registers::All(values) => {
                    values.iter_mut().zip(others).for_each(|(value, other)| *value = (*value).max(*other));
                }
                Registers::Few(few) => {
                    let few = std::mem::take(few);
                    *self = Registers::All(others.clone());
                    few.iter().for_each(|held| self.raise(held >> 8, *held as u8, precision));
                }
            },
        }
    }

    /// How many are 0, and the sum of 2^−value over all.
    pub(super) fn summary(&self, precision: u32) -> (usize, f64) {
        match self {
            Registers::Few(few) => {
                let empty = (1 << precision) - few.len();
                (empty, empty as f64 + few.iter().map(|held| inverse_power(*held as u8)).sum::<f64>())
            }
            Registers::All(values) => {
                let mut empty = 0;
                let mut sum = 0.0;
                for &value in values {
                    empty += usize::from(value == 0);
                    sum += inverse_power(value);
                }
                (empty, sum)
            }
        }
    }

    /// For snapshots: one byte a register, or three bytes for each that is set; a power of two is never a multiple of three,
    /// so the length tells which.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Registers::Few(few) => {
                let mut few = few.clone();
                few.sort_unstable();
                few.iter().flat_map(|held| ((held >> 8) << 6 | (held & 0x3f)).to_be_bytes()[1..].to_vec()).collect()
            }
            Registers::All(values) => values.to_vec(),
        }
    }

    /// `None` when the bytes are not registers of this precision.
    pub(super) fn from_bytes(bytes: &[u8], precision: u32) -> Option<Self> {
        if bytes.len() == 1 << precision {
            return Some(Registers::All(bytes.into()));
        }
        let triples = bytes.chunks_exact(3);
        if !triples.remainder().is_empty() || triples.len() > few_max(precision) {
            return None;
        }
        let few = triples.map(|triple| {
            let packed = u32::from_be_bytes([0, triple[0], triple[1], triple[2]]);
            (packed >> 6) << 8 | (packed & 0x3f)
        });
        let few: Vec<u32> = few.collect();
        few.iter().all(|held| held >> 8 < 1 << precision).then_some(Registers::Few(few))
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Registers::Few(few) => few.capacity() * size_of::<u32>(),
            Registers::All(values) => values.len(),
        }
    }
}

/// Set registers up to which the list is kept: a quarter of the memory of all, and short enough to search.
fn few_max(precision: u32) -> usize {
    ((1_usize << precision) / 16).clamp(1, 64)
}

fn inverse_power(value: u8) -> f64 {
    f64::from_bits((1023 - u64::from(value)) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of well-spread numbers (splitmix64).
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|i| {
            let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    fn of(precision: u32, hashes: impl Iterator<Item = u64>) -> Registers {
        let mut registers = Registers::default();
        hashes.for_each(|hash| registers.add(hash, precision));
        registers
    }

    #[test]
    fn a_value_is_one_more_than_the_zeros_after_the_register_bits() {
        for (hash, register, value) in
            [(u64::MAX, 511, 1), (0, 0, 56), (1 << 54, 0, 1), (1 << 53, 0, 2), (1 << 55 | 1, 1, 55), (1, 0, 55)]
        {
            assert_eq!(of(9, [hash].into_iter()), Registers::Few(vec![register << 8 | value]), "{hash:x}");
        }
    }

    #[test]
    fn merging_is_the_same_as_adding_all() {
        for precision in [4, 9, 12] {
            for (left, right) in [(0, 0), (3, 0), (0, 900), (3, 4), (20, 900), (900, 20), (5000, 7000)] {
                let mut merged = of(precision, hashes(left));
                merged.merge(&of(precision, hashes(left + right).skip(left as usize)), precision);
                let all = of(precision, hashes(left + right));
                assert_eq!(merged.summary(precision), all.summary(precision), "{precision}: {left} + {right}");
            }
        }
    }

    #[test]
    fn bytes_round_trip() {
        for precision in [4, 9, 18] {
            for count in [0, 1, 10, 31, 32, 33, 5000] {
                let registers = of(precision, hashes(count));
                let read = Registers::from_bytes(&registers.to_bytes(), precision).expect("own bytes");
                assert_eq!(read.summary(precision), registers.summary(precision), "{precision}: {count}");
            }
        }
        assert_eq!(Registers::from_bytes(&[0; 4], 9), None);
        assert_eq!(Registers::from_bytes(&[255; 3], 9), None);
    }
}
