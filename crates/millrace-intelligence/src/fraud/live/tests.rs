//! The judge against the labelled shop, and against itself: as good as promised, and the same to the bit however it is run.

use millrace_model::Timestamp;
use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS};
use millrace_simulate::{Delivery, Record, Shop, ShopSettings, Topic};

use super::scoreboard::{Answer, Decided, Report, Scoreboard};
use super::{Decision, Judge, JudgeSettings, Judged, Judgement, ModelChange, Origin, Transaction, UserEvent, Verdict};
use crate::recommend::stored::Bytes;

fn time(text: Option<&String>) -> i64 {
    text.and_then(|text| Timestamp::parse(text.as_bytes())).expect("a time").0
}

fn records(seed: u64, rate: f64, hours: i64) -> Vec<Record> {
    let start = Timestamp::parse(b"2026-11-22T08:00:00Z").expect("a time");
    let mut shop = Shop::new(ShopSettings::new(seed, start, rate)).expect("settings in range");
    let mut records = Vec::new();
    shop.advance(Timestamp(start.0 + hours * HOUR_MICROS), &mut records);
    shop.finish(&mut records);
    records.retain(|record| record.delivery != Delivery::Malformed && record.topic != Topic::InventoryUpdates);
    records
}

fn give(judge: &mut Judge, record: &Record, offset: i64) -> Option<(Transaction, Judgement)> {
    let origin = Origin { topic: record.topic.name(), partition: 0, offset };
    match record.topic {
        Topic::Transactions => {
            let transaction: Transaction = serde_json::from_slice(&record.value).expect("a transaction");
            let judgement = judge.transaction(&transaction, time(transaction.event_time.as_ref()), origin)?;
            Some((transaction, judgement))
        }
        Topic::UserEvents => {
            let event: UserEvent = serde_json::from_slice(&record.value).expect("an event");
            judge.user_event(&event, time(event.event_time.as_ref()), origin);
            None
        }
        _ => None,
    }
}

fn settings() -> JudgeSettings {
    // Minutes stand for days in this shop.
    JudgeSettings { label_delay_micros: 30 * MINUTE_MICROS, ..JudgeSettings::default() }
}

fn board(records: &[Record], settings: JudgeSettings) -> Report {
    let mut judge = Judge::new(settings).expect("settings");
    let mut board = Scoreboard::default();
    for (at, record) in records.iter().enumerate() {
        if record.topic == Topic::AnswerKey {
            board.answer(&serde_json::from_slice::<Answer>(&record.value).expect("an answer"));
        } else if let Some((transaction, judgement)) = give(&mut judge, record, at as i64) {
            let refund = judgement.kind == Judged::Refund;
            board.decided(Decided {
                id: if refund { transaction.refund_id } else { transaction.payment_id }.expect("an id"),
                refund,
                time: judgement.time,
                user: transaction.user_id,
                score: f64::from(judgement.score),
                flagged: judgement.decision != Decision::Approve,
                amount_minor: transaction.amount_minor.unwrap_or(0),
                evidence: judgement.evidence.iter().filter_map(|e| Some(e.payment_id.as_deref()?.to_owned())).collect(),
                shadow: Vec::new(),
            });
        }
    }
    board.report()
}

#[test]
fn finds_every_campaign_of_the_shop_and_hurts_few() {
    let report = board(&records(11, 150.0, 4), settings());
    if std::env::var_os("MILLRACE_SHOW").is_some() {
        println!("{report:#?}");
    }
    assert!(report.payments > 5_000 && report.frauds > 500, "{report:#?}");
    assert!(report.false_positive_rate <= 0.001, "{report:#?}");
    assert!(report.refunds_hurt.0 * 100 <= report.refunds_hurt.1, "{report:#?}");
    assert_eq!(report.campaigns.len(), 8, "{report:#?}");
    for campaign in &report.campaigns {
        assert!(campaign.recall >= 0.9, "{campaign:#?}");
        assert!(campaign.events_to_alert.0 <= 3, "{campaign:#?}");
    }
}

fn kept(judge: &Judge) -> Vec<u8> {
    let mut bytes = Vec::new();
    judge.snapshot(&mut bytes);
    bytes
}

