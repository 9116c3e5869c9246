//! The review queue: what was held, by whom it is looked at, how long there is left, and how far each rule is to be believed.

use std::collections::BTreeMap;

use millrace_model::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::lists::{Entry, of_entity};
use crate::cache::Cache;
use crate::mask;
use crate::row::{Read, Row};

/// Events behind a payment that are shown.
const EVIDENCE_MAX: usize = 50;

/// Which reviews.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// Without a verdict.
    #[default]
    Open,
    /// Without a verdict, and past their deadline.
    Overdue,
    /// With one.
    Decided,
}

/// The order of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// What must be decided soonest comes first.
    #[default]
    Deadline,
    /// The most suspicious first.
    Score,
    /// The largest amount first.
    Amount,
}

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ReviewParams {
    pub(crate) standing: Standing,
    pub(crate) order: Order,
    /// Only what this person looks at; empty: what nobody does.
    pub(crate) assigned_to: Option<String>,
    /// Only what this rule is a reason of.
    pub(crate) rule: Option<String>,
    /// Longest list.
    pub(crate) limit: usize,
}

impl Standing {
    /// All of them, with their names for programs and for people.
    pub(crate) const ALL: [(Standing, &'static str, &'static str); 3] = [
        (Standing::Open, "open", "Open"),
        (Standing::Overdue, "overdue", "Overdue"),
        (Standing::Decided, "decided", "Decided"),
    ];

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Standing::ALL.iter().find(|(_, known, _)| *known == name).map(|(standing, _, _)| *standing)
    }
}

impl Order {
    /// All of them, with their names for programs and for people.
    pub(crate) const ALL: [(Order, &'static str, &'static str); 3] = [
        (Order::Deadline, "deadline", "By deadline"),
        (Order::Score, "score", "By score"),
        (Order::Amount, "amount", "By amount"),
    ];

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Order::ALL.iter().find(|(_, known, _)| *known == name).map(|(order, _, _)| *order)
    }
}

/// Part of a score.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct ReasonOf {
    /// `rule`, `model`, `list`, `shadow` or `excused`.
    pub(crate) kind: String,
    /// Rule, feature or list.
    pub(crate) name: String,
    /// What it adds to the logarithm of the odds.
    pub(crate) points: f64,
    /// The numbers behind it.
    pub(crate) values: BTreeMap<String, f64>,
    /// In words.
    pub(crate) text: Option<String>,
}

/// An event behind a payment, and where it lies.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct EventOf {
    pub(crate) event_id: String,
    pub(crate) payment_id: Option<String>,
    pub(crate) event_time: Option<Timestamp>,
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
}

/// An entity of a payment, and the list it is on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct EntityOf {
    /// `card`, `account` or `device`.
    pub(crate) kind: &'static str,
    /// Masked.
    pub(crate) entity: String,
    /// The list it is on.
    pub(crate) list: Option<String>,
}

/// A payment or refund that was held.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Review {
    /// The payment or refund.
    pub(crate) payment_id: String,
    /// `payment` or `refund`.
    pub(crate) kind: String,
    /// `review` or `block`.
    pub(crate) decision: String,
    /// Probability of fraud by rules and model.
    pub(crate) score: f64,
    /// When it happened.
    pub(crate) event_time: Option<Timestamp>,
    /// When somebody should have said what it is.
    pub(crate) deadline: Option<Timestamp>,
    /// Seconds left until then; less than none when it is over.
    pub(crate) seconds_left: i64,
    pub(crate) order_id: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    /// Card, account and device.
    pub(crate) entities: Vec<EntityOf>,
    /// Why, what decided first.
    pub(crate) reasons: Vec<ReasonOf>,
    /// The events behind it, its own first.
    pub(crate) evidence: Vec<EventOf>,
    /// `fraud` or `good`.
    pub(crate) verdict: Option<String>,
    pub(crate) assigned_to: Option<String>,
    pub(crate) comment: Option<String>,
    /// Who said the last of it.
    pub(crate) decided_by: Option<String>,
    pub(crate) decided_at: Option<Timestamp>,
}

/// How often a rule was right, of the payments somebody has looked at.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Precision {
    /// `rule`, `list` or `shadow`.
    pub(crate) kind: String,
    pub(crate) rule: String,
    pub(crate) fraud: usize,
    pub(crate) good: usize,
    /// Share that was fraud.
    pub(crate) precision: f64,
}

