//! When to try again: exponential back-off with jitter, as a pure decision.

use std::time::Duration;

use crate::ErrorKind;

/// How often and how long an operation is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Wait after the first failure.
    pub backoff_min: Duration,
    /// Longest wait between two tries.
    pub backoff_max: Duration,
    /// Tries before giving up; `None` goes on for ever (a sink waits for its database to come back).
    pub attempts_max: Option<u32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(15),
            attempts_max: None,
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryDecision {
    /// Wait this long, then try again.
    After(Duration),
    /// Report the error.
    GiveUp,
}

/// Decides after the `failures`-th failure in a row (1 = the first). `jitter` is a dice roll in 0..=1: the wait is
/// between half and all of the exponential back-off, so that many clients do not come back in step.
pub fn after_failure(policy: &RetryPolicy, kind: ErrorKind, failures: u32, jitter: f64) -> RetryDecision {
    let exhausted = policy.attempts_max.is_some_and(|max| failures >= max);
    if kind != ErrorKind::Unavailable || exhausted {
        return RetryDecision::GiveUp;
    }
    let doublings = failures.saturating_sub(1).min(20);
    let full = policy.backoff_min.saturating_mul(1 << doublings).min(policy.backoff_max);
    RetryDecision::After(full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let policy = RetryPolicy { attempts_max: Some(5), ..RetryPolicy::default() };
        let after = |millis| RetryDecision::After(Duration::from_millis(millis));
        for (kind, failures, jitter, expected) in [
            (ErrorKind::Unavailable, 1, 1.0, after(100)),
            (ErrorKind::Unavailable, 1, 0.0, after(50)),
            (ErrorKind::Unavailable, 4, 1.0, after(800)),
            (ErrorKind::Unavailable, 5, 1.0, RetryDecision::GiveUp),
            (ErrorKind::Invalid, 1, 1.0, RetryDecision::GiveUp),
            (ErrorKind::Fenced, 1, 1.0, RetryDecision::GiveUp),
        ] {
            assert_eq!(after_failure(&policy, kind, failures, jitter), expected, "{kind} {failures}");
        }
        let forever = RetryPolicy::default();
        assert_eq!(after_failure(&forever, ErrorKind::Unavailable, u32::MAX, 1.0), after(15_000));
    }
}