#[test]
fn a_state_that_was_stored_goes_on_to_the_bit() {
    let records = records(3, 20.0, 1);
    let mut straight = Judge::new(settings()).expect("settings");
    let all: Vec<_> = records.iter().enumerate().map(|(at, record)| give(&mut straight, record, at as i64)).collect();
    assert!(all.iter().flatten().count() > 300);
    for cut in [0, records.len() / 3, records.len() - 1] {
        let mut judge = Judge::new(settings()).expect("settings");
        for (at, record) in records.iter().enumerate().take(cut) {
            give(&mut judge, record, at as i64);
        }
        let bytes = kept(&judge);
        let mut from = Bytes::new(&bytes);
        let mut judge = Judge::restore(settings(), &mut from).expect("a state");
        assert!(from.is_over());
        for (at, record) in records.iter().enumerate().skip(cut) {
            assert_eq!(give(&mut judge, record, at as i64), all[at], "record {at} after a cut at {cut}");
        }
        assert_eq!(kept(&judge), kept(&straight));
    }
    let bytes = kept(&straight);
    assert!(Judge::restore(settings(), &mut Bytes::new(&bytes[..bytes.len() - 3])).is_err());
}

#[test]
fn trees_that_won_score_from_their_record_on_grown_here_or_elsewhere() {
    let records = records(7, 150.0, 3);
    let answers = records.iter().filter(|record| record.topic == Topic::AnswerKey);
    let answers = answers.filter_map(|record| serde_json::from_slice::<Answer>(&record.value).ok());
    let frauds: std::collections::HashSet<String> =
        answers.filter(|answer| answer.fraud == Some(true)).filter_map(|answer| answer.payment_id).collect();
    let settings = JudgeSettings { challenge_labels: 1_000, ..settings() };
    let mut live = Judge::new(settings.clone()).expect("settings");
    let mut again = Judge::new(settings).expect("settings");
    let (mut tried, mut blended) = (0, 0);
    for (at, record) in records.iter().enumerate() {
        let (said, same) = (give(&mut live, record, at as i64), give(&mut again, record, at as i64));
        assert_eq!(said, same, "record {at}");
        blended += usize::from(live.trees().is_some() && said.is_some());
        if let Some(payment_id) = said.and_then(|(payment, _)| payment.payment_id).filter(|id| frauds.contains(id)) {
            let verdict = Verdict { payment_id, verdict: Some("fraud".into()), decided_at: None };
            assert_eq!(live.verdict(&verdict), again.verdict(&verdict));
        }
        let Some(candidate) = live.candidate().filter(|candidate| candidate.version() != tried).cloned() else {
            continue;
        };
        tried = candidate.version();
        let (trees, trial) = candidate.trial();
        assert!(trial.trained > 500 && trial.judged > 200, "{trial:?}");
        // Live has them from elsewhere; a restart and a backtest grow them.
        if let Some(trees) = trees {
            live.offer(tried, trees);
        }
        let change = ModelChange { version: tried, won: true, changed_at: None };
        live.model(&change);
        again.model(&change);
        assert_eq!(live.trees(), Some(tried));
        let bytes = kept(&again);
        assert_eq!(kept(&live), bytes);
        again = Judge::restore(JudgeSettings { challenge_labels: 1_000, ..self::settings() }, &mut Bytes::new(&bytes))
            .expect("a state");
    }
    assert!(tried > 0 && blended > 100, "{tried} {blended}");
}

#[test]
fn a_question_before_is_answered_as_the_stream_does_after() {
    let records = records(5, 20.0, 1);
    let mut judge = Judge::new(settings()).expect("settings");
    let mut asked = 0;
    for (at, record) in records.iter().enumerate() {
        let question = (record.topic == Topic::Transactions)
            .then(|| serde_json::from_slice::<Transaction>(&record.value).expect("a transaction"))
            .filter(|transaction| transaction.event_type.starts_with("payment_"));
        let answer = question.map(|question| judge.look(&question, time(question.event_time.as_ref())));
        let size = judge.size();
        if let (Some(answer), Some((_, judgement))) = (answer, give(&mut judge, record, at as i64)) {
            // Labels that were due at that moment may have come between the two.
            if judgement.labels == answer.labels {
                asked += 1;
                assert_eq!(
                    (answer.score, answer.decision, answer.reasons),
                    (judgement.score, judgement.decision, judgement.reasons)
                );
            }
            assert!(judge.size().0 >= size.0);
        }
    }
    assert!(asked > 200, "{asked}");
}

