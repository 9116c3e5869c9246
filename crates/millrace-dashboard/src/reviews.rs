//! The review queue's questions to the store, and what people say of a payment or a list: checked here, taken to the scorer's topics
//! by the role behind `Hears`.

use serde_json::{Value, json};

use crate::answer::Problem;
use crate::params::Params;
use crate::row::{Read, Row};
use crate::service::hear;
use crate::shared::{Shared, now};
use crate::store::{AskError, Param, ask};
use crate::view::lists::named;
use crate::view::reviews::{Held, Order, Queue, ReviewParams, Standing, queue};

/// Verdicts the precision of rules is made from: the newest.
const VERDICTS_MAX: i64 = 2_000;

/// Columns of a held payment with what was said of it.
const COLUMNS: &str = "a.decision_id, a.kind, a.decision, a.score, a.event_time, a.order_id, a.user_id, a.card_token, \
                       a.device_id, a.amount_minor, a.currency, a.reasons, a.evidence, v.verdict, v.assigned_to, v.comment, \
                       v.decided_by, v.decided_at";
const FROM: &str = "FROM fraud_alerts AS a LEFT JOIN fraud_verdicts AS v ON v.payment_id = a.decision_id";

/// Reads the query of a queue; what it does not understand, it leaves out.
pub(crate) fn wanted(params: &Params, limit: usize) -> ReviewParams {
    ReviewParams {
        standing: params.get("state").and_then(Standing::named).unwrap_or_default(),
        order: params.get("order").and_then(Order::named).unwrap_or_default(),
        // A parameter without a value is none at all, so nobody has a name here.
        assigned_to: params.owned("assigned_to").map(|name| if name == "nobody" { String::new() } else { name }),
        rule: params.owned("rule"),
        limit,
    }
}

/// The queue as it is now.
pub(crate) async fn look(shared: &Shared, params: &ReviewParams) -> Result<Queue, AskError> {
    let (now, within) = (now(), review_within_micros(shared));
    let late = millrace_model::Timestamp(now.0.saturating_sub(within));
    let ms_max = shared.settings.limits.store_ms_max;
    let (sql, values) = statement(params, late);
    let reviews = ask(&shared.store, &sql, &values, ms_max).await?;
    let sql = format!(
        "SELECT v.assigned_to, count(*) AS open, sum(CASE WHEN a.event_time < $1 THEN 1 ELSE 0 END) AS overdue {FROM} \
         WHERE v.verdict IS NULL GROUP BY v.assigned_to ORDER BY 2 DESC, 1"
    );
    let workload = ask(&shared.store, &sql, &[Param::Time(late)], ms_max).await?;
    let sql =
        format!("SELECT a.reasons, v.verdict {FROM} WHERE v.verdict IS NOT NULL ORDER BY v.decided_at DESC LIMIT $1");
    let judged = ask(&shared.store, &sql, &[Param::Integer(VERDICTS_MAX)], ms_max).await?;
    let held = Held { reviews, workload, judged };
    Ok(queue(&held, &shared.cache(), params, within, now))
}

fn review_within_micros(shared: &Shared) -> i64 {
    i64::try_from(shared.settings.review_within.as_micros()).unwrap_or(i64::MAX)
}

/// The statement of a queue, and its values.
fn statement(params: &ReviewParams, late: millrace_model::Timestamp) -> (String, Vec<Param>) {
    let mut values = Vec::new();
    let mut conditions = vec![match params.standing {
        Standing::Decided => "v.verdict IS NOT NULL".to_owned(),
        Standing::Open => "v.verdict IS NULL".to_owned(),
        Standing::Overdue => {
            values.push(Param::Time(late));
            "v.verdict IS NULL AND a.event_time < $1".to_owned()
        }
    }];
    match params.assigned_to.as_deref() {
        None => {}
        Some("") => conditions.push("v.assigned_to IS NULL".into()),
        Some(name) => {
            values.push(Param::Text(name.to_owned()));
            conditions.push(format!("v.assigned_to = ${}", values.len()));
        }
    }
    if let Some(rule) = &params.rule {
        // The reasons are JSON: the name stands in it as a text of its own.
        let name = Value::String(rule.clone()).to_string();
        values.push(Param::Text(format!("%{}%", name.replace(['%', '_'], "_"))));
        conditions.push(format!("CAST(a.reasons AS TEXT) LIKE ${}", values.len()));
    }
    let order = match (params.standing, params.order) {
        (_, Order::Score) => "a.score DESC, a.event_time",
        (_, Order::Amount) => "a.amount_minor DESC, a.event_time",
        (Standing::Decided, Order::Deadline) => "v.decided_at DESC",
        (_, Order::Deadline) => "a.event_time, a.score DESC",
    };
    values.push(Param::Integer(i64::try_from(params.limit).unwrap_or(i64::MAX)));
    let conditions = conditions.join(" AND ");
    let limit = values.len();
    (format!("SELECT {COLUMNS} {FROM} WHERE {conditions} ORDER BY {order}, a.decision_id LIMIT ${limit}"), values)
}

