//! What a row means for a route, and when messages go: decisions, without effects.
//!
//! ```text
//!  row ──▶ judge: does it meet the conditions, whom is it about, how bad is it
//!              │           known: none ─▶ fire · open ─▶ touch, or escalate when worse · resolved ─▶ fire, next occurrence
//!              └──▶ step ──  and the row meets them no more: open ─▶ resolve
//! ```

use std::time::Duration;

use millrace_connectors::notify::{EVIDENCE_MAX, Severity};
use millrace_model::{Contract, Timestamp};
use serde_json::{Map, Value};

use super::settings::{Quiet, Route, SEVERITY_COLUMN};

/// Longest value shown as evidence, characters.
const VALUE_CHARS_MAX: usize = 200;

/// A route, ready for rows.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) route: Route,
    key: Vec<String>,
    entity: String,
    event_time: Option<String>,
    has_severity: bool,
}

/// What a row says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Judged {
    pub(super) alert_id: String,
    pub(super) entity: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) event_time: Option<Timestamp>,
    pub(super) meets: bool,
}

/// What is known of an alert's last occurrence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) occurrence: i64,
    pub(super) open: bool,
    pub(super) severity: Severity,
    pub(super) hits: i64,
    pub(super) fired_at: Timestamp,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It is no alert and was none.
    Nothing,
    /// A new occurrence.
    Fire,
    /// The same, with newer values.
    Touch,
    /// The same, and worse.
    Escalate,
    /// It is over.
    Resolve,
}

impl Rule {
    /// The route over this table.
    pub(super) fn new(name: &str, route: &Route, table: &Contract) -> Self {
        let has = |column: &str| table.columns.iter().any(|known| known.name == column);
        let default = || match has("entity") {
            true => "entity".to_owned(),
            false => table.key.last().cloned().unwrap_or_default(),
        };
        Rule {
            name: name.to_owned(),
            entity: route.entity.clone().unwrap_or_else(default),
            route: route.clone(),
            key: table.key.clone(),
            event_time: table.event_time.clone(),
            has_severity: has(SEVERITY_COLUMN),
        }
    }

    /// Reads a row.
    pub(super) fn judge(&self, row: &Map<String, Value>) -> Judged {
        let value = |column: &str| row.get(column).unwrap_or(&Value::Null);
        let severity = match self.has_severity {
            true => value(SEVERITY_COLUMN).as_str().and_then(Severity::named).unwrap_or(self.route.severity),
            false => self.route.severity,
        };
        let key: Vec<String> = self.key.iter().map(|column| shown(value(column))).collect();
        let entity = shown(value(&self.entity));
        let title = match &self.route.title {
            Some(title) => filled(title, row),
            None => match value("rule").as_str() {
                Some(rule) => format!("{rule}: {entity}"),
                None => format!("{}: {entity}", self.route.table),
            },
        };
        let conditions = &self.route.conditions;
        let time = self.event_time.as_ref().and_then(|column| value(column).as_str());
        Judged {
            alert_id: format!("{}/{}", self.name, key.join("/")),
            entity,
            severity,
            title,
            event_time: time.and_then(|time| Timestamp::parse(time.as_bytes())),
            meets: severity >= self.route.severity_min
                && conditions.iter().all(|(column, wanted)| wanted.holds(value(column))),
        }
    }

    /// Names and values of a row that a message shows: without what it says already, and without empty ones.
    pub(super) fn evidence(&self, row: &Map<String, Value>) -> Vec<(String, String)> {
        let told = [self.entity.as_str(), SEVERITY_COLUMN];
        let values = row.iter().filter(|(name, value)| !value.is_null() && !told.contains(&name.as_str()));
        values.map(|(name, value)| (name.clone(), shown(value))).take(EVIDENCE_MAX).collect()
    }
}

/// Decides from what is known and what the row says.
pub(super) fn step(known: Option<&Known>, judged: &Judged) -> Step {
    match (known.filter(|known| known.open), judged.meets) {
        (None, true) => Step::Fire,
        (None, false) => Step::Nothing,
        (Some(open), true) if judged.severity > open.severity => Step::Escalate,
        (Some(_), true) => Step::Touch,
        (Some(_), false) => Step::Resolve,
    }
}

/// Whether the event is too old to be news.
pub(super) fn is_old(event_time: Option<Timestamp>, now: Timestamp, age_max: Duration) -> bool {
    let age_max = i64::try_from(age_max.as_micros()).unwrap_or(i64::MAX);
    event_time.is_some_and(|time| now.0.saturating_sub(time.0) > age_max)
}

/// What decides when the waiting alerts of a route go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// When the first of them was queued.
    pub(super) since: Timestamp,
    /// The gravest of them.
    pub(super) gravest: Severity,
    /// When the route last sent to this channel.
    pub(super) last_sent: Option<Timestamp>,
}

/// Whether they go now.
pub(super) fn due(route: &Route, waiting: Waiting, now: Timestamp) -> bool {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let passed = |since: Timestamp, time: Duration| now.0.saturating_sub(since.0) >= micros(time);
    let is_quiet = |quiet: Quiet| quiet.holds(minute_of_day(now)) && waiting.gravest < route.quiet_lets_through;
    !route.quiet.is_some_and(is_quiet)
        && passed(waiting.since, route.gather)
        && waiting.last_sent.is_none_or(|last| passed(last, route.every))
}

