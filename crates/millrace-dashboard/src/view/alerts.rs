//! The alert centre: what fired, gathered by whom it is about, with values, messages and who looks after it. Personal values
//! are masked here: in ids, titles and evidence alike.

use std::collections::BTreeMap;

use millrace_connectors::alerts::{AlertFilter, Facet, Standing};
use millrace_connectors::notify::Severity;
use millrace_model::Timestamp;
use millrace_model::time::{DAY_MICROS, HOUR_MICROS};
use serde::Serialize;
use serde_json::Value;

use crate::alerts::public_name;
use crate::mask;
use crate::row::{Read, Row, public_id};

/// How bad an alert is, worst first.
pub(crate) const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];
/// Values of a row shown as evidence.
const EVIDENCE_MAX: usize = 24;
/// Characters of a value shown.
const VALUE_CHARS_MAX: usize = 200;

/// How far back alerts are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Since {
    /// An hour.
    Hour,
    /// A day.
    #[default]
    Day,
    /// A week.
    Week,
    /// All there are.
    Ever,
}

impl Since {
    /// All, shortest first.
    pub(crate) const ALL: [Since; 4] = [Since::Hour, Since::Day, Since::Week, Since::Ever];

    /// As in the query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Since::Hour => "1h",
            Since::Day => "24h",
            Since::Week => "7d",
            Since::Ever => "all",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Since::ALL.into_iter().find(|since| since.name() == name)
    }

    /// Where it begins.
    pub(crate) fn start(self, now: Timestamp) -> Option<Timestamp> {
        let micros = match self {
            Since::Hour => HOUR_MICROS,
            Since::Day => DAY_MICROS,
            Since::Week => 7 * DAY_MICROS,
            Since::Ever => return None,
        };
        Some(Timestamp(now.0 - micros))
    }
}

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AlertsParams {
    /// Only alerts that stand so.
    pub(crate) standing: Option<Standing>,
    /// Only this severity.
    pub(crate) severity: Option<Severity>,
    /// Only this route.
    pub(crate) route: Option<String>,
    /// A part of entity or title.
    pub(crate) search: Option<String>,
    /// How far back.
    pub(crate) since: Since,
    /// Longest list.
    pub(crate) limit: usize,
}

impl AlertsParams {
    /// As the store is asked.
    pub(crate) fn filter(&self, now: Timestamp) -> AlertFilter {
        AlertFilter {
            standing: self.standing,
            severity: self.severity,
            route: self.route.clone(),
            text: self.search.clone(),
            since: self.since.start(now),
            until: None,
        }
    }
}

/// What the store answered.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Found {
    /// Occurrences, those of an entity together.
    pub(crate) rows: Vec<Row>,
    /// Messages about them.
    pub(crate) deliveries: Vec<Row>,
    /// How many there are within time and search.
    pub(crate) facets: Vec<Facet>,
    /// Entities that match, beyond the limit too.
    pub(crate) entities: i64,
    /// Messages that are not done, by state.
    pub(crate) undelivered: Vec<(String, i64)>,
}

/// The alert centre.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Centre {
    /// Whom alerts are about; those with something open first, then the newest.
    pub(crate) groups: Vec<AlertGroup>,
    /// Entities that match, beyond the limit too.
    pub(crate) matching: i64,
    /// Alerts by how they stand, before filtering by that.
    pub(crate) by_standing: Vec<(&'static str, i64)>,
    /// Alerts by severity, worst first, before filtering by severity.
    pub(crate) by_severity: Vec<(&'static str, i64)>,
    /// Alerts by route, before filtering by route.
    pub(crate) by_route: Vec<(String, i64)>,
    /// Messages that wait, are being sent, or were refused, at any time.
    pub(crate) undelivered: Vec<(String, i64)>,
}

/// The alerts of one table about one entity.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct AlertGroup {
    /// The same for the same table and entity.
    pub(crate) id: String,
    /// Table of the rows that fired.
    pub(crate) table: String,
    /// Whom or what it is about, masked when it is a person's.
    pub(crate) entity: String,
    /// The gravest shown.
    pub(crate) severity: String,
    /// The newest in one line.
    pub(crate) title: String,
    /// Open before snoozed before acknowledged before over: the first there is.
    pub(crate) standing: &'static str,
    /// Alerts that match.
    pub(crate) alerts: i64,
    /// Open ones among them.
    pub(crate) open: i64,
    /// Rows behind them.
    pub(crate) hits: i64,
    /// The newest.
    pub(crate) fired_at: Option<Timestamp>,
    /// Nothing is told until then.
    pub(crate) snoozed_until: Option<Timestamp>,
    /// Who said so.
    pub(crate) snoozed_by: String,
    /// The page that shows more.
    pub(crate) link: String,
    /// The newest occurrences, newest first.
    pub(crate) occurrences: Vec<AlertOccurrence>,
    /// Names and values of the newest row, masked.
    pub(crate) evidence: Vec<(String, String)>,
}

