//! Records in, rows out: what a record of a source topic means to the judge, and what is written of its judgements.
//!
//! **Invariant:** the live role, its recovery and a backtest take records in through [`Batch`] alone, so in the same order.

use millrace_intelligence::fraud::live::{
    Decision, Judge, Judged, Judgement, ListChange, ModelChange, Origin, Reason, RuleChange, Transaction, UserEvent,
    Verdict,
};
use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use serde::Serialize;

/// The streams that are read, in the order in which records of one moment are taken.
pub(crate) const TOPICS: [&str; 6] = ["user_events", "transactions", VERDICTS, LISTS, RULES, MODELS];
/// Of these, what people say: kept for ever in the topic, and in no lake.
pub(crate) const SAID: [&str; 4] = [VERDICTS, LISTS, RULES, MODELS];
/// What analysts say.
pub(crate) const VERDICTS: &str = "fraud_verdicts";
/// Who is blocked, watched or allowed.
pub(crate) const LISTS: &str = "fraud_lists";
/// Rules that were changed.
pub(crate) const RULES: &str = "fraud_rules";
/// Trials of trees.
pub(crate) const MODELS: &str = "fraud_models";
/// Every payment and refund.
pub(crate) const DECISIONS: &str = "fraud_decisions";
/// Those that were not approved.
pub(crate) const ALERTS: &str = "fraud_alerts";

/// An event this far after its record came is a client's wrong clock: the record's time counts instead.
const AHEAD_MICROS_MAX: i64 = 10 * MINUTE_MICROS;

#[derive(Clone, Debug)]
enum Read {
    UserEvent(UserEvent),
    Transaction(Box<Transaction>),
    Verdict(Verdict),
    List(ListChange),
    Rule(RuleChange),
    Model(ModelChange),
}

/// A record that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    time: i64,
    topic: usize,
    partition: i32,
    offset: i64,
    read: Read,
}

impl Record {
    /// Reads a record; none when it breaks its contract, which the intake job tells of. `arrived` is the record's own time.
    pub(crate) fn read(
        topic: &str,
        partition: i32,
        offset: i64,
        value: &[u8],
        arrived: Option<Timestamp>,
    ) -> Option<Self> {
        let topic = TOPICS.iter().position(|known| *known == topic)?;
        let (read, told) = match TOPICS[topic] {
            "user_events" => {
                let event: UserEvent = serde_json::from_slice(value).ok()?;
                let told = event.event_time.clone();
                if event.event_id.is_empty() || event.anonymous_id.is_empty() {
                    return None;
                }
                (Read::UserEvent(event), told)
            }
            "transactions" => {
                let transaction: Transaction = serde_json::from_slice(value).ok()?;
                let told = transaction.event_time.clone();
                if transaction.event_id.is_empty() || transaction.order_id.is_none() {
                    return None;
                }
                (Read::Transaction(Box::new(transaction)), told)
            }
            LISTS => {
                let change: ListChange = serde_json::from_slice(value).ok().filter(ListChange::is_sound)?;
                let told = change.changed_at.clone();
                (Read::List(change), told)
            }
            MODELS => {
                let change: ModelChange = serde_json::from_slice(value).ok()?;
                let told = change.changed_at.clone();
                (Read::Model(change), told)
            }
            RULES => {
                let change: RuleChange = serde_json::from_slice(value).ok()?;
                let told = change.changed_at.clone();
                (Read::Rule(change), told)
            }
            _ => {
                let verdict: Verdict = serde_json::from_slice(value).ok()?;
                let told = verdict.decided_at.clone();
                (Read::Verdict(verdict), told)
            }
        };
        let told = Timestamp::parse(told?.as_bytes())?;
        let time = arrived.filter(|arrived| told.0 - arrived.0 > AHEAD_MICROS_MAX).unwrap_or(told).0;
        Some(Record { time, topic, partition, offset, read })
    }

    /// Event time, microseconds.
    pub(crate) fn time(&self) -> i64 {
        self.time
    }

    /// Topic it lies in.
    pub(crate) fn topic(&self) -> &'static str {
        TOPICS[self.topic]
    }

    /// Partition it lies in.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// Offset in its partition.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }
}

/// Records that are taken in together.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<Record>);

impl Batch {
    /// Adds a record.
    pub(crate) fn push(&mut self, record: Record) {
        self.0.push(record);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records in the order in which they are taken: event time, topic, partition, offset.
    pub(crate) fn in_order(mut self) -> Vec<Record> {
        self.0.sort_by_key(|record| (record.time, record.topic, record.partition, record.offset));
        self.0
    }
}

/// Takes a record in; what is judged, with the transaction it was.
pub(crate) fn take(judge: &mut Judge, record: Record) -> Option<(Box<Transaction>, Judgement)> {
    let origin = Origin { topic: TOPICS[record.topic], partition: record.partition, offset: record.offset };
    match record.read {
        Read::UserEvent(event) => {
            judge.user_event(&event, record.time, origin);
            None
        }
        Read::Verdict(verdict) => {
            judge.verdict(&verdict);
            None
        }
        Read::List(change) => {
            if !judge.list(&change, record.time) {
                let (listed, kind) = (judge.listed(), change.kind);
                tracing::warn!(listed, kind, "the lists are full: raise score.limits.listed_max, then list it again");
            }
            None
        }
        Read::Model(change) => {
            judge.model(&change);
            None
        }
        Read::Rule(change) => {
            if let Err(why) = judge.rule(&change) {
                tracing::warn!(rule = %change.name, "a change of a rule was not taken: {why}");
            }
            None
        }
        Read::Transaction(transaction) => {
            let judgement = judge.transaction(&transaction, record.time, origin)?;
            Some((transaction, judgement))
        }
    }
}

/// A row of `fraud_decisions` and `fraud_alerts`; the fields are the contract's.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    pub(crate) decision_id: &'a str,
    pub(crate) kind: Judged,
    pub(crate) decision: Decision,
    pub(crate) score: f32,
    event_time: Timestamp,
    payment_id: Option<&'a str>,
    refund_id: Option<&'a str>,
    order_id: Option<&'a str>,
    event_id: &'a str,
    user_id: Option<&'a str>,
    card_token: Option<&'a str>,
    device_id: Option<&'a str>,
    amount_minor: Option<i64>,
    currency: Option<&'a str>,
    labels: u64,
    reasons: &'a [Reason],
    evidence: Vec<EvidenceRow<'a>>,
}

