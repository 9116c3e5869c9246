//! The review queue: payments that were held, why, and what somebody says of them.

use maud::{Markup, html};

use super::kit::{Choice, Panel, When, count, csv, duration, empty, grouped, list, money, pill, share, things, when};
use super::layout::Body;
use super::{Page, Sections, fraud};
use crate::params::Params;
use crate::section::Section;
use crate::view::fraud::rule_label;
use crate::view::lists::LISTS;
use crate::view::reviews::{EntityOf, EventOf, Order, Precision, Queue, ReasonOf, Review, Standing, Workload};

/// Reviews listed; filters have the rest.
pub(crate) const LISTED_MAX: usize = 50;
/// Reasons named on one line.
const REASONS_MAX: usize = 3;
/// From this score on a payment looks like fraud without doubt.
const CERTAIN: f64 = 0.95;

/// The live sections.
pub(super) fn sections(view: &Queue, params: &Params) -> Vec<Section> {
    vec![
        Section::html("queue-counts", counts(view)),
        Section::one("standings", standings(view, params)),
        Section::one("people", people(view, params)),
        Section::html("reviews", view.reviews.iter().map(|review| (review.payment_id.clone(), line(review)))),
        Section::html("precision", view.precision.iter().map(|rule| (key(rule), precision(rule, params)))),
    ]
}

/// What is shown when the store does not answer.
pub(super) fn trouble(why: &str) -> Vec<Section> {
    let told = html! { li.notice data-key="trouble" { "The queue cannot be shown now: " (why) } };
    vec![Section::html("reviews", [("trouble".to_owned(), told)])]
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let order = params.get("order");
    let options: Vec<(Option<&str>, &str, Option<usize>)> =
        Order::ALL.iter().enumerate().map(|(at, (_, name, label))| ((at > 0).then_some(*name), *label, None)).collect();
    let controls = html! {
        (fraud::tabs(Page::Review))
        (fraud::analyst())
    };
    let content = html! {
        (list("ul", "kpis", "queue-counts", sections))
        div.filters {
            (list("div", "", "standings", sections))
            (list("div", "", "people", sections))
            (Choice { path: Page::Review.path(), params, name: "order", label: "Order" }.links(&options))
            @if let Some(rule) = params.get("rule") {
                a.tool href=(params.with("rule", None).query(Page::Review.path())) data-swap title="Show every rule" { "Rule: " (rule_label(rule)) " ✕" }
            }
        }
        (Panel {
            id: "queue", title: "Held payments", tables: "fraud_alerts fraud_verdicts",
            note: html! { @match order {
                Some("score") => "the most suspicious first", Some("amount") => "the largest first", _ => "what must be decided soonest comes first",
            } "; open one for what speaks against it" },
            tools: csv("fraud_alerts"),
        }.around(html! {
            (list("ul", "attacks reviews", "reviews", sections))
            (empty("Nothing waits here", "What the scorer sends to review or blocks shows here within a second."))
        }))
        (Panel {
            id: "rules", title: "How far each rule is to be believed", tables: "fraud_verdicts",
            note: html! { "of the payments somebody has looked at, by the newest 2,000 verdicts" },
            tools: csv("fraud_verdicts"),
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Precision of rules" {
                table.lines {
                    thead { tr { th scope="col" { "Rule" } th.n scope="col" { "Fraud" } th.n scope="col" { "Legitimate" } th.n scope="col" { "Right" } } }
                    (list("tbody", "", "precision", sections))
                }
            }
            (empty("No verdicts yet", "A rule is measured by what analysts say of the payments it held."))
        }))
    };
    Body { controls, content }
}

