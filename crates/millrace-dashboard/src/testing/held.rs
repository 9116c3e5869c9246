//! Payments the scorer held, what was said of them, and lists: fixture rows of an afternoon.

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use serde_json::{Map, Value, json};

use crate::LiveBatch;

/// Rules of the fixture: name, weight, the values it judged by, the score it leads to.
type Rule = (&'static str, f64, &'static [(&'static str, f64)], f64);

const RULES: [Rule; 6] = [
    ("card_testing", 8.0, &[("device_cards_1h", 7.0), ("device_declines_10m", 6.0)], 0.7311),
    ("impossible_travel", 9.0, &[("card_km_per_hour", 4_312.5)], 0.8808),
    ("velocity_high", 4.0, &[("card_attempts_10m", 9.0)], 0.6225),
    ("account_takeover", 9.0, &[("visit_failed_sign_ins", 4.0), ("visit_minutes_since_password_change", 12.0)], 0.9526),
    ("promo_abuse", 8.0, &[("has_promo", 1.0), ("device_persons_24h", 5.0), ("device_promos_24h", 4.0)], 0.7311),
    ("amount_out_of_habit", 8.0, &[("account_amount_to_usual", 11.2), ("account_payments_known", 14.0)], 0.6682),
];

/// The batches of `fraud_alerts`, `fraud_verdicts` and `fraud_lists` up to now.
pub fn history(now: Timestamp) -> Vec<LiveBatch> {
    let ago = |minutes: i64| Timestamp(now.0 - minutes * MINUTE_MICROS);
    let alerts = (0..24).map(|at| alert(at, ago(4 + 13 * at))).collect();
    let said = |at: i64, verdict: Option<&str>, by: &str, comment: Option<&str>| {
        json!({ "payment_id": id(at), "verdict": verdict, "assigned_to": by, "comment": comment,
            "decided_at": ago(2 + at), "decided_by": by })
    };
    let verdicts = vec![
        said(1, None, "ann", Some("the bank is asked")),
        said(3, Some("fraud"), "ann", Some("account of a pensioner, new address")),
        said(7, Some("fraud"), "bob", None),
        said(8, Some("good"), "ann", Some("a group order")),
        said(13, Some("fraud"), "bob", None),
        said(14, Some("good"), "bob", Some("the school's card")),
        said(20, None, "bob", None),
    ];
    let listed = |list: &str, kind: &str, entity: &str, reason: &str, until: Option<i64>| {
        json!({ "kind": kind, "entity": entity, "list": list, "rules": null, "reason": reason, "changed_at": ago(90),
            "changed_by": "ann", "expires_at": until.map(|minutes| ago(-minutes)) })
    };
    let lists = vec![
        listed("block", "card", &card(1), "skimmed in Linz, says the bank", Some(60 * 24 * 90)),
        listed("watch", "device", &device(0), "three accounts in a week", Some(60 * 24 * 7)),
        listed("block", "network", "203.0.113.0/24", "a proxy that is for rent", None),
        listed("allow", "account", "user_000451", "buys for a school", None),
    ];
    let rule = |name: &str, state: &str, when: Option<&str>, points: Option<f64>, reason: &str, minutes: i64| {
        json!({ "name": name, "state": state, "when": when, "points": points, "description": null, "reason": reason,
            "changed_at": ago(minutes), "changed_by": "ann" })
    };
    let rules = vec![
        rule("fast", "shadow", Some("card_attempts_1m >= 2 and amount > 100"), Some(8.0), "bursts at night", 200),
        rule("promo_abuse", "off", None, None, "holds every group order", 90),
        rule("tor", "acts", Some("amount > 500 and device_attempts_24h = 0"), Some(7.5), "31 of 31 were fraud", 30),
    ];
    [("fraud_alerts", alerts), ("fraud_verdicts", verdicts), ("fraud_lists", lists), ("fraud_rules", rules)]
        .into_iter()
        .map(|(table, rows): (&str, Vec<Value>)| LiveBatch {
            table: table.to_owned(),
            rows: rows.into_iter().map(object).collect(),
        })
        .collect()
}

/// A scoreboard of that afternoon.
pub fn report() -> Value {
    let campaign = |name: &str, runs: (i64, i64), frauds: i64, found: (i64, i64), seconds: f64| {
        json!({ "campaign": name, "runs": runs.1, "runs_found": runs.0, "frauds": frauds, "found_at_once": found.0,
            "found": found.1, "recall": found.1 as f64 / frauds as f64, "recall_at_budget": found.1 as f64 / frauds as f64,
            "events_to_alert": [2, 3], "seconds_to_alert": seconds, "money_minor": [frauds * 4_200, found.1 * 4_200] })
    };
    let campaigns = [
        campaign("account_takeover", (6, 6), 24, (23, 24), 0.0),
        campaign("card_testing", (8, 8), 160, (148, 158), 12.5),
        campaign("impossible_travel", (5, 5), 10, (5, 10), 95.0),
        campaign("promo_abuse", (3, 4), 31, (25, 27), 410.0),
    ];
    let tenths: [(i64, f64, f64); 10] = [
        (18_190, 0.002, 0.001),
        (21, 0.14, 0.095),
        (6, 0.25, 0.17),
        (0, 0.0, 0.0),
        (4, 0.44, 0.25),
        (12, 0.56, 0.5),
        (25, 0.66, 0.72),
        (60, 0.74, 0.85),
        (52, 0.86, 0.94),
        (62, 0.97, 1.0),
    ];
    json!({ "payments": 18_432, "frauds": 225, "false_alarms": 9, "false_positive_rate": 0.000_494, "precision": 0.957_1,
        "recall": 0.973_3, "false_alarms_per_true": 0.0448, "refunds_hurt": [1, 212], "good_money_hurt_minor": 81_230,
        "budget_score": 0.41, "calibration": tenths, "campaigns": campaigns,
        "shadows": [{ "rule": "fast", "fired": 41, "truth": [38, 2], "held_more": 9, "more_truth": [8, 1] }] })
}

/// A backtest of that afternoon, with a rule on trial.
pub fn backtest() -> Value {
    let outcome = |held: i64, fraud: i64, fired: (i64, i64), false_alarms: i64| {
        json!({ "judged": 18_657, "held": held, "held_fraud": fraud, "known_fraud": 61, "precision_of_known": fraud as f64 / held as f64,
            "recall_of_known": fraud as f64 / 61.0, "money_saved_minor": fraud * 13_070, "held_others": held - fraud,
            "held_others_minor": (held - fraud) * 6_115, "fired": { "fast": { "payments": fired.0, "known_fraud": fired.1 } },
            "truth": { "precision": 1.0 - false_alarms as f64 / held as f64, "recall": 0.9 + fraud as f64 / 1_000.0,
                "false_alarms": false_alarms, "good_money_hurt_minor": false_alarms * 9_025 } })
    };
    let named = |from: i64, count: i64| (from..from + count).map(id).collect::<Vec<_>>();
    json!({ "records": 412_338, "taken": 412_338, "in_live_order": true, "as_live": 18_657, "live_decisions": 18_657, "live_rows": 18_657,
        "live": outcome(219, 52, (41, 17), 9), "other": outcome(228, 58, (41, 17), 10), "more": { "payments": 11, "known_fraud": 6 },
        "less": { "payments": 2, "known_fraud": 0 }, "held_more": named(40, 11), "held_less": named(60, 2) })
}

fn object(row: Value) -> Map<String, Value> {
    row.as_object().expect("an object").clone()
}

fn id(at: i64) -> String {
    format!("pay_{:06x}", 0x00a1_7f3e_i64.wrapping_mul(at + 1) & 0x00ff_ffff)
}

fn card(at: i64) -> String {
    format!("tok_7f3e9a1c{at:04}")
}

fn device(at: i64) -> String {
    format!("device_c44b2e{at:04}")
}

fn alert(at: i64, time: Timestamp) -> Value {
    let (name, points, values, score) = RULES[at as usize % RULES.len()];
    let values: Map<String, Value> = values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let mut reasons = vec![json!({ "kind": "rule", "name": name, "points": points, "values": values })];
    reasons.push(json!({ "kind": "model", "name": "device_attempts_24h", "points": 0.6, "values": { "device_attempts_24h": 14.0 } }));
    if at == 1 {
        let text = "card on the block list: skimmed in Linz, says the bank (ann)";
        reasons.insert(0, json!({ "kind": "list", "name": "block_list", "points": 0.0, "values": {}, "text": text }));
    }
    let evidence: Vec<Value> = (0..=at % 5)
        .map(|back| {
            let time = Timestamp(time.0 - back * MINUTE_MICROS);
            json!({ "event_id": format!("e-{at}-{back}"), "payment_id": if back == 0 { id(at) } else { format!("{}-{back}", id(at)) },
                "event_time": time, "topic": "transactions", "partition": at % 4, "offset": 9_000 + at * 7 - back })
        })
        .collect();
    json!({ "decision_id": id(at), "kind": "payment", "decision": if at == 1 || score > 0.95 { "block" } else { "review" },
        "score": score, "event_time": time, "payment_id": id(at), "refund_id": null, "order_id": format!("order_{:05}", 4_711 + at),
        "event_id": format!("e-{at}-0"), "user_id": (at % 3 != 0).then(|| format!("user_{:06}", 451 + at)),
        "card_token": card(at), "device_id": device(at % 4), "amount_minor": 1_990 + 7_777 * (at % 9), "currency": "EUR",
        "labels": 120, "reasons": reasons, "evidence": evidence })
}
