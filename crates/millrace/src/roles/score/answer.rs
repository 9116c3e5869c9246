//! Questions that come over HTTP: what would be said of a payment, and what an analyst says of one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use millrace_connectors::kafka::producer::Outgoing;
use millrace_dashboard::service::{Refused, Scores};
use millrace_intelligence::fraud::live::Transaction;
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::records::{VERDICTS, row};
use super::{Score, Shared};

/// Longest wait for the cluster to take a verdict.
const VERDICT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest comment, bytes.
const COMMENT_BYTES_MAX: usize = 4_096;

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

    fn verdict(&self, body: &[u8]) -> Result<Value, Refused> {
        let told: Value =
            serde_json::from_slice(body).map_err(|error| Refused::Invalid(format!("the body is no JSON: {error}")))?;
        let row = verdict_row(&told, Timestamp::from_system_time(SystemTime::now())).map_err(Refused::Invalid)?;
        send(&self.producer, &row).map_err(|error| Refused::Unavailable(error.to_string()))?;
        Ok(row)
    }
}

/// Produces a verdict and waits until the cluster has it. It blocks.
///
/// # Errors
/// Kafka.
pub(crate) fn send(
    producer: &millrace_connectors::kafka::producer::Producer,
    row: &Value,
) -> Result<(), millrace_connectors::kafka::KafkaError> {
    let key = row["payment_id"].as_str().unwrap_or_default().as_bytes().to_vec();
    let value = row.to_string();
    let outgoing =
        Outgoing { topic: VERDICTS, partition: None, key: Some(&key), value: Some(value.as_bytes()), time: None };
    producer.send(outgoing, VERDICT_WAIT_MAX)?;
    producer.flush(VERDICT_WAIT_MAX)
}

/// A row of `fraud_verdicts` from what somebody said.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verdict_row(told: &Value, now: Timestamp) -> Result<Value, String> {
    const FIELDS: [&str; 5] = ["payment_id", "verdict", "assigned_to", "comment", "decided_by"];
    let object = told.as_object().ok_or("a verdict is an object")?;
    if let Some(unknown) = object.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("`{unknown}` is no field of a verdict; there are {}", FIELDS.join(", ")));
    }
    let text = |name: &str| -> Result<Option<&str>, String> {
        match &told[name] {
            Value::Null => Ok(None),
            Value::String(text) if text.len() <= COMMENT_BYTES_MAX => {
                Ok(Some(text.as_str()).filter(|text| !text.is_empty()))
            }
            _ => Err(format!("`{name}` is a text of at most {COMMENT_BYTES_MAX} bytes")),
        }
    };
    let payment = text("payment_id")?.ok_or("`payment_id` is missing: the decision_id of an alert")?;
    let by = text("decided_by")?.ok_or("`decided_by` is missing: who says it")?;
    let verdict = text("verdict")?;
    if verdict.is_some_and(|verdict| !["fraud", "good"].contains(&verdict)) {
        return Err("`verdict` is fraud or good".into());
    }
    Ok(
        json!({ "payment_id": payment, "verdict": verdict, "assigned_to": text("assigned_to")?, "comment": text("comment")?,
        "decided_at": now, "decided_by": by }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_checked() {
        let now = Timestamp(0);
        let row =
            verdict_row(&json!({ "payment_id": "p", "verdict": "good", "decided_by": "ann" }), now).expect("a verdict");
        assert_eq!(
            (&row["verdict"], &row["comment"], &row["decided_at"]),
            (&json!("good"), &Value::Null, &json!("1970-01-01T00:00:00.000000Z"))
        );
        for (wrong, told) in [
            (json!([]), "is an object"),
            (json!({ "verdict": "good", "decided_by": "ann" }), "`payment_id` is missing"),
            (json!({ "payment_id": "p", "verdict": "good" }), "`decided_by` is missing"),
            (json!({ "payment_id": "p", "verdict": "bad", "decided_by": "ann" }), "is fraud or good"),
            (json!({ "payment_id": 5, "decided_by": "ann" }), "`payment_id` is a text"),
            (json!({ "payment_id": "p", "note": "x", "decided_by": "ann" }), "`note` is no field of a verdict"),
        ] {
            let error = verdict_row(&wrong, now).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }
}
