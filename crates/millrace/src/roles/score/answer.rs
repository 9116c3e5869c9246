//! Questions that come over HTTP: what would be said of a payment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use millrace_dashboard::service::{Refused, Scores};
use millrace_intelligence::fraud::live::Transaction;
use millrace_model::Timestamp;
use serde_json::Value;

use super::records::row;
use super::{Score, Shared};

/// The handle of the front door.
pub(crate) fn scores(score: &Score) -> Arc<dyn Scores> {
    score.shared.clone()
}

impl Scores for Shared {
    fn score(&self, payment: &[u8]) -> Result<Value, Refused> {
        let mut transaction: Transaction = serde_json::from_slice(payment)
            .map_err(|error| Refused::Invalid(format!("the body is no payment as `transactions` has them: {error}")))?;
        let now = Timestamp::from_system_time(SystemTime::now());
        let time = match &transaction.event_time {
            None => now,
            Some(text) => Timestamp::parse(text.as_bytes()).ok_or_else(|| {
                Refused::Invalid(format!("`event_time` is `{text}`; write RFC 3339, for example 2026-01-31T12:00:00Z"))
            })?,
        };
        if transaction.amount_minor.is_none_or(|amount| amount < 0) {
            return Err(Refused::Invalid(
                "`amount_minor` is missing: the amount in minor units, a whole number".into(),
            ));
        }
        let payer = [&transaction.card_token, &transaction.user_id, &transaction.device_id, &transaction.email_hash];
        if payer.iter().all(|name| name.is_none()) && transaction.ip.is_none() {
            let text = "nothing says who pays: give card_token, user_id, device_id, ip or email_hash";
            return Err(Refused::Invalid(text.into()));
        }
        transaction.event_type = "payment_authorized".into();
        let judgement = self.state().judge.look(&transaction, time.0);
        let mut told = serde_json::to_value(row(&transaction, &judgement))
            .map_err(|error| Refused::Unavailable(format!("the answer cannot be written: {error}")))?;
        told["caught_up"] = self.caught_up.load(Ordering::Relaxed).into();
        Ok(told)
    }
}