/// Whose reviews are open.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Workload {
    /// Nobody, when empty.
    pub(crate) assigned_to: String,
    pub(crate) open: i64,
    pub(crate) overdue: i64,
}

/// The queue.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Queue {
    pub(crate) reviews: Vec<Review>,
    pub(crate) open: i64,
    pub(crate) overdue: i64,
    /// Without a name on them, of those that are open.
    pub(crate) unassigned: i64,
    /// By who looks at them, most first.
    pub(crate) workload: Vec<Workload>,
    /// By verdicts, the rules that are wrong most often first.
    pub(crate) precision: Vec<Precision>,
    /// Verdicts these are made from.
    pub(crate) verdicts: usize,
}

/// What the store says.
pub(crate) struct Held {
    pub(crate) reviews: Vec<Row>,
    pub(crate) workload: Vec<Row>,
    pub(crate) judged: Vec<Row>,
}

/// Computes the queue: the store's rows, with what has been said since.
pub(crate) fn queue(held: &Held, cache: &Cache, params: &ReviewParams, within_micros: i64, now: Timestamp) -> Queue {
    let mut reviews: Vec<Review> = held.reviews.iter().map(|row| review(row, cache, within_micros, now)).collect();
    reviews.retain(|review| review.verdict.is_some() == (params.standing == Standing::Decided));
    let workload: Vec<Workload> = held
        .workload
        .iter()
        .map(|row| Workload {
            assigned_to: row.text("assigned_to").to_owned(),
            open: row.int("open"),
            overdue: row.int("overdue"),
        })
        .collect();
    let sum = |of: fn(&Workload) -> i64| -> i64 { workload.iter().map(of).sum() };
    Queue {
        open: sum(|work| work.open),
        overdue: sum(|work| work.overdue),
        unassigned: workload.iter().filter(|work| work.assigned_to.is_empty()).map(|work| work.open).sum(),
        workload,
        precision: precision(&held.judged),
        verdicts: held.judged.len(),
        reviews,
    }
}

fn text_of(row: &Row, name: &str) -> Option<String> {
    Some(row.text(name).to_owned()).filter(|text| !text.is_empty())
}

fn review(row: &Row, cache: &Cache, within_micros: i64, now: Timestamp) -> Review {
    let id = row.text("decision_id").to_owned();
    // What was said a moment ago may not be in the store yet.
    let newer = cache.table("fraud_verdicts").and_then(|table| table.get(&id));
    let said = newer.filter(|newer| newer.time("decided_at") >= row.time("decided_at")).unwrap_or(row);
    let event_time = row.time("event_time");
    let deadline = event_time.map(|time| Timestamp(time.0.saturating_add(within_micros)));
    let entities = [("card", "card_token"), ("account", "user_id"), ("device", "device_id")]
        .into_iter()
        .filter(|(_, column)| !row.text(column).is_empty())
        .map(|(kind, column)| EntityOf {
            kind,
            entity: mask::id(row.text(column)),
            list: of_entity(cache, kind, row.text(column), now).map(|entry: Entry| entry.list),
        })
        .collect();
    Review {
        kind: row.text("kind").to_owned(),
        decision: row.text("decision").to_owned(),
        score: row.get("score").and_then(Value::as_f64).unwrap_or(0.0),
        event_time,
        deadline,
        seconds_left: deadline.map_or(0, |deadline| (deadline.0 - now.0).div_euclid(1_000_000)),
        order_id: row.text("order_id").to_owned(),
        amount_minor: row.int("amount_minor"),
        currency: row.text("currency").to_owned(),
        entities,
        reasons: items(row, "reasons").map(reason).collect(),
        evidence: items(row, "evidence").take(EVIDENCE_MAX).map(event).collect(),
        verdict: text_of(said, "verdict"),
        assigned_to: text_of(said, "assigned_to"),
        comment: text_of(said, "comment"),
        decided_by: text_of(said, "decided_by"),
        decided_at: said.time("decided_at"),
        payment_id: id,
    }
}

