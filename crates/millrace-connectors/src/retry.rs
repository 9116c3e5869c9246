//! The dice and the clock of retrying; the decision itself is `millrace_model::retry`.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_model::Timestamp;

/// A roll in 0..1: good enough to keep clients out of step, and no more is asked of it.
pub(crate) fn jitter() -> f64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    f64::from(nanos % 1_000_000) / 1_000_000.0
}

/// The time by the system's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