fn payment(id: &str, card: &str, minute: i64) -> (Transaction, i64) {
    let transaction = Transaction {
        event_id: format!("e{id}"),
        event_type: "payment_authorized".into(),
        payment_id: Some(id.into()),
        card_token: Some(card.into()),
        device_id: Some(format!("d-{card}")),
        amount_minor: Some(2_000),
        ..Transaction::default()
    };
    (transaction, minute * MINUTE_MICROS)
}

const ORIGIN: Origin<'static> = Origin { topic: "transactions", partition: 2, offset: 7 };

#[test]
fn verdicts_and_chargebacks_are_learnt_and_silence_of_what_was_held_is_not() {
    let mut judge = Judge::new(settings()).expect("settings");
    let give = |judge: &mut Judge, id: &str, card: &str, minute: i64| {
        let (transaction, time) = payment(id, card, minute);
        judge.transaction(&transaction, time, ORIGIN).expect("a judgement")
    };
    assert_eq!(give(&mut judge, "1", "a", 0).decision, Decision::Approve);
    let verdict =
        |id: &str, verdict: &str| Verdict { payment_id: id.into(), verdict: Some(verdict.into()), decided_at: None };
    assert!(judge.verdict(&verdict("1", "fraud")));
    assert!(!judge.verdict(&verdict("1", "fraud")), "once");
    let again = give(&mut judge, "2", "a", 1);
    assert!(
        again.decision != Decision::Approve && again.reasons.iter().any(|reason| &*reason.name == "known_card"),
        "{again:#?}"
    );
    assert_eq!(again.evidence.iter().map(|e| e.payment_id.as_deref()).collect::<Vec<_>>(), [Some("2"), Some("1")]);
    assert_eq!((again.evidence[0].partition, again.evidence[0].offset, again.labels), (2, 7, 1));
    // A chargeback of an order that was approved.
    give(&mut judge, "3", "b", 2);
    let chargeback = Transaction {
        event_id: "c".into(),
        event_type: "chargeback_received".into(),
        payment_id: Some("3".into()),
        ..Transaction::default()
    };
    assert_eq!(judge.transaction(&chargeback, 3 * MINUTE_MICROS, ORIGIN), None);
    assert_eq!(judge.labels(), 2);
    // Half an hour later nothing has come for 4; of 2, which was held, nothing could.
    give(&mut judge, "4", "c", 4);
    give(&mut judge, "5", "d", 50);
    assert_eq!((judge.labels(), judge.size().2), (3, 1));
}

#[test]
fn what_comes_twice_counts_once() {
    let mut judge = Judge::new(settings()).expect("settings");
    let (transaction, time) = payment("1", "a", 0);
    assert!(judge.transaction(&transaction, time, ORIGIN).is_some());
    assert!(judge.transaction(&transaction, time, ORIGIN).is_none());
}

#[test]
fn a_rule_of_the_settings_acts_and_one_in_the_shadow_only_says_so() {
    let rule =
        |shadow: bool| super::Rule { when: "amount > 10".into(), points: 20.0, shadow, ..super::Rule::default() };
    let with = |name: &str, rule: super::Rule| {
        let settings = JudgeSettings { rules: [(name.to_owned(), rule)].into(), ..settings() };
        let (transaction, time) = payment("1", "a", 0);
        Judge::new(settings).map(|judge| judge.look(&transaction, time))
    };
    let acts = with("large", rule(false)).expect("a rule");
    assert_eq!(
        (acts.decision, acts.reasons[0].kind, acts.reasons[0].values["amount"]),
        (Decision::Block, "rule", 20.0)
    );
    let shadow = with("large", rule(true)).expect("a rule");
    assert_eq!((shadow.decision, shadow.reasons[0].kind, shadow.reasons[0].points), (Decision::Approve, "shadow", 0.0));
    let wrong = with("large", super::Rule { when: "amnt > 1".into(), ..rule(false) });
    assert!(wrong.expect_err("no feature").contains("did you mean `amount`?"));
}
