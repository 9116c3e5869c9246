//! The alert centre: one list of what fired, whom it is about, what channels were told, and buttons to answer.

use maud::{Markup, html};
use millrace_connectors::alerts::Standing;
use millrace_connectors::notify::Severity;
use serde_json::json;

use super::Sections;
use super::kit::{Choice, Panel, When, count, empty, grouped, list, pill, search, things, when};
use super::layout::Body;
use crate::params::{Params, encode};
use crate::section::Section;
use crate::view::alerts::{AlertDelivery, AlertGroup, AlertOccurrence, AlertsParams, Centre, Since};

/// Its address.
pub(super) const PATH: &str = "/alerts";
/// Parameters it knows.
pub(super) const PARAMS: [&str; 5] = ["state", "severity", "route", "q", "since"];
/// Entities listed; filters have the rest.
const LISTED_MAX: usize = 60;
/// How long a snooze can be, at a press.
const SNOOZES: [(&str, &str); 3] = [("1h", "1 h"), ("4h", "4 h"), ("24h", "24 h")];

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> AlertsParams {
    AlertsParams {
        standing: params.get("state").and_then(Standing::named),
        severity: params.get("severity").and_then(Severity::named),
        route: params.owned("route"),
        search: params.owned("q"),
        since: params.get("since").and_then(Since::named).unwrap_or_default(),
        limit: limit.min(LISTED_MAX),
    }
}

/// The live sections; of a store that does not answer, only that.
pub(super) fn sections(centre: Result<&Centre, &str>, params: &Params) -> Vec<Section> {
    let trouble = centre.err().map(|why| ("trouble".to_owned(), html! { p.notice data-key="trouble" { (why) } }));
    let mut sections = vec![Section::html("trouble", trouble)];
    if let Ok(centre) = centre {
        sections.push(Section::html("summary", summary(centre)));
        sections.push(Section::one("filters", filters(centre, params)));
        sections.push(Section::one("shown", shown(centre)));
        sections.push(Section::html("alerts", centre.groups.iter().map(|group| (group.id.clone(), line(group)))));
    }
    sections
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let since: Vec<(Option<&str>, &str, Option<usize>)> = Since::ALL
        .iter()
        .map(|since| ((*since != Since::default()).then_some(since.name()), since.name(), None))
        .collect();
    let keep: Vec<&str> = PARAMS.into_iter().filter(|name| *name != "q").collect();
    let controls = html! {
        (search(PATH, params, "Search entities", &keep))
        (Choice { path: PATH, params, name: "since", label: "Fired within" }.links(&since))
        (super::kit::who())
    };
    let content = html! {
        (list("div", "troubles", "trouble", sections))
        (list("ul", "kpis", "summary", sections))
        (list("div", "filters", "filters", sections))
        (Panel {
            id: "alerts", title: "Alerts", tables: "",
            note: html! { "gathered by whom they are about; what is open first, then the newest; personal values are masked" },
            tools: list("span", "", "shown", sections),
        }.around(html! {
            (list("ul", "alerts", "alerts", sections))
            (empty("No alerts here", "Routes in millrace.toml say which rows of which tables fire; docs/operating/alerts.md has examples."))
        }))
    };
    Body { controls, content }
}

fn summary(centre: &Centre) -> Vec<(String, Markup)> {
    let tile = |key: &str, label: &str, value: i64, foot: Markup| {
        let markup = html! {
            li.kpi data-key=(key) { h2 { (label) } div.value data-tween { (count(value)) } div.foot { (foot) } }
        };
        (key.to_owned(), markup)
    };
    let mut tiles: Vec<(String, Markup)> = centre
        .by_standing
        .iter()
        .map(|(standing, alerts)| {
            let foot = match Standing::named(standing) {
                Some(Standing::Open) => "nobody looks after them yet",
                Some(Standing::Snoozed) => "told of when their time is over",
                Some(Standing::Acknowledged) => "somebody looks after them",
                _ => "as it should be again",
            };
            tile(standing, &label(standing), *alerts, html! { (foot) })
        })
        .collect();
    let of = |state: &str| centre.undelivered.iter().find(|(known, _)| known == state).map_or(0, |(_, number)| *number);
    let (waiting, failed) = (of("waiting") + of("sending"), of("failed"));
    let foot =
        html! { @if failed > 0 { strong.bad { (grouped(failed)) " refused" } ", " } (grouped(waiting)) " waiting" };
    tiles.push(tile("undelivered", "Not delivered", waiting + failed, foot));
    tiles
}

