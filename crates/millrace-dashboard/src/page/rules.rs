//! Rules tried in the shadow and on the past, promoted and switched off, with who did it and why.

use maud::{Markup, html};

use super::kit::{Panel, When, count, csv, empty, list, pill, when};
use super::layout::Body;
use super::{Page, Sections, backtest, fraud};
use crate::section::Section;
use crate::view::backtest::Backtest;
use crate::view::fraud::rule_label;
use crate::view::rules::{Changed, Rules};
use crate::view::scoreboard::Shadow;

/// The live sections.
pub(super) fn sections(view: &Rules, tried: Option<&Backtest>) -> Vec<Section> {
    vec![
        Section::html("changed", view.changed.iter().map(|rule| (rule.name.clone(), line(rule)))),
        backtest::section(tried),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, tried: Option<&Backtest>, changed: &[String]) -> Body {
    let controls = html! { (fraud::tabs(Page::Rules)) (fraud::analyst()) };
    let content = html! {
        (Panel {
            id: "changed", title: "Changed while it runs", tables: "fraud_rules",
            note: html! { "over what the settings say; in the shadow a rule adds nothing, and is measured by what it would have done" },
            tools: html! { a.tool href="/kafka?topic=fraud_rules&view=messages" { "Audit trail" } (csv("fraud_rules")) },
        }.around(html! {
            (list("ul", "attacks rules", "changed", sections))
            (empty("Every rule is as the settings have it", "Try one in the shadow below, or with `millrace fraud rule try`. `millrace fraud rules` lists all."))
        }))
        (Panel {
            id: "try", title: "Try a rule in the shadow", tables: "",
            note: html! { "conditions are FEATURE >= NUMBER, joined by and; " code { "millrace fraud features" } " lists what there is" },
            tools: html! {},
        }.around(html! {
            noscript { p.notice { "Saying something needs JavaScript; " code { "millrace fraud rule try" } " does the same." } }
            div.saying.js {
                form.say data-say data-clear action="/v1/fraud/rules" {
                    input type="hidden" name="state" value="shadow";
                    label { "Name" input name="name" required pattern="[a-z0-9_]+" title="small letters, digits and _" maxlength="64" autocomplete="off" spellcheck="false"; }
                    label.grow { "When" input name="when" maxlength="500" autocomplete="off" spellcheck="false" placeholder="card_attempts_1m >= 2 and amount > 100"; }
                    label { "Points" input name="points" type="number" step="0.5" value="8" data-number; }
                    label.grow { "Because" input name="reason" required maxlength="500" autocomplete="off"; }
                    button.tool type="submit" { "Try it" }
                }
                p.said role="status" {}
            }
        }))
        (backtest::panel(sections, tried, changed))
    };
    Body { controls, content }
}

fn line(rule: &Changed) -> Markup {
    html! {
        li.rule-line data-key=(rule.name) {
            div.rule-head {
                (pill(tone(&rule.state), &rule.state))
                strong { (rule_label(&rule.name)) }
                @if !rule.when.is_empty() { code { (rule.when) } }
                @if let Some(points) = rule.points { span.note { (format!("{points:+.1}")) } }
                span.seen { (when(rule.changed_at, When::Ago)) }
            }
            p.note { (rule.reason) @if !rule.changed_by.is_empty() { " (" (rule.changed_by) ")" } }
            @if let Some(shadow) = &rule.shadow { (measured(shadow)) } @else if rule.state == "shadow" {
                p.note { "It has not fired yet." }
            }
            div.saying.js {
                form.say data-say action="/v1/fraud/rules" {
                    input type="hidden" name="name" value=(rule.name);
                    label.grow { "Because" input name="reason" required maxlength="500" autocomplete="off"; }
                    @if rule.state != "acts" { button.tool type="submit" name="state" value="acts" data-tone="good" { "Promote" } }
                    @if rule.state != "shadow" { button.tool type="submit" name="state" value="shadow" { "Into the shadow" } }
                    @if rule.state != "off" { button.tool type="submit" name="state" value="off" data-tone="bad" { "Switch off" } }
                    button.tool type="submit" name="state" value="" data-null { "As the settings" }
                }
                p.said role="status" {}
            }
        }
    }
}

fn tone(state: &str) -> &'static str {
    match state {
        "acts" => "ok",
        "shadow" => "evidence",
        _ => "neutral",
    }
}

fn measured(shadow: &Shadow) -> Markup {
    let number = |number: usize| count(i64::try_from(number).unwrap_or(i64::MAX));
    html! {
        dl.facts {
            div { dt { "Would have fired" } dd { (number(shadow.fired)) } }
            div { dt { "Of these fraud · good" } dd { (number(shadow.truth.0)) " · " (number(shadow.truth.1)) } }
            div { dt { "Would have held more" } dd { (number(shadow.held_more)) } }
            div { dt { "Of these fraud · good" } dd { (number(shadow.more_truth.0)) " · " (number(shadow.more_truth.1)) } }
        }
    }
}