/// Once that it fired.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct AlertOccurrence {
    /// For `POST /v1/alerts/{id}/…`.
    pub(crate) id: String,
    /// 1 for the first time.
    pub(crate) occurrence: i64,
    /// Route it came by.
    pub(crate) route: String,
    /// How bad.
    pub(crate) severity: String,
    /// In one line.
    pub(crate) title: String,
    /// How it stands.
    pub(crate) standing: &'static str,
    /// Rows behind it.
    pub(crate) hits: i64,
    /// Event time of the row.
    pub(crate) event_time: Option<Timestamp>,
    /// When it fired.
    pub(crate) fired_at: Option<Timestamp>,
    /// When it last changed.
    pub(crate) updated_at: Option<Timestamp>,
    /// When it was over.
    pub(crate) resolved_at: Option<Timestamp>,
    /// Since when somebody looks after it.
    pub(crate) acked_at: Option<Timestamp>,
    /// Who; or who took that back.
    pub(crate) acked_by: String,
    /// What channels were told, oldest first.
    pub(crate) deliveries: Vec<AlertDelivery>,
}

/// A message about an occurrence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct AlertDelivery {
    /// The channel.
    pub(crate) channel: String,
    /// `fired`, `escalated`, `resolved`.
    pub(crate) cause: String,
    /// `waiting`, `sending`, `sent`, `failed`, `acknowledged`.
    pub(crate) state: String,
    /// When it was to be told first.
    pub(crate) queued_at: Option<Timestamp>,
    /// When the channel took it.
    pub(crate) sent_at: Option<Timestamp>,
    /// Why it was refused.
    pub(crate) error: String,
}

/// Computes the alert centre.
pub(crate) fn centre(found: Found, params: &AlertsParams, now: Timestamp) -> Centre {
    let sum =
        |of: &dyn Fn(&Facet) -> bool| found.facets.iter().filter(|facet| of(facet)).map(|f| f.alerts).sum::<i64>();
    let stands = |facet: &Facet| params.standing.is_none_or(|standing| facet.standing == standing);
    let as_bad = |facet: &Facet| params.severity.is_none_or(|severity| facet.severity == severity.name());
    let by_way = |facet: &Facet| params.route.as_deref().is_none_or(|route| facet.route == route);
    let mut routes: BTreeMap<&str, i64> = BTreeMap::new();
    for facet in &found.facets {
        let counted = if stands(facet) && as_bad(facet) { facet.alerts } else { 0 };
        *routes.entry(&facet.route).or_default() += counted;
    }
    let standing = |standing: Standing| {
        (standing.name(), sum(&|facet| facet.standing == standing && as_bad(facet) && by_way(facet)))
    };
    let severity =
        |severity: &'static str| (severity, sum(&|facet| facet.severity == severity && stands(facet) && by_way(facet)));
    let mut deliveries: BTreeMap<(&str, i64), Vec<AlertDelivery>> = BTreeMap::new();
    for row in &found.deliveries {
        deliveries.entry((row.text("alert_id"), row.int("occurrence"))).or_default().push(delivery(row));
    }
    let of_entity =
        |a: &Row, b: &Row| a.text("source_table") == b.text("source_table") && a.text("entity") == b.text("entity");
    let groups = found.rows.chunk_by(|a, b| of_entity(a, b)).map(|rows| group(rows, &deliveries, now)).collect();
    Centre {
        groups,
        matching: found.entities,
        by_standing: Standing::ALL.map(standing).to_vec(),
        by_severity: SEVERITIES.map(severity).to_vec(),
        by_route: routes.into_iter().map(|(route, alerts)| (route.to_owned(), alerts)).collect(),
        undelivered: found.undelivered,
    }
}

