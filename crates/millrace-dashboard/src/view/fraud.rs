//! Fraud signals, grouped: one attack is one line that grows, not a line for every window it touches.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::Timestamp;
use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS};
use serde::Serialize;
use serde_json::json;

use super::overview::Range;
use super::{Series, Unit};
use crate::cache::Cache;
use crate::mask;
use crate::row::{Read, Row, public_id};

/// Payment ids shown as evidence.
const PAYMENT_IDS_MAX: usize = 200;

/// How bad a signal is, worst first.
pub(crate) const SEVERITIES: [&str; 4] = ["critical", "high", "medium", "low"];

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct FraudParams {
    /// Only this rule.
    pub(crate) rule: Option<String>,
    /// Only this severity.
    pub(crate) severity: Option<String>,
    /// Range of the chart.
    pub(crate) range: Range,
    /// Longest list.
    pub(crate) limit: usize,
}

/// One attack: the signals of one rule about one entity.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct SignalGroup {
    /// The same for the same rule and entity.
    pub(crate) id: String,
    /// The rule that fired.
    pub(crate) rule: String,
    /// What the entity is: `card_token`, `device_id`, `user_id`.
    pub(crate) entity_kind: String,
    /// Whom it is about, masked.
    pub(crate) entity: String,
    /// The worst seen.
    pub(crate) severity: String,
    /// Payments (or refunds) behind it.
    pub(crate) payments: i64,
    /// Declined ones among them, at least.
    pub(crate) declines: i64,
    /// Cards used, at least.
    pub(crate) cards: i64,
    /// Money at stake, minor units, at least.
    pub(crate) amount_minor: i64,
    /// Its currency.
    pub(crate) currency: String,
    /// First payment.
    pub(crate) first_seen: Option<Timestamp>,
    /// Last payment.
    pub(crate) last_seen: Option<Timestamp>,
    /// Windows in which the rule fired.
    pub(crate) windows: i64,
    /// `provisional` while its newest window is open.
    pub(crate) state: &'static str,
    /// Why, in words with values.
    pub(crate) reason: String,
    /// The payments.
    pub(crate) payment_ids: Vec<String>,
}

/// The fraud page.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Fraud {
    /// Attacks, newest first.
    pub(crate) signals: Vec<SignalGroup>,
    /// Attacks that match, beyond the limit too.
    pub(crate) matching: usize,
    /// Attacks by severity, worst first, before filtering by severity.
    pub(crate) by_severity: Vec<(String, usize)>,
    /// Attacks by rule, before filtering by rule.
    pub(crate) by_rule: Vec<(String, usize)>,
    /// Signals by time and severity.
    pub(crate) over_time: Series,
}

/// Computes the fraud page.
pub(crate) fn fraud(cache: &Cache, params: &FraudParams) -> Fraud {
    let groups = groups(cache);
    let of_rule = |group: &&SignalGroup| params.rule.as_deref().is_none_or(|rule| group.rule == rule);
    let of_severity = |group: &&SignalGroup| params.severity.as_deref().is_none_or(|s| group.severity == s);
    let by_severity = SEVERITIES
        .iter()
        .map(|severity| {
            ((*severity).to_owned(), groups.iter().filter(of_rule).filter(|g| g.severity == *severity).count())
        })
        .collect();
    let mut rules: BTreeMap<String, usize> = groups.iter().map(|group| (group.rule.clone(), 0)).collect();
    for group in groups.iter().filter(of_severity) {
        *rules.entry(group.rule.clone()).or_default() += 1;
    }
    let over_time = over_time(cache, params);
    let matching: Vec<&SignalGroup> = groups.iter().filter(of_rule).filter(of_severity).collect();
    Fraud {
        matching: matching.len(),
        signals: matching.into_iter().take(params.limit).cloned().collect(),
        by_severity,
        by_rule: rules.into_iter().collect(),
        over_time,
    }
}