#[derive(Debug, Serialize)]
struct EvidenceRow<'a> {
    event_id: &'a str,
    payment_id: Option<&'a str>,
    event_time: Timestamp,
    topic: &'static str,
    partition: i64,
    offset: i64,
}

/// The row of a judgement.
pub(crate) fn row<'a>(transaction: &'a Transaction, judgement: &'a Judgement) -> Row<'a> {
    let evidence = judgement.evidence.iter().map(|event| EvidenceRow {
        event_id: &event.event_id,
        payment_id: event.payment_id.as_deref(),
        event_time: Timestamp(event.time),
        topic: event.topic,
        partition: event.partition,
        offset: event.offset,
    });
    let subject = match judgement.kind {
        Judged::Payment => &transaction.payment_id,
        Judged::Refund => &transaction.refund_id,
    };
    Row {
        decision_id: subject.as_deref().filter(|id| !id.is_empty()).unwrap_or(&transaction.event_id),
        kind: judgement.kind,
        decision: judgement.decision,
        score: judgement.score,
        event_time: Timestamp(judgement.time),
        payment_id: transaction.payment_id.as_deref(),
        refund_id: transaction.refund_id.as_deref(),
        order_id: transaction.order_id.as_deref(),
        event_id: &transaction.event_id,
        user_id: transaction.user_id.as_deref(),
        card_token: transaction.card_token.as_deref(),
        device_id: transaction.device_id.as_deref(),
        amount_minor: transaction.amount_minor,
        currency: transaction.currency.as_deref(),
        labels: judgement.labels,
        reasons: &judgement.reasons,
        evidence: evidence.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_intelligence::fraud::live::JudgeSettings;
    use serde_json::{Value, json};

    fn payment(id: &str, second: u32) -> Value {
        json!({ "event_id": format!("e{id}"), "event_type": "payment_authorized", "order_id": "o", "payment_id": id,
            "event_time": format!("2026-01-01T10:00:{second:02}Z"), "card_token": "c", "amount_minor": 990, "currency": "EUR" })
    }

    fn read(topic: &str, offset: i64, value: &Value) -> Option<Record> {
        Record::read(topic, 0, offset, value.to_string().as_bytes(), Timestamp::parse(b"2026-01-01T10:01:00Z"))
    }

    #[test]
    fn records_are_taken_by_time_whatever_the_order_they_came_in() {
        let mut batch = Batch::default();
        for (at, second) in [7, 3, 3, 5].into_iter().enumerate() {
            batch.push(read("transactions", at as i64, &payment(&format!("{at}"), second)).expect("a record"));
        }
        let event = json!({ "event_id": "v", "event_type": "page_viewed", "event_time": "2026-01-01T10:00:03Z", "anonymous_id": "a" });
        batch.push(read("user_events", 9, &event).expect("a record"));
        let order: Vec<i64> = batch.in_order().iter().map(|record| record.offset).collect();
        assert_eq!(order, [9, 1, 2, 3, 0]);
    }

    #[test]
    fn what_breaks_its_contract_is_passed_over_and_a_wrong_clock_is_set_right() {
        for wrong in
            [json!({}), json!({ "event_id": 4 }), json!({ "event_id": "e", "order_id": "o", "event_time": "soon" })]
        {
            assert!(read("transactions", 0, &wrong).is_none(), "{wrong}");
        }
        assert!(read("inventory_updates", 0, &payment("1", 0)).is_none());
        let mut late = payment("1", 0);
        late["event_time"] = json!("2099-01-01T00:00:00Z");
        assert_eq!(
            read("transactions", 0, &late).map(|record| record.time()),
            Timestamp::parse(b"2026-01-01T10:01:00Z").map(|time| time.0)
        );
    }

    #[test]
    fn a_row_keeps_the_contract() {
        let mut judge = Judge::new(JudgeSettings { review_at: 0.0, ..JudgeSettings::default() }).expect("settings");
        let record = read("transactions", 5, &payment("p1", 1)).expect("a record");
        let (transaction, judgement) = take(&mut judge, record).expect("a judgement");
        let row = serde_json::to_value(row(&transaction, &judgement)).expect("JSON");
        assert_eq!(
            (&row["decision_id"], &row["kind"], &row["decision"]),
            (&json!("p1"), &json!("payment"), &json!("review"))
        );
        assert_eq!(row["event_time"], "2026-01-01T10:00:01.000000Z");
        assert_eq!(row["evidence"][0]["offset"], 5);
        for name in [DECISIONS, ALERTS] {
            let contracts = millrace_model::Contracts::builtin();
            let contract = contracts.get(name).expect("it ships");
            let fields: Vec<&String> = row.as_object().expect("an object").keys().collect();
            assert!(fields.iter().all(|field| contract.column(field).is_some()), "{name}: {fields:?}");
            assert_eq!(fields.len(), contract.columns.len(), "{name}");
        }
    }
}
