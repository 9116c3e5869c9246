//! From what the registers hold to a number of distinct values: the estimator of HyperLogLog++, as Spark computes it.

use super::biases::BIASES;
use super::cardinalities::CARDINALITIES;

/// Precisions (bits of the hash that choose a register) with a bias table.
pub(super) const PRECISION_MIN: u32 = 4;
pub(super) const PRECISION_MAX: u32 = 18;

/// Biases averaged around an estimate.
const NEIGHBOURS: usize = 6;

/// Up to this many values, by precision − 4, counting empty registers is the better estimate.
const LINEAR_COUNTING_MAX: [f64; 15] =
    [10., 20., 40., 80., 220., 400., 900., 1800., 3100., 6500., 15500., 20000., 50000., 120000., 350000.];

/// The precision that keeps the relative standard deviation at or below `deviation`.
///
/// # Errors
/// Spark's error when no precision from 4 to 18 does.
pub(super) fn precision(deviation: f64) -> Result<u32, String> {
    let bits = (2.0 * (1.106 / deviation).ln() / 2.0_f64.ln()).ceil();
    if (f64::from(PRECISION_MIN)..=f64::from(PRECISION_MAX)).contains(&bits) {
        return Ok(bits as u32);
    }
    Err(format!(
        "approx_count_distinct: a relative standard deviation of {deviation} is out of range; hint: give one from 0.003 to 0.39 \
         (without it: 0.05)"
    ))
}

/// The estimate for `1 << precision` registers of which `empty` are 0, where `inverse_sum` is the sum of 2^−register.
pub(super) fn estimate(precision: u32, empty: usize, inverse_sum: f64) -> i64 {
    let registers = (1_u32 << precision) as f64;
    let alpha = match precision {
        4 => 0.673,
        5 => 0.697,
        6 => 0.709,
        _ => 0.7213 / (1.0 + 1.079 / registers),
    };
    let raw = alpha * registers * registers / inverse_sum;
    let row = (precision - PRECISION_MIN) as usize;
    let mut estimate = if raw < 5.0 * registers { raw - bias(row, raw) } else { raw };
    if empty > 0 {
        let linear = registers * (registers / empty as f64).ln();
        if linear <= LINEAR_COUNTING_MAX[row] || raw <= 2.5 * registers {
            estimate = linear;
        }
    }
    (estimate + 0.5).floor() as i64
}

/// The mean bias at the six measured raw estimates nearest to this one.
fn bias(row: usize, raw: f64) -> f64 {
    let biases = BIASES[row];
    let measured = |i: usize| f64::from(CARDINALITIES[row][i]) + biases[i];
    let distance = |i: usize| (raw - measured(i)).powi(2);
    // Some measured estimates are not in order, so the way of halving decides: this is the usual one, with a closed range.
    let (mut nearest, mut end) = (0, biases.len());
    while nearest < end {
        let middle = (nearest + end - 1) / 2;
        if measured(middle) < raw { nearest = middle + 1 } else { end = middle }
    }
    let mut low = (nearest + 1).saturating_sub(NEIGHBOURS);
    let mut high = (low + NEIGHBOURS).min(biases.len());
    while high < biases.len() && distance(high) < distance(low) {
        low += 1;
        high += 1;
    }
    biases[low..high].iter().sum::<f64>() / (high - low) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_of_a_deviation() {
        for (deviation, bits) in [(0.05, 9), (0.39, 4), (0.01, 14), (0.02, 12), (0.003, 18)] {
            assert_eq!(precision(deviation), Ok(bits), "{deviation}");
        }
        for wrong in [0.4, 0.9, 0.001, 0.0, -1.0, f64::NAN] {
            assert!(precision(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn empty_registers_are_counted_while_few_values_came() {
        // 512 registers: n = 512 · ln(512 / empty).
        for (empty, expected) in [(512, 0), (511, 1), (510, 2), (502, 10), (420, 101), (256, 355)] {
            let inverse_sum = empty as f64 + (512 - empty) as f64 * 0.5;
            assert_eq!(estimate(9, empty, inverse_sum), expected, "{empty} empty");
        }
    }

    #[test]
    fn the_tables_are_sorted_and_of_equal_length() {
        for (cardinalities, biases) in CARDINALITIES.iter().zip(&BIASES) {
            assert_eq!(cardinalities.len(), biases.len());
            assert!(cardinalities.is_sorted() && biases.len() > NEIGHBOURS);
        }
    }
}