fn counts(view: &Queue) -> Vec<(String, Markup)> {
    let tile = |key: &str, label: &str, number: i64, foot: &str| {
        let tile = html! {
            li.kpi data-key=(key) {
                h2 { (label) }
                div.value { (count(number)) }
                div.foot { (foot) }
            }
        };
        (key.to_owned(), tile)
    };
    let people = view.workload.iter().filter(|work| !work.assigned_to.is_empty()).count();
    let verdicts = i64::try_from(view.verdicts).unwrap_or(i64::MAX);
    vec![
        tile("open", "To review", view.open, "held, without a verdict"),
        tile("overdue", "Overdue", view.overdue, "past their deadline"),
        tile("unassigned", "Nobody's", view.unassigned, &format!("{} at work", things(people, "analyst"))),
        tile("verdicts", "Verdicts", verdicts, "the newest 2,000 count"),
    ]
}

fn standings(view: &Queue, params: &Params) -> Markup {
    let number = |standing: Standing| match standing {
        Standing::Open => usize::try_from(view.open).ok(),
        Standing::Overdue => usize::try_from(view.overdue).ok(),
        Standing::Decided => None,
    };
    let options: Vec<(Option<&str>, &str, Option<usize>)> = Standing::ALL
        .iter()
        .map(|(standing, name, label)| ((*standing != Standing::Open).then_some(*name), *label, number(*standing)))
        .collect();
    html! { div data-key="standings" { (Choice { path: Page::Review.path(), params, name: "state", label: "State" }.links(&options)) } }
}

fn people(view: &Queue, params: &Params) -> Markup {
    let mut options: Vec<(Option<&str>, &str, Option<usize>)> = vec![(None, "Everyone", None)];
    for Workload { assigned_to, open, .. } in &view.workload {
        let (value, label) =
            if assigned_to.is_empty() { ("nobody", "Nobody") } else { (&**assigned_to, &**assigned_to) };
        options.push((Some(value), label, usize::try_from(*open).ok()));
    }
    html! { div data-key="people" { (Choice { path: Page::Review.path(), params, name: "assigned_to", label: "Who looks at it" }.links(&options)) } }
}

fn line(review: &Review) -> Markup {
    let names: Vec<String> = review.reasons.iter().take(REASONS_MAX).map(named).collect();
    let payer = review.entities.first();
    html! {
        li.attack.review data-key=(review.payment_id) id=(review.payment_id) {
            details {
                summary {
                    (standing(review))
                    span.what {
                        strong.rule { code { (review.payment_id) } }
                        span.entity { @if let Some(payer) = payer { (kind_label(payer.kind)) " " code { (payer.entity) } } @else { (review.kind) } }
                    }
                    span.reason { (names.join(" · ")) @if review.reasons.len() > REASONS_MAX { " · +" (review.reasons.len() - REASONS_MAX) } }
                    span.figures {
                        span.amount { (money(review.amount_minor, &review.currency)) }
                        span.payments { "score " (score(review.score)) }
                    }
                    span.seen { (left(review)) @if let Some(name) = &review.assigned_to { span.note { (name) } } }
                }
                div.evidence {
                    (facts(review))
                    (reasons(&review.reasons))
                    (events(&review.evidence))
                    (saying(review))
                }
            }
        }
    }
}

fn standing(review: &Review) -> Markup {
    match (review.verdict.as_deref(), review.decision.as_str()) {
        (Some("fraud"), _) => pill("critical", "fraud"),
        (Some(_), _) => pill("ok", "legitimate"),
        (None, "block") => pill("critical", "blocked"),
        (None, _) => pill("high", "held"),
    }
}

fn score(score: f64) -> String {
    if score > CERTAIN { format!("{score:.4}") } else { format!("{score:.2}") }
}

/// How long there is left, to the minute, so that a page does not change with every second.
fn left(review: &Review) -> Markup {
    if review.verdict.is_some() {
        return html! { (when(review.decided_at, When::Ago)) };
    }
    let minutes = |seconds: i64| match seconds / 60 * 60 {
        0 => "under a minute".to_owned(),
        whole if whole < 3_600 => format!("{} min", whole / 60),
        whole => duration(whole as f64),
    };
    match review.seconds_left {
        late if late < 0 => html! { strong.late { (minutes(-late)) " late" } },
        left => html! { (minutes(left)) " left" },
    }
}