fn items<'a>(row: &'a Row, name: &str) -> impl Iterator<Item = &'a Row> {
    row.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn reason(reason: &Row) -> ReasonOf {
    let values = reason.get("values").and_then(Value::as_object).into_iter().flatten();
    ReasonOf {
        kind: reason.text("kind").to_owned(),
        name: reason.text("name").to_owned(),
        points: reason.get("points").and_then(Value::as_f64).unwrap_or(0.0),
        values: values.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
        text: text_of(reason, "text"),
    }
}

fn event(event: &Row) -> EventOf {
    EventOf {
        event_id: event.text("event_id").to_owned(),
        payment_id: text_of(event, "payment_id"),
        event_time: event.time("event_time"),
        topic: event.text("topic").to_owned(),
        partition: event.int("partition"),
        offset: event.int("offset"),
    }
}

/// Of each rule that was a reason: how many of the payments were fraud, and how many were not.
fn precision(judged: &[Row]) -> Vec<Precision> {
    let mut rules: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for row in judged {
        let is_fraud = row.text("verdict") == "fraud";
        for reason in items(row, "reasons").filter(|reason| ["rule", "list", "shadow"].contains(&reason.text("kind"))) {
            let counts = rules.entry((reason.text("kind"), reason.text("name"))).or_default();
            if is_fraud { counts.0 += 1 } else { counts.1 += 1 }
        }
    }
    let mut precision: Vec<Precision> = rules
        .into_iter()
        .map(|((kind, rule), (fraud, good))| Precision {
            kind: kind.to_owned(),
            rule: rule.to_owned(),
            fraud,
            good,
            precision: fraud as f64 / (fraud + good).max(1) as f64,
        })
        .collect();
    precision.sort_by(|a, b| b.good.cmp(&a.good).then_with(|| a.precision.total_cmp(&b.precision)));
    precision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use serde_json::json;

    fn held(id: &str, second: i64, verdict: Option<&str>) -> Value {
        json!({ "decision_id": id, "kind": "payment", "decision": "review", "score": 0.9, "event_time": at(second),
            "card_token": "card_7f3e9a1c44b2", "amount_minor": 990, "currency": "EUR", "verdict": verdict,
            "reasons": [{ "kind": "rule", "name": "velocity", "points": 4.0, "values": { "card_attempts_10m": 5 } }],
            "evidence": [{ "event_id": "e1", "topic": "transactions", "partition": 2, "offset": 7 }] })
    }

    fn queue_of(reviews: Vec<Value>, said: Vec<Value>, standing: Standing) -> Queue {
        let cache = cache_of(vec![("fraud_verdicts", json_rows(said))]);
        let held = Held { reviews: json_rows(reviews), workload: Vec::new(), judged: Vec::new() };
        let params = ReviewParams { standing, ..ReviewParams::default() };
        queue(&held, &cache, &params, 3_600_000_000, Timestamp(4_000_000_000))
    }

    #[test]
    fn what_was_said_a_moment_ago_counts_before_the_store_has_it() {
        let rows = vec![held("p1", 0, None), held("p2", 1_000, None)];
        let open = queue_of(rows.clone(), Vec::new(), Standing::Open);
        let left: Vec<i64> = open.reviews.iter().map(|review| review.seconds_left).collect();
        assert_eq!(left, [-400, 600], "one is late, one has ten minutes");
        assert_eq!((&*open.reviews[0].entities[0].entity, open.reviews[0].evidence[0].offset), ("card…44b2", 7));
        let said =
            vec![json!({ "payment_id": "p1", "verdict": "fraud", "decided_at": at(3_999), "decided_by": "ann" })];
        let open = queue_of(rows.clone(), said.clone(), Standing::Open);
        assert_eq!(open.reviews.iter().map(|review| &*review.payment_id).collect::<Vec<_>>(), ["p2"]);
        let decided = queue_of(rows, said, Standing::Decided);
        assert_eq!(decided.reviews[0].decided_by.as_deref(), Some("ann"));
    }

    #[test]
    fn a_rule_is_believed_as_far_as_it_was_right() {
        let judged = vec![held("p1", 0, Some("fraud")), held("p2", 0, Some("good")), held("p3", 0, Some("fraud"))];
        let found = precision(&json_rows(judged));
        assert_eq!((found.len(), found[0].fraud, found[0].good), (1, 2, 1));
        assert!((found[0].precision - 2.0 / 3.0).abs() < 1e-9);
    }
}