fn minute_of_day(time: Timestamp) -> u32 {
    u32::try_from(time.0.div_euclid(60_000_000).rem_euclid(1_440)).unwrap_or(0)
}

/// A value as a person reads it.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A title with its columns filled in; an unknown one stays as it stands.
fn filled(title: &str, row: &Map<String, Value>) -> String {
    let mut text = title.to_owned();
    for (name, value) in row {
        let place = format!("{{{name}}}");
        if text.contains(&place) {
            text = text.replace(&place, &shown(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(route: &str) -> Rule {
        let text = include_str!("../../../../../contracts/results/fraud_signals.json");
        let table = Contract::parse(text).expect("a contract");
        let route: Route =
            toml::from_str(&format!("table = 'fraud_signals'\nchannels = ['ops']\n{route}")).expect("a route");
        Rule::new("fraud", &route, &table)
    }

    fn row(severity: &str) -> Map<String, Value> {
        let row = json!({
            "signal_id": "v/1", "rule": "velocity", "entity": "card_1", "severity": severity, "payments": 12,
            "currency": null, "payment_ids": ["p1", "p2"], "window_end": "2026-01-01T00:10:00Z",
        });
        row.as_object().cloned().expect("an object")
    }

    #[test]
    fn rows_are_judged() {
        let judged = rule("severity_min = 'high'").judge(&row("high"));
        assert_eq!((judged.alert_id.as_str(), judged.title.as_str()), ("fraud/v/1", "velocity: card_1"));
        assert_eq!(judged.event_time, Timestamp::parse(b"2026-01-01T00:10:00Z"));
        for (route, severity, meets) in [
            ("severity_min = 'high'", "high", true),
            ("severity_min = 'high'", "medium", false),
            ("where = { rule = 'velocity', payments = 12 }", "low", true),
            ("where = { rule = ['velocity', 'x'] }", "low", true),
            ("where = { rule = 'card_testing' }", "critical", false),
            ("where = { payments = 13 }", "critical", false),
        ] {
            assert_eq!(rule(route).judge(&row(severity)).meets, meets, "{route} {severity}");
        }
        let rule = rule("title = '{payments} payments with {entity} {nothing}'");
        assert_eq!(rule.judge(&row("low")).title, "12 payments with card_1 {nothing}");
        let evidence = rule.evidence(&row("low"));
        assert!(evidence.contains(&("payment_ids".into(), "p1, p2".into())), "{evidence:?}");
        assert!(!evidence.iter().any(|(name, _)| ["entity", "severity", "currency"].contains(&name.as_str())));
    }

    #[test]
    fn steps() {
        let known = |open, severity| Known { occurrence: 1, open, severity, hits: 1, fired_at: Timestamp(0) };
        let judged = |severity, meets| Judged { meets, ..rule("").judge(&row(severity)) };
        for (before, severity, meets, expected) in [
            (None, "high", true, Step::Fire),
            (None, "high", false, Step::Nothing),
            (Some(known(true, Severity::High)), "high", true, Step::Touch),
            (Some(known(true, Severity::High)), "low", true, Step::Touch),
            (Some(known(true, Severity::High)), "critical", true, Step::Escalate),
            (Some(known(true, Severity::High)), "high", false, Step::Resolve),
            (Some(known(false, Severity::High)), "high", false, Step::Nothing),
            (Some(known(false, Severity::High)), "low", true, Step::Fire),
        ] {
            assert_eq!(step(before.as_ref(), &judged(severity, meets)), expected, "{before:?} {severity} {meets}");
        }
        let hour = Duration::from_secs(3_600);
        assert!(is_old(Some(Timestamp(0)), Timestamp(3_600_000_001), hour));
        assert!(
            !is_old(Some(Timestamp(0)), Timestamp(3_600_000_000), hour) && !is_old(None, Timestamp(i64::MAX), hour)
        );
    }

    #[test]
    fn messages_wait_for_company_and_for_the_end_of_the_night() {
        let rule = rule("gather = '10s'\nevery = '1m'\nquiet = '22:00-07:00'");
        let at = |hour: i64, seconds: i64| Timestamp((hour * 3_600 + seconds) * 1_000_000);
        for (since, now, gravest, last_sent, expected) in [
            (at(12, 0), at(12, 9), Severity::Low, None, false),
            (at(12, 0), at(12, 10), Severity::Low, None, true),
            (at(12, 0), at(12, 10), Severity::Critical, Some(at(12, -20)), false),
            (at(12, 0), at(12, 40), Severity::Low, Some(at(12, -20)), true),
            (at(23, 0), at(23, 30), Severity::High, None, false),
            (at(23, 0), at(23, 30), Severity::Critical, None, true),
            (at(23, 0), at(31, 0), Severity::High, None, true),
        ] {
            let waiting = Waiting { since, gravest, last_sent };
            assert_eq!(due(&rule.route, waiting, now), expected, "{waiting:?} at {now}");
        }
    }
}