fn filters(centre: &Centre, params: &Params) -> Markup {
    let links = |name: &str, label: &str, options: Vec<(Option<String>, String, i64)>| {
        let options: Vec<(Option<&str>, &str, Option<usize>)> = options
            .iter()
            .map(|(value, label, number)| (value.as_deref(), label.as_str(), usize::try_from(*number).ok()))
            .collect();
        Choice { path: PATH, params, name, label }.links(&options)
    };
    let all = |label: &str, parts: &[(String, i64)]| {
        let mut options = vec![(None, label.to_owned(), parts.iter().map(|(_, number)| number).sum())];
        options.extend(parts.iter().map(|(name, number)| (Some(name.clone()), self::label(name), *number)));
        options
    };
    let named = |parts: &[(&'static str, i64)]| -> Vec<(String, i64)> {
        parts.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    };
    // A state or severity nobody has is still a place to look; a route has been seen at least once.
    html! {
        div data-key="filters" {
            (links("state", "State", all("All", &named(&centre.by_standing))))
            (links("severity", "Severity", all("All severities", &named(&centre.by_severity))))
            @if centre.by_route.len() > 1 || params.get("route").is_some() {
                (links("route", "Route", all("All routes", &centre.by_route)))
            }
        }
    }
}

fn shown(centre: &Centre) -> Markup {
    html! {
        span.shown data-key="shown" {
            @if (centre.groups.len() as i64) < centre.matching { (grouped(centre.groups.len() as i64)) " of " }
            (match centre.matching { 1 => "1 entity".to_owned(), matching => format!("{} entities", grouped(matching)) })
        }
    }
}

fn line(group: &AlertGroup) -> Markup {
    html! {
        li.attack.alert data-key=(group.id) id=(group.id) data-standing=(group.standing) {
            details {
                summary {
                    (pill(&group.severity, &group.severity))
                    span.what { strong.rule { (group.title) } span.entity { (group.table) " " code { (group.entity) } } }
                    span.reason { (standing(group)) span.channels { (told(group)) } }
                    span.figures {
                        span.amount { (things(usize::try_from(group.alerts).unwrap_or(0), "alert")) }
                        span.payments { (things(usize::try_from(group.hits).unwrap_or(0), "row")) }
                    }
                    span.seen { (when(group.fired_at, When::Ago)) }
                }
                (opened(group))
            }
            (answers(group))
        }
    }
}

fn standing(group: &AlertGroup) -> Markup {
    let by = |name: &str| html! { @if !name.is_empty() { " by " (name) } };
    let newest = group.occurrences.first();
    html! {
        span.standing data-kind=(group.standing) {
            @match (group.standing, group.snoozed_until) {
                ("over", _) => "over",
                ("acknowledged", _) => { "acknowledged" (by(newest.map_or("", |newest| newest.acked_by.as_str()))) }
                (_, Some(until)) => { "snoozed until " (when(Some(until), When::Minute)) (by(&group.snoozed_by)) }
                _ => { @if group.open < group.alerts { (grouped(group.open)) " of " (grouped(group.alerts)) " " } "open" }
            }
        }
    }
}

/// What the channels know of the newest occurrence, in one line.
fn told(group: &AlertGroup) -> Markup {
    let deliveries = group.occurrences.first().map(|newest| newest.deliveries.as_slice()).unwrap_or_default();
    html! {
        @if deliveries.is_empty() { "told nobody" }
        @for (at, delivery) in deliveries.iter().enumerate() {
            @if at > 0 { ", " }
            (delivery.channel) @if delivery.cause != "fired" { " (" (delivery.cause) ")" } " "
            span.delivery data-state=(delivery.state) { (in_words(delivery)) }
        }
    }
}

fn in_words(delivery: &AlertDelivery) -> &str {
    match delivery.state.as_str() {
        "sent" => "told",
        "failed" => "refused",
        "acknowledged" => "called off",
        other => other,
    }
}

/// The buttons. Without JavaScript there are none; the command says how then.
fn answers(group: &AlertGroup) -> Markup {
    let Some(newest) = group.occurrences.first() else { return html! {} };
    let acked = group.occurrences.iter().any(|occurrence| occurrence.standing == "acknowledged");
    let waits = group.open > 0 || group.standing == "snoozed";
    html! {
        div.acts role="group" aria-label={ "Answer to " (group.title) } {
            @if waits {
                (button(&newest.id, "ack", &json!({"entity": true}), "Acknowledge", "acknowledged", false))
            } @else if acked {
                (button(&newest.id, "unack", &json!({"entity": true}), "Undo acknowledge", "no longer acknowledged", false))
            }
            @if group.snoozed_until.is_some() {
                (button(&newest.id, "unsnooze", &json!({}), "End snooze", "the snooze is over", false))
            } @else if waits {
                span.snoozes {
                    span.note aria-hidden="true" { "Snooze" }
                    @for (value, label) in SNOOZES {
                        (button(&newest.id, "snooze", &json!({"for": value}), label, &format!("snoozed for {label}"), true))
                    }
                }
            }
        }
    }
}

fn button(id: &str, act: &str, body: &serde_json::Value, label: &str, done: &str, is_snooze: bool) -> Markup {
    let mut path = String::from("/v1/alerts/");
    encode(&mut path, id);
    let spoken = is_snooze.then(|| format!("Snooze for {label}"));
    html! {
        button.tool type="button" data-post={ (path) "/" (act) } data-body=(body.to_string()) data-done=(done) aria-label=[spoken] { (label) }
    }
}

fn opened(group: &AlertGroup) -> Markup {
    html! {
        div.evidence {
            dl {
                @for (name, value) in &group.evidence { div { dt { (label(name)) } dd { (value) } } }
            }
            p { a href=(group.link) { "See more on the page about it" } }
            h3 { "When it fired" }
            div.scroll tabindex="0" role="region" aria-label="When it fired" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Fired" } th scope="col" { "State" } th.wide scope="col" { "Severity" } th.wide scope="col" { "What" }
                        th.n.wide scope="col" { "Rows" } th scope="col" { "Messages" }
                    } }
                    tbody { @for occurrence in &group.occurrences { (fired(occurrence)) } }
                }
            }
            @if group.alerts > group.occurrences.len() as i64 {
                p.note { "and " (grouped(group.alerts - group.occurrences.len() as i64)) " before" }
            }
        }
    }
}