fn group(rows: &[Row], deliveries: &BTreeMap<(&str, i64), Vec<AlertDelivery>>, now: Timestamp) -> AlertGroup {
    let newest = &rows[0];
    let row = evidence_of(newest);
    let masked = Masked::of(&row, newest.text("entity"));
    let occurrences: Vec<AlertOccurrence> = rows.iter().map(|row| occurrence(row, deliveries)).collect();
    let worst = SEVERITIES.iter().find(|severity| occurrences.iter().any(|o| o.severity == **severity));
    // Rows beyond those shown may be open too.
    let standing = if newest.int("group_open") > 0 { Some(Standing::Open) } else { None };
    let standing = standing.or_else(|| occurrences.iter().filter_map(|o| Standing::named(o.standing)).min());
    let snoozed_until = newest.time("snoozed_until").filter(|until| *until > now);
    AlertGroup {
        id: format!("a{}", public_id(&format!("{}\u{1f}{}", newest.text("source_table"), newest.text("entity")))),
        table: newest.text("source_table").to_owned(),
        severity: worst.map_or_else(|| newest.text("severity").to_owned(), |severity| (*severity).to_owned()),
        title: masked.title(newest.text("title")),
        standing: standing.map_or("over", Standing::name),
        alerts: newest.int("group_alerts"),
        open: newest.int("group_open"),
        hits: newest.int("group_hits"),
        fired_at: newest.time("fired_at"),
        snoozed_by: if snoozed_until.is_some() { newest.text("snoozed_by").to_owned() } else { String::new() },
        snoozed_until,
        link: link(newest.text("source_table"), &row),
        evidence: masked.evidence(),
        entity: masked.entity,
        occurrences,
    }
}

fn occurrence(row: &Row, deliveries: &BTreeMap<(&str, i64), Vec<AlertDelivery>>) -> AlertOccurrence {
    let (alert_id, number) = (row.text("alert_id"), row.int("occurrence"));
    let fired_at = row.time("fired_at");
    AlertOccurrence {
        id: public_name(alert_id, number, fired_at.unwrap_or_default()),
        occurrence: number,
        route: row.text("route").to_owned(),
        severity: row.text("severity").to_owned(),
        title: Masked::of(&evidence_of(row), row.text("entity")).title(row.text("title")),
        standing: Standing::named(row.text("standing")).map_or("open", Standing::name),
        hits: row.int("hits"),
        event_time: row.time("event_time"),
        fired_at,
        updated_at: row.time("updated_at"),
        resolved_at: row.time("resolved_at"),
        acked_at: row.time("acked_at"),
        acked_by: row.text("acked_by").to_owned(),
        deliveries: deliveries.get(&(alert_id, number)).cloned().unwrap_or_default(),
    }
}

fn delivery(row: &Row) -> AlertDelivery {
    AlertDelivery {
        channel: row.text("channel").to_owned(),
        cause: row.text("cause").to_owned(),
        state: row.text("state").to_owned(),
        queued_at: row.time("queued_at"),
        sent_at: row.time("sent_at"),
        error: row.text("error").to_owned(),
    }
}

/// The row an alert fired by. SQLite gives JSON of an expression as text.
fn evidence_of(row: &Row) -> Row {
    match row.get("evidence") {
        Some(Value::Object(evidence)) => evidence.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Row::new(),
    }
}

/// A row's values as they may be shown, and what of them stood in for what.
struct Masked {
    row: Row,
    entity: String,
    /// Personal values and what is shown instead, longest first.
    instead: Vec<(String, String)>,
}

impl Masked {
    fn of(evidence: &Row, entity: &str) -> Self {
        let mut row = evidence.clone();
        mask::row(&mut row);
        let mut instead: Vec<(String, String)> = evidence
            .iter()
            .filter_map(|(name, value)| Some((value.as_str()?.to_owned(), row.get(name)?.as_str()?.to_owned())))
            .filter(|(value, shown)| value != shown && !value.is_empty())
            .collect();
        // Whose value the entity is decides; nobody's known: it is taken for a person's.
        let of_column =
            |(name, value): (&String, &Value)| (value.as_str() == Some(entity)).then(|| row.text(name).to_owned());
        let as_text = |value: &Value| (!value.is_string()).then(|| value.to_string());
        let is_plain = evidence.iter().any(|(_, value)| as_text(value).as_deref() == Some(entity));
        let shown = evidence.iter().find_map(of_column);
        let shown = shown.unwrap_or_else(|| if is_plain { entity.to_owned() } else { mask::id(entity) });
        if shown != entity && !entity.is_empty() {
            instead.push((entity.to_owned(), shown.clone()));
        }
        instead.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Masked { row, entity: shown, instead }
    }

    fn title(&self, title: &str) -> String {
        self.instead.iter().fold(title.to_owned(), |title, (value, shown)| title.replace(value.as_str(), shown))
    }

    fn evidence(&self) -> Vec<(String, String)> {
        let shown = self.row.iter().filter(|(_, value)| !value.is_null());
        shown.map(|(name, value)| (name.clone(), in_words(value))).take(EVIDENCE_MAX).collect()
    }
}

