//! Values of features as small numbers: fixed, the same for every shop, fine where small differences tell.

/// Bins of a feature; the last one is for what is not known.
pub(super) const BINS: usize = 64;
/// What is not known.
pub(super) const UNKNOWN: u8 = (BINS - 1) as u8;
/// Steps of the logarithm: four to a doubling around one, as far as there are bins.
const STEPS_A_DOUBLING: f32 = 4.0;

/// The bin of a value: halves up to 4, then four steps a doubling, to about a hundred thousand.
pub(super) fn bin(value: f32) -> u8 {
    if value.is_nan() {
        return UNKNOWN;
    }
    let at = match value {
        below if below < -1.0 => 0.0,
        below if below < 0.0 => 1.0,
        small if small <= 0.0 => 2.0,
        rate if rate < 0.25 => 3.0,
        rate if rate < 0.5 => 4.0,
        rate if rate < 0.75 => 5.0,
        rate if rate < 1.0 => 6.0,
        large => 7.0 + large.log2() * STEPS_A_DOUBLING,
    };
    at.min(f32::from(UNKNOWN) - 1.0) as u8
}
