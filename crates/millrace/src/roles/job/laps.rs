//! Where the time of a round of a job goes: what an engineer asks who wonders why a row came late.

use std::time::{Duration, Instant};

/// A round that works longer than this is told of, at level debug.
const SLOW: Duration = Duration::from_millis(150);

/// The phases of a round, one after the other.
pub(super) struct Laps {
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Laps {
    pub(super) fn new() -> Self {
        Laps { last: Instant::now(), laps: Vec::with_capacity(8) }
    }

    /// A phase has ended; the next begins.
    pub(super) fn lap(&mut self, phase: &'static str) {
        let now = Instant::now();
        self.laps.push((phase, now - self.last));
        self.last = now;
    }

    /// Time passes that is not worked: waiting for records.
    pub(super) fn skip(&mut self) {
        self.last = Instant::now();
    }

    /// The round has ended.
    pub(super) fn end(&mut self, job: &str) {
        let all: Duration = self.laps.iter().map(|(_, took)| *took).sum();
        if all > SLOW {
            let told: Vec<String> =
                self.laps.iter().map(|(phase, took)| format!("{phase} {}", took.as_millis())).collect();
            tracing::debug!(job, millis = all.as_millis() as u64, phases = told.join(", "), "a slow round");
        }
        self.laps.clear();
        self.skip();
    }
}