fn named(reason: &ReasonOf) -> String {
    match reason.kind.as_str() {
        "list" => reason.text.clone().unwrap_or_else(|| rule_label(&reason.name)),
        "model" => format!("{} (learnt)", rule_label(&reason.name)),
        "shadow" => format!("{} (shadow)", rule_label(&reason.name)),
        "excused" => format!("{} (excused)", rule_label(&reason.name)),
        _ => rule_label(&reason.name),
    }
}

fn kind_label(kind: &str) -> String {
    rule_label(kind)
}

fn facts(review: &Review) -> Markup {
    html! {
        dl {
            div { dt { "Happened" } dd { (when(review.event_time, When::Clock)) } }
            div { dt { "Decide until" } dd { (when(review.deadline, When::Clock)) } }
            @if !review.order_id.is_empty() { div { dt { "Order" } dd { code { (review.order_id) } } } }
            @for EntityOf { kind, entity, list } in &review.entities {
                div { dt { (kind_label(kind)) } dd { code { (entity) } @if let Some(list) = list { " " (listed(list)) } } }
            }
            div { dt { "Looked at by" } dd { (review.assigned_to.as_deref().unwrap_or("nobody yet")) } }
            @if let Some(comment) = &review.comment {
                div.wide-fact { dt { "Remark" } dd { (comment) " " span.note { @if let Some(by) = &review.decided_by { "by " (by) } } } }
            }
        }
    }
}

/// The mark of a list.
pub(super) fn listed(list: &str) -> Markup {
    let kind = match list {
        "block" => "critical",
        "watch" => "high",
        _ => "ok",
    };
    pill(kind, list)
}