fn fired(occurrence: &AlertOccurrence) -> Markup {
    html! {
        tr data-key=(occurrence.id) {
            th scope="row" {
                (when(occurrence.fired_at, When::Clock))
                @if occurrence.occurrence > 1 { span.note { "for the " (nth(occurrence.occurrence)) " time" } }
            }
            td {
                span.standing data-kind=(occurrence.standing) { (occurrence.standing) }
                @if occurrence.acked_at.is_some() { span.note { " by " (occurrence.acked_by) " " (when(occurrence.acked_at, When::Clock)) } }
                @if occurrence.resolved_at.is_some() { span.note { " " (when(occurrence.resolved_at, When::Clock)) } }
            }
            td.wide { (pill(&occurrence.severity, &occurrence.severity)) }
            td.wide { (occurrence.title) }
            td.n.wide { (count(occurrence.hits)) }
            td {
                @if occurrence.deliveries.is_empty() { span.note { "none" } }
                ul.messages-of {
                    @for delivery in &occurrence.deliveries { (message(delivery)) }
                }
            }
        }
    }
}

fn message(delivery: &AlertDelivery) -> Markup {
    html! {
        li {
            (delivery.channel) @if delivery.cause != "fired" { " (" (delivery.cause) ")" } " "
            span.delivery data-state=(delivery.state) { (in_words(delivery)) } " "
            (when(delivery.sent_at.or(delivery.queued_at), When::Clock))
            @if !delivery.error.is_empty() { span.note { (delivery.error) } }
        }
    }
}

fn nth(number: i64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A name for people: `payment_ids` → `Payment ids`.
fn label(name: &str) -> String {
    crate::view::fraud::rule_label(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_order() {
        let told: Vec<String> = [1, 2, 3, 4, 11, 12, 21, 112].map(nth).to_vec();
        assert_eq!(told, ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th"]);
    }
}