/// The payment of this id, if it was held.
async fn held(shared: &Shared, payment: &str) -> Result<Row, Problem> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE a.decision_id = $1");
    let values = [Param::Text(payment.to_owned())];
    let found = ask(&shared.store, &sql, &values, shared.settings.limits.store_ms_max).await?.pop();
    let cached = || shared.cache().table("fraud_alerts").and_then(|table| table.get(payment)).cloned();
    let mut row = found.or_else(cached).ok_or_else(|| {
        Problem::not_found("no payment or refund of this id was held; GET /v1/fraud/reviews lists them by payment_id")
    })?;
    // What was said a moment ago may not be in the store yet.
    let cache = shared.cache();
    let newer = cache.table("fraud_verdicts").and_then(|table| table.get(payment));
    if let Some(newer) = newer.filter(|newer| newer.time("decided_at") >= row.time("decided_at")) {
        for name in ["verdict", "assigned_to", "comment"] {
            row.insert(name.to_owned(), newer.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    Ok(row)
}

/// Takes what is said of a payment; what was said before and is not said again stays.
pub(crate) async fn say(
    shared: &Shared,
    payment: &str,
    said: &[(&'static str, Value)],
    by: &Value,
) -> Result<Value, Problem> {
    let before = held(shared, payment).await?;
    let kept = |name: &str| before.get(name).cloned().unwrap_or(Value::Null);
    let mut told = json!({ "payment_id": payment, "verdict": kept("verdict"), "assigned_to": kept("assigned_to"),
        "comment": kept("comment"), "decided_by": by });
    for (name, value) in said {
        told[*name] = value.clone();
    }
    hear(shared.services.hears.as_ref(), move |hears| hears.verdict(&told)).await
}

/// Takes the change of a rule; of the rule, what is not said stays as it was.
pub(crate) async fn rule(shared: &Shared, told: &Value) -> Result<Value, Problem> {
    let mut told = told.clone();
    let name = told["name"].as_str().unwrap_or_default().to_owned();
    if let Some(fields) = told.as_object_mut()
        && let Some(by) = fields.remove("by")
    {
        fields.insert("changed_by".into(), by);
    }
    let before = shared.cache().table("fraud_rules").and_then(|table| table.get(&name)).cloned().map(Value::Object);
    hear(shared.services.hears.as_ref(), move |hears| hears.rule(&told, before.as_ref())).await
}

/// Takes the change of a list. Whom it is about is named outright, by a held payment of theirs, or by the entry's own id.
pub(crate) async fn list(shared: &Shared, told: &Value) -> Result<Value, Problem> {
    let mut told = told.clone();
    let Some(fields) = told.as_object_mut() else {
        return Err(Problem::bad_request("a change of a list is an object"));
    };
    if let Some(by) = fields.remove("by") {
        fields.insert("changed_by".into(), by);
    }
    let (payment, entry) = (fields.remove("payment_id"), fields.remove("entry"));
    if let Some(payment) = payment.as_ref().and_then(Value::as_str) {
        let row = held(shared, payment).await?;
        let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
        let column = match kind {
            "card" => "card_token",
            "account" => "user_id",
            "device" => "device_id",
            _ => return Err(Problem::bad_request("with `payment_id`, `kind` is card, account or device")),
        };
        if row.text(column).is_empty() {
            return Err(Problem::bad_request(format!("payment `{payment}` has no {kind}")));
        }
        fields.insert("entity".into(), row.text(column).into());
    } else if let Some(entry) = entry.as_ref().and_then(Value::as_str) {
        let found = named(&shared.cache(), entry);
        let (kind, entity) =
            found.ok_or_else(|| Problem::not_found("no entry of this id; GET /v1/fraud/lists lists them"))?;
        fields.insert("kind".into(), kind.into());
        fields.insert("entity".into(), entity.into());
    }
    hear(shared.services.hears.as_ref(), move |hears| hears.list(&told)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Timestamp;

    #[test]
    fn a_queue_is_asked_for_with_bound_values() {
        let params = ReviewParams {
            standing: Standing::Overdue,
            assigned_to: Some("ann' --".into()),
            rule: Some("card_testing".into()),
            limit: 5,
            ..ReviewParams::default()
        };
        let (sql, values) = statement(&params, Timestamp(1));
        let rest = sql.split_once("WHERE ").expect("conditions").1;
        assert_eq!(
            rest,
            "v.verdict IS NULL AND a.event_time < $1 AND v.assigned_to = $2 AND CAST(a.reasons AS TEXT) LIKE $3 \
             ORDER BY a.event_time, a.score DESC, a.decision_id LIMIT $4"
        );
        assert_eq!(values[1], Param::Text("ann' --".into()));
        assert_eq!(values[2], Param::Text("%\"card_testing\"%".into()));
    }
}