/// All attacks, newest first.
pub(crate) fn groups(cache: &Cache) -> Vec<SignalGroup> {
    let watermark = cache.watermark("fraud_signals");
    let mut rows: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in cache.rows("fraud_signals") {
        rows.entry((row.text("rule"), row.text("entity"))).or_default().push(row);
    }
    let mut groups: Vec<SignalGroup> =
        rows.into_iter().map(|((rule, entity), rows)| group(rule, entity, &rows, watermark)).collect();
    groups.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.id.cmp(&b.id)));
    groups
}

fn group(rule: &str, entity: &str, rows: &[&Row], watermark: Option<Timestamp>) -> SignalGroup {
    let newest = rows.iter().max_by_key(|row| row.time("last_seen"));
    let kind = newest.map_or("", |row| row.text("entity_kind"));
    let payment_ids: BTreeSet<String> = rows.iter().flat_map(|row| row.texts("payment_ids")).collect();
    let severity = SEVERITIES.iter().find(|severity| rows.iter().any(|row| row.text("severity") == **severity));
    let last_end = rows.iter().filter_map(|row| row.time("window_end")).max().unwrap_or_default();
    let mut group = SignalGroup {
        id: public_id(&format!("{rule}\u{1f}{entity}")),
        rule: rule.to_owned(),
        entity_kind: kind.to_owned(),
        entity: match kind {
            "ip" => mask::address(entity),
            // A storefront is nobody.
            "store_id" => entity.to_owned(),
            _ => mask::id(entity),
        },
        severity: severity.copied().map_or_else(|| rows[0].text("severity").to_owned(), str::to_owned),
        payments: at_least(rows, "payments").max(payment_ids.len() as i64),
        declines: at_least(rows, "declines"),
        cards: rows.iter().map(|row| row.int("cards")).max().unwrap_or(0),
        amount_minor: at_least(rows, "amount_minor"),
        currency: newest.map_or("", |row| row.text("currency")).to_owned(),
        first_seen: rows.iter().filter_map(|row| row.time("first_seen")).min(),
        last_seen: rows.iter().filter_map(|row| row.time("last_seen")).max(),
        windows: rows.len() as i64,
        state: super::overview::state(watermark, last_end),
        reason: String::new(),
        payment_ids: payment_ids.into_iter().take(PAYMENT_IDS_MAX).collect(),
    };
    group.reason = reason(&group);
    group
}

/// A sum over windows that slide: the larger of the largest window and the sum over those that do not overlap.
fn at_least(rows: &[&Row], column: &str) -> i64 {
    let aligned = rows.iter().filter(|row| match (row.time("window_start"), row.time("window_end")) {
        (Some(start), Some(end)) if end > start => start.0.rem_euclid(end.0 - start.0) == 0,
        _ => false,
    });
    let sum: i64 = aligned.map(|row| row.int(column)).sum();
    rows.iter().map(|row| row.int(column)).max().unwrap_or(0).max(sum)
}

/// Why the rule fired, for a person who has not read its SQL.
fn reason(group: &SignalGroup) -> String {
    let SignalGroup { payments, declines, cards, .. } = group;
    match group.rule.as_str() {
        "velocity" => format!("{payments} payment attempts with one card within minutes, {declines} declined"),
        "card_testing" => format!("{cards} cards tried from one device, {declines} of {payments} payments declined"),
        "declines_then_success" => {
            format!("{declines} declines of a card, then it worked ({payments} attempts in all)")
        }
        "amount_out_of_habit" => "a payment more than six times what this account usually spends".to_owned(),
        "refund_abuse" => format!("{payments} refunds to one account, worth at least half of its orders"),
        "refund_without_return" => format!("{payments} refunded orders of one account whose goods did not come back"),
        "promo_abuse" => format!("{payments} orders with a promotion from one device, each time under another name"),
        "decline_rate" => {
            format!("{declines} of all {payments} payments declined within five minutes, with {cards} cards")
        }
        "impossible_travel" => "one card within half an hour at places more than 500 km apart".to_owned(),
        "account_takeover" => "failed sign-ins, a new password, then a payment".to_owned(),
        _ => format!("{payments} payments, {declines} declined"),
    }
}

/// The rule's name for people: `card_testing` → `Card testing`.
pub(crate) fn rule_label(rule: &str) -> String {
    let mut label = rule.replace('_', " ");
    if let Some(first) = label.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    label
}

