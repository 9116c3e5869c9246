//! The fraud page: attacks as they grow, with their evidence.

use maud::{Markup, html};

use super::kit::{
    Choice, Panel, When, chart, chart_tools, count, csv, empty, grouped, list, money, pill, state, things, when,
};
use super::layout::Body;
use super::{Page, Sections};
use crate::params::Params;
use crate::section::Section;
use crate::view::fraud::{Fraud, FraudParams, SEVERITIES, SignalGroup, rule_label};
use crate::view::overview::Range;

/// The usual range of the chart.
const USUAL: Range = Range::SixHours;
/// Attacks listed; filters and the CSV have the rest.
const LISTED_MAX: usize = 60;
/// Payment ids in an opened signal.
const PAYMENT_IDS_MAX: usize = 40;

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> FraudParams {
    let (rule, severity) = (params.owned("rule"), params.owned("severity"));
    FraudParams { rule, severity, range: params.range(USUAL), limit: limit.min(LISTED_MAX) }
}

/// The pages about fraud.
const TABS: [(Page, &str); 5] = [
    (Page::Fraud, "Signals"),
    (Page::Review, "Review"),
    (Page::Lists, "Lists"),
    (Page::Rules, "Rules"),
    (Page::Scoreboard, "Scoreboard"),
];

/// Who sits here: it stands beside what they say.
pub(super) fn analyst() -> Markup {
    html! {
        label.who.js for="analyst" {
            span { "Your name" }
            input id="analyst" name="analyst" maxlength="64" autocomplete="nickname" placeholder="who decides";
        }
    }
}

/// Links between them.
pub(super) fn tabs(current: Page) -> Markup {
    html! {
        nav.choice.tabs aria-label="About fraud" {
            @for (page, label) in TABS { a href=(page.path()) aria-current=[(page == current).then_some("page")] { (label) } }
        }
    }
}

