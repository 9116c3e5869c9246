//! Who judges the past again, with other rules and thresholds beside those that run: the code of `millrace fraud backtest`, handed in
//! by whoever starts the page.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::Value;

use super::Refused;
use crate::answer::Problem;

/// Who makes backtests: one at a time, in the background. None of these waits.
pub trait Backtests: Send + Sync {
    /// The newest one: `state` (none, running, done, failed, stopped), what was asked, how far it is or what it came to; and the
    /// `rules` that can be named.
    fn backtest(&self) -> Value;

    /// Begins one; gives what [`backtest`](Self::backtest) says of it.
    ///
    /// # Errors
    /// What is wrong with it, or that another is running.
    fn begin(&self, asked: &Value) -> Result<Value, Refused>;

    /// Ends the one that is running.
    ///
    /// # Errors
    /// None is.
    fn stop(&self, by: &str) -> Result<Value, Refused>;
}

/// Who makes them here.
pub(crate) fn backtests(backtests: Option<&Arc<dyn Backtests>>) -> Result<&dyn Backtests, Problem> {
    backtests.map(|backtests| &**backtests).ok_or_else(|| {
        let detail = "this server has no lake and no cluster to read; `millrace up` and `millrace dashboard` have, and so has \
                      `millrace fraud backtest`";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}