fn reasons(reasons: &[ReasonOf]) -> Markup {
    html! {
        table.lines.why {
            thead { tr { th scope="col" { "Why" } th scope="col" { "Values" } th.n scope="col" { "Weight" } } }
            tbody {
                @for reason in reasons {
                    tr {
                        th scope="row" { @if reason.kind == "list" { (rule_label(&reason.name)) } @else { (named(reason)) } }
                        td { @match &reason.text {
                            Some(text) => (text),
                            None => span.values { @for (name, value) in &reason.values { span { (name.replace('_', " ")) " " strong { (number(*value)) } } } },
                        } }
                        td.n { @if reason.points == 0.0 { span.none { "–" } } @else { (format!("{:+.1}", reason.points)) } }
                    }
                }
            }
        }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { grouped(value as i64) } else { format!("{value:.2}") }
}

fn events(events: &[EventOf]) -> Markup {
    html! {
        @if !events.is_empty() {
            h3 { (things(events.len(), "event")) " behind it" }
            ul.ids {
                @for event in events {
                    li { a href=(place(event)) title={ "Offset " (event.offset) " of " (event.topic) "/" (event.partition) } {
                        code { (event.payment_id.as_deref().unwrap_or(&event.event_id)) }
                    } }
                }
            }
        }
    }
}

/// The page that shows the record itself.
fn place(event: &EventOf) -> String {
    let pairs = [
        ("topic", event.topic.clone()),
        ("view", "messages".into()),
        ("partition", event.partition.to_string()),
        ("from", "offset".into()),
        ("at", event.offset.to_string()),
        ("count", "1".into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Params>().query(Page::Kafka.path())
}

/// What can be said of it. A form of ours is sent by a script, as JSON: no other site's page can send that.
fn saying(review: &Review) -> Markup {
    let path = |what: &str| {
        let mut path = String::from("/v1/fraud/reviews/");
        crate::params::encode(&mut path, &review.payment_id);
        format!("{path}/{what}")
    };
    html! {
        div.saying.js {
            form.say data-say action=(path("comment")) {
                label.grow { "Remark" input name="comment" maxlength="1000" autocomplete="off" value=[review.comment.as_deref()]; }
                button.tool type="submit" name="verdict" value="fraud" formaction=(path("verdict")) data-tone="bad" { "It was fraud" }
                button.tool type="submit" name="verdict" value="legitimate" formaction=(path("verdict")) data-tone="good" { "Legitimate" }
                button.tool type="submit" { "Remark only" }
            }
            form.say data-say action=(path("assign")) {
                label { "Hand it to" input name="assigned_to" maxlength="64" autocomplete="off" value=[review.assigned_to.as_deref()]; }
                button.tool type="submit" { "Assign" }
                button.tool type="submit" data-mine { "I look at it" }
            }
            @if !review.entities.is_empty() {
                form.say data-say action="/v1/fraud/lists" {
                    input type="hidden" name="payment_id" value=(review.payment_id);
                    label { "Put the" select name="kind" {
                        @for entity in &review.entities { option value=(entity.kind) { (entity.kind) " " (entity.entity) } }
                    } }
                    label { "on the list" select name="list" { @for list in LISTS { option value=(list) { (list) } } } }
                    label { "for" select name="expires" {
                        @for (value, label) in EXPIRIES { option value=(value) { (label) } }
                    } }
                    label.grow { "because" input name="reason" required maxlength="500" autocomplete="off"; }
                    button.tool type="submit" { "Add to list" }
                }
            }
            p.said role="status" {}
        }
    }
}

/// How long an entry stays.
pub(super) const EXPIRIES: [(&str, &str); 5] =
    [("30d", "30 days"), ("1d", "1 day"), ("7d", "7 days"), ("365d", "1 year"), ("", "ever")];

fn key(rule: &Precision) -> String {
    format!("{}:{}", rule.kind, rule.rule)
}

fn precision(rule: &Precision, params: &Params) -> Markup {
    let link = params.with("rule", Some(&rule.rule)).query(Page::Review.path());
    html! {
        tr data-key=(key(rule)) {
            th scope="row" { a href=(link) data-swap { (rule_label(&rule.rule)) } @if rule.kind == "shadow" { span.note { "in the shadow: it held nothing" } } }
            td.n { (count(i64::try_from(rule.fraud).unwrap_or(i64::MAX))) }
            td.n { (count(i64::try_from(rule.good).unwrap_or(i64::MAX))) }
            td.n.strong { (share(Some(rule.precision))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Timestamp;
    use serde_json::Value;

    fn holds(sections: &[Section], text: &str) -> bool {
        let mut values = sections.iter().flat_map(|section| &section.items).map(|(_, value)| value);
        values.any(|value| matches!(value, Value::String(html) if html.contains(text)))
    }

    fn review() -> Review {
        Review {
            payment_id: "pay 1".into(),
            kind: "payment".into(),
            decision: "block".into(),
            score: 0.9731,
            event_time: Some(Timestamp(0)),
            deadline: Some(Timestamp(0)),
            seconds_left: -125,
            order_id: String::new(),
            amount_minor: 990,
            currency: "EUR".into(),
            entities: vec![EntityOf { kind: "card", entity: "card…44b2".into(), list: Some("watch".into()) }],
            reasons: vec![ReasonOf {
                kind: "list".into(),
                name: "block_list".into(),
                points: 0.0,
                values: Default::default(),
                text: Some("card on the block list: <skimmed> (ann)".into()),
            }],
            evidence: vec![EventOf {
                event_id: "e".into(),
                payment_id: None,
                event_time: None,
                topic: "transactions".into(),
                partition: 3,
                offset: 41,
            }],
            verdict: None,
            assigned_to: None,
            comment: None,
            decided_by: None,
            decided_at: None,
        }
    }

    #[test]
    fn a_review_says_what_it_must() {
        let view = Queue { reviews: vec![review()], ..Queue::default() };
        let sections = sections(&view, &Params::default());
        for text in [
            "2 min late",
            "score 0.9731",
            "card on the block list: &lt;skimmed&gt; (ann)",
            "/kafka?at=41&amp;count=1&amp;from=offset&amp;partition=3&amp;topic=transactions&amp;view=messages",
            "/v1/fraud/reviews/pay%201/verdict",
            "blocked",
        ] {
            assert!(holds(&sections, text), "{text}");
        }
        assert!(!holds(&sections, "<skimmed>"));
    }
}