fn in_words(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The page that shows more of what a row tells.
fn link(table: &str, row: &Row) -> String {
    let query = |path: &str, name: &str, value: &str| {
        let params: crate::params::Params = [(name.to_owned(), value.to_owned())].into_iter().collect();
        params.query(path)
    };
    match table {
        "fraud_signals" => {
            format!("/fraud#{}", public_id(&format!("{}\u{1f}{}", row.text("rule"), row.text("entity"))))
        }
        _ if table.starts_with("fraud") => "/fraud".to_owned(),
        _ if table.starts_with("stock") => query("/stock", "q", row.text("product_id")),
        _ if table.starts_with("session") || table.starts_with("abandoned") => "/sessions".to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(id: &str, occurrence: i64, standing: &str, severity: &str, evidence: &Value) -> Row {
        let value = json!({
            "alert_id": id, "occurrence": occurrence, "route": "fraud", "source_table": "fraud_signals",
            "entity": "card_7f3e9a1c44b2", "severity": severity, "title": "velocity: card_7f3e9a1c44b2",
            "evidence": evidence, "hits": 2, "fired_at": Timestamp(5_000_000), "standing": standing,
            "group_alerts": 2, "group_open": 0, "group_hits": 4,
        });
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn an_entity_is_one_group_and_its_person_is_masked() {
        let evidence = json!({
            "signal_id": "velocity:card_7f3e9a1c44b2:0", "rule": "velocity", "entity_kind": "card_token",
            "entity": "card_7f3e9a1c44b2", "payments": 9, "payment_ids": ["p1", "p2"], "gone": null,
        });
        let rows =
            vec![row("fraud/a", 2, "acknowledged", "medium", &evidence), row("fraud/b", 1, "over", "high", &evidence)];
        let delivery = json!({"alert_id": "fraud/a", "occurrence": 2, "channel": "ops", "cause": "fired", "state": "failed", "error": "400"});
        let facet = |standing, severity: &str, alerts| Facet {
            standing,
            severity: severity.into(),
            route: "fraud".into(),
            alerts,
        };
        let found = Found {
            rows,
            deliveries: vec![delivery.as_object().expect("an object").clone()],
            facets: vec![facet(Standing::Open, "high", 3), facet(Standing::Over, "low", 4)],
            entities: 1,
            undelivered: Vec::new(),
        };
        let params = AlertsParams { severity: Some(Severity::High), ..AlertsParams::default() };
        let page = centre(found, &params, Timestamp(0));
        assert_eq!(page.groups.len(), 1);
        let group = &page.groups[0];
        assert_eq!((group.entity.as_str(), group.title.as_str()), ("card…44b2", "velocity: card…44b2"));
        assert_eq!((group.severity.as_str(), group.standing, group.alerts), ("high", "acknowledged", 2));
        assert_eq!(group.occurrences[0].deliveries[0].error, "400");
        assert!(group.occurrences[1].deliveries.is_empty());
        assert!(group.link.starts_with("/fraud#"));
        let told = serde_json::to_string(&page).expect("JSON");
        assert!(!told.contains("7f3e9a1c"), "{told}");
        assert!(group.evidence.contains(&("payment_ids".into(), "p1, p2".into())));
        assert_eq!(page.by_standing[0], ("open", 3));
        assert_eq!(page.by_standing[3], ("over", 0), "the filter by severity counts here");
        assert_eq!(page.by_severity[3], ("low", 4), "and here it does not");
    }

    #[test]
    fn what_is_no_persons_is_shown() {
        let masked = |evidence: Value, entity: &str| Masked::of(evidence.as_object().expect("an object"), entity);
        let stock = masked(json!({"product_id": "p-1007", "available": 3}), "p-1007");
        assert_eq!((stock.entity.as_str(), stock.title("p-1007: 3 left").as_str()), ("p-1007", "p-1007: 3 left"));
        assert_eq!(masked(json!({"hour": 17}), "17").entity, "17");
        let unknown = masked(json!({"available": 3}), "visitor-000001");
        assert_eq!(
            (unknown.entity.as_str(), unknown.title("of visitor-000001").as_str()),
            ("visi…0001", "of visi…0001")
        );
        assert_eq!(
            masked(json!({"entity_kind": "ip", "entity": "203.0.113.77"}), "203.0.113.77").entity,
            "203.0.113.x"
        );
        assert_eq!(
            link("stock_levels", json!({"product_id": "p 1"}).as_object().expect("an object")),
            "/stock?q=p%201"
        );
    }
}