fn over_time(cache: &Cache, params: &FraudParams) -> Series {
    let mut series = Series::new(vec![
        ("time", "From", Unit::Time),
        ("critical", "Critical", Unit::Count),
        ("high", "High", Unit::Count),
        ("medium", "Medium", Unit::Count),
        ("low", "Low", Unit::Count),
    ]);
    let rows =
        || cache.rows("fraud_signals").filter(|row| params.rule.as_deref().is_none_or(|r| row.text("rule") == r));
    let newest = rows().filter_map(|row| row.time("last_seen")).max();
    // Time goes on without signals too.
    let clock = Some(cache.clock("vitals")).filter(|clock| clock.0 > 0);
    let Some(at) = newest.max(clock) else { return series };
    let width = match params.range {
        Range::QuarterHour => MINUTE_MICROS,
        Range::Hour => 2 * MINUTE_MICROS,
        Range::SixHours => 10 * MINUTE_MICROS,
        Range::Day => HOUR_MICROS,
    };
    let open = Timestamp(at.0 - 1).floor(width);
    let buckets = params.range.micros() / width;
    let mut counts = vec![[0_i64; SEVERITIES.len()]; buckets as usize];
    for row in rows() {
        let (Some(time), severity) = (row.time("last_seen"), row.text("severity")) else { continue };
        let back = (open.0 - time.floor(width).0) / width;
        let Some(level) = SEVERITIES.iter().position(|name| *name == severity) else { continue };
        if (0..buckets).contains(&back) {
            counts[(buckets - 1 - back) as usize][level] += 1;
        }
    }
    for (bucket, levels) in counts.iter().enumerate() {
        let start = Timestamp(open.0 - (buckets - 1 - bucket as i64) * width);
        let mut values = vec![json!(start)];
        values.extend(levels.iter().map(|count| json!(count)));
        series.rows.push(values);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};

    fn signal(entity: &str, start_minute: i64, payments: i64, severity: &str) -> serde_json::Value {
        let ids: Vec<String> = (0..payments).map(|n| format!("pay-{}", start_minute / 10 * 100 + n)).collect();
        json!({
            "signal_id": format!("velocity:{entity}:{}", start_minute * 60),
            "window_start": at(start_minute * 60), "window_end": at(start_minute * 60 + 600),
            "rule": "velocity", "entity_kind": "card_token", "entity": entity, "severity": severity,
            "payments": payments, "declines": 1, "cards": 1, "amount_minor": payments * 100, "currency": "EUR",
            "first_seen": at(start_minute * 60 + 1), "last_seen": at(start_minute * 60 + 500), "payment_ids": ids
        })
    }

    #[test]
    fn one_attack_is_one_line() {
        let rows = vec![
            signal("card_7f3e9a1c44b2", 0, 5, "medium"),
            // Overlaps both neighbours: it must not be added to them.
            signal("card_7f3e9a1c44b2", 5, 8, "medium"),
            signal("card_7f3e9a1c44b2", 10, 12, "high"),
            signal("card_000000000000", 0, 6, "medium"),
        ];
        let cache = cache_of(vec![("fraud_signals", json_rows(rows))]);
        let page = fraud(&cache, &FraudParams { limit: 10, ..FraudParams::default() });
        assert_eq!(page.signals.len(), 2);
        let first = &page.signals[0];
        assert_eq!((first.severity.as_str(), first.entity.as_str(), first.windows), ("high", "card…44b2", 3));
        assert_eq!((first.payments, first.amount_minor), (20, 1_700));
        assert_eq!(page.by_severity[1], ("high".to_owned(), 1));
        assert_eq!(page.by_rule, [("velocity".to_owned(), 2)]);
        assert_eq!(page.over_time.rows.len(), 30);
        let severe = FraudParams { severity: Some("high".into()), limit: 10, ..FraudParams::default() };
        assert_eq!(fraud(&cache, &severe).matching, 1);
    }

    #[test]
    fn labels() {
        assert_eq!(rule_label("declines_then_success"), "Declines then success");
        assert_eq!(rule_label(""), "");
    }
}