/// The live sections.
pub(super) fn sections(view: &Fraud, params: &Params) -> Vec<Section> {
    vec![
        Section::one("severities", severities(view, params)),
        Section::one("rules", rules(view, params)),
        Section::one("shown", shown(view)),
        Section::html("signals", view.signals.iter().map(|group| (group.id.clone(), attack(group)))),
        Section::series("signals_over_time", &view.over_time),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let range = params.range(USUAL);
    let options: Vec<(Option<&str>, &str, Option<usize>)> =
        Range::ALL.iter().map(|r| ((*r != USUAL).then_some(r.name()), r.name(), None)).collect();
    let range_of = Choice { path: "/fraud", params, name: "range", label: "Range of the chart" }.links(&options);
    let controls = html! { (tabs(Page::Fraud)) (range_of) };
    let content = html! {
        div.filters {
            (list("div", "", "severities", sections))
            (list("div", "", "rules", sections))
        }
        (Panel {
            id: "over-time", title: "Signals over time", tables: "fraud_signals",
            note: html! { "by severity, last " (range.words()) },
            tools: chart_tools("signals_over_time", true),
        }.around(chart("signals_over_time", "Signals by time and severity", "short", sections)))
        (Panel {
            id: "attacks", title: "Attacks", tables: "fraud_signals",
            note: html! { "one line for each rule and entity, newest first; open one for its evidence" },
            tools: html! { (list("span", "", "shown", sections)) (csv("fraud_signals")) },
        }.around(html! {
            (list("ul", "attacks", "signals", sections))
            (empty("No signals here", "Rules watch every payment. A signal shows within a second of the payment that completes it."))
        }))
    };
    Body { controls, content }
}

fn severities(view: &Fraud, params: &Params) -> Markup {
    let all = view.by_severity.iter().map(|(_, number)| number).sum();
    let mut options = vec![(None, "All", Some(all))];
    let labels: Vec<String> = SEVERITIES.iter().map(|severity| rule_label(severity)).collect();
    for ((name, number), label) in view.by_severity.iter().zip(&labels) {
        options.push((Some(name.as_str()), label.as_str(), Some(*number)));
    }
    html! { div data-key="severities" { (Choice { path: "/fraud", params, name: "severity", label: "Severity" }.links(&options)) } }
}

fn rules(view: &Fraud, params: &Params) -> Markup {
    let all = view.by_rule.iter().map(|(_, number)| number).sum();
    let labels: Vec<String> = view.by_rule.iter().map(|(rule, _)| rule_label(rule)).collect();
    let mut options = vec![(None, "Every rule", Some(all))];
    for ((name, number), label) in view.by_rule.iter().zip(&labels) {
        options.push((Some(name.as_str()), label.as_str(), Some(*number)));
    }
    html! { div data-key="rules" { (Choice { path: "/fraud", params, name: "rule", label: "Rule" }.links(&options)) } }
}

fn shown(view: &Fraud) -> Markup {
    html! {
        span.shown data-key="shown" {
            @if view.signals.len() < view.matching {
                (grouped(view.signals.len() as i64)) " of "
            }
            (things(view.matching, "attack"))
        }
    }
}

/// A signal on one line, for the overview.
pub(super) fn line(group: &SignalGroup) -> Markup {
    html! {
        li data-key=(group.id) {
            a href={ "/fraud#" (group.id) } {
                (pill(&group.severity, &group.severity))
                span.rule { (rule_label(&group.rule)) }
                span.entity { (group.entity) }
                span.amount { (money(group.amount_minor, &group.currency)) }
                (when(group.last_seen, When::Ago))
            }
        }
    }
}

fn attack(group: &SignalGroup) -> Markup {
    html! {
        li.attack data-key=(group.id) id=(group.id) data-severity=(group.severity) {
            details {
                summary {
                    (pill(&group.severity, &group.severity))
                    span.what {
                        strong.rule { (rule_label(&group.rule)) }
                        span.entity { (entity_label(&group.entity_kind)) " " code { (group.entity) } }
                    }
                    span.reason { (group.reason) }
                    span.figures {
                        span.amount data-tween { (money(group.amount_minor, &group.currency)) }
                        span.payments { (count(group.payments)) " " (payments_label(&group.rule)) }
                    }
                    span.seen { (when(group.last_seen, When::Ago)) }
                }
                (evidence(group))
            }
        }
    }
}

fn evidence(group: &SignalGroup) -> Markup {
    html! {
        div.evidence {
            dl {
                div { dt { "Payments" } dd { (count(group.payments)) } }
                div { dt { "Declined" } dd { (count(group.declines)) } }
                div { dt { "Cards" } dd { (count(group.cards)) } }
                div { dt { "Amount, at least" } dd { (money(group.amount_minor, &group.currency)) } }
                div { dt { "First seen" } dd { (when(group.first_seen, When::Clock)) } }
                div { dt { "Last seen" } dd { (when(group.last_seen, When::Clock)) } }
                div { dt { "Windows" } dd { (count(group.windows)) " " (state(group.state)) } }
                div { dt { (entity_label(&group.entity_kind)) } dd { code { (group.entity) } " " span.note { "masked" } } }
            }
            h3 { (payments_label(&group.rule)) " behind it" }
            ul.ids {
                @for id in group.payment_ids.iter().take(PAYMENT_IDS_MAX) { li { code { (id) } } }
                @if group.payment_ids.len() > PAYMENT_IDS_MAX {
                    li.note { "and " (grouped((group.payment_ids.len() - PAYMENT_IDS_MAX) as i64)) " more" }
                }
            }
        }
    }
}

fn entity_label(kind: &str) -> &str {
    match kind {
        "card_token" => "Card",
        "device_id" => "Device",
        "user_id" => "Account",
        "ip" => "Address",
        "store_id" => "Store",
        other => other,
    }
}

fn payments_label(rule: &str) -> &'static str {
    match rule {
        "refund_abuse" => "refunds",
        "refund_without_return" | "promo_abuse" => "orders",
        _ => "payments",
    }
}
