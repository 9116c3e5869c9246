//! A rule or threshold tried on the past: the form, how far it is, and what came of it beside what runs.

use maud::{Markup, html};

use super::Sections;
use super::kit::{Panel, When, count, duration, empty, grouped, list, num, when};
use super::shapes::bar;
use crate::section::Section;
use crate::shared::Shared;
use crate::view::backtest::{Backtest, Compared, Only};

/// The newest backtest; none where nobody makes any.
pub(super) fn look(shared: &Shared) -> Option<Backtest> {
    shared.services.backtests.as_ref().map(|backtests| Backtest::read(backtests.backtest()))
}

/// The live section.
pub(super) fn section(view: Option<&Backtest>) -> Section {
    let shown = view.and_then(shown).map(|shown| ("backtest".to_owned(), shown));
    Section::html("backtest", shown)
}

/// The panel around it. `changed`: names of rules that were changed while they run.
pub(super) fn panel(sections: &Sections, view: Option<&Backtest>, changed: &[String]) -> Markup {
    let Some(view) = view else { return html! {} };
    let mut names: Vec<&str> = view.rules.iter().map(|rule| rule.name.as_str()).collect();
    names.extend(changed.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let at = |at: f64| format!("{at:.2}");
    Panel {
        id: "backtest", title: "Try it on the past", tables: "",
        note: html! {
            "the lake judged again by the code that runs live, beside what runs; it changes nothing. At most "
            (grouped(i64::try_from(view.records_max).unwrap_or(i64::MAX))) " records and "
            (duration(view.seconds_max as f64)) ", one at a time; " code { "millrace fraud backtest" } " takes more"
        },
        tools: html! { a.tool href="/v1/fraud/backtest" { "JSON" } },
    }
    .around(html! {
        noscript { p.notice { "Asking for one needs JavaScript; " code { "millrace fraud backtest" } " does the same." } }
        div.saying.js {
            form.say data-say action="/v1/fraud/backtest" {
                label { "Rule" input name="name" list="known-rules" pattern="[a-z0-9_]+" title="small letters, digits and _" maxlength="64" autocomplete="off" spellcheck="false" placeholder="new or known"; }
                datalist id="known-rules" { @for name in &names { option value=(name) {} } }
                label.grow { "When" input name="when" maxlength="500" autocomplete="off" spellcheck="false" placeholder="as the rule has it"; }
                label { "Points" input name="points" type="number" step="0.5" data-number placeholder="as it has"; }
                label { "Without" select name="off" data-list { option value="" { "–" } @for name in &names { option { (name) } } } }
                label { "Review from" input name="review_at" type="number" min="0" max="1" step="0.01" data-number placeholder=(at(view.review_at)); }
                label { "Block from" input name="block_at" type="number" min="0" max="1" step="0.01" data-number placeholder=(at(view.block_at)); }
                label { "Since" input name="since" maxlength="40" autocomplete="off" value="6h" title="so long ago (6h, 7d), a day or a time; empty: all there is"; }
                label { "Until" input name="until" maxlength="40" autocomplete="off" placeholder="now" title="so long ago (1h), a day or a time"; }
                label { "Memory before" input name="memory" maxlength="20" autocomplete="off" value="24h" title="how much of what happened before is taken in first; empty: all there is"; }
                button.tool type="submit" { "Judge the past" }
            }
            p.said role="status" {}
        }
        (list("div", "backtests", "backtest", sections))
        (empty("Nothing was tried on the past yet", "Name a rule, a threshold or a rule to leave out; with nothing named, what runs is judged again."))
    })
}

fn shown(view: &Backtest) -> Option<Markup> {
    let content = match view.state.as_str() {
        "running" => running(view),
        "done" => view.result.as_ref().map(|result| done(view, result))?,
        "failed" => html! { p.notice { "It failed: " (view.why) } },
        "stopped" => html! {
            p.note { "It was stopped" @if !view.stopped_by.is_empty() { " by " (view.stopped_by) } "." }
        },
        _ => return None,
    };
    Some(html! {
        div.backtest data-key="backtest" {
            p { strong { (view.asked.words()) } span.note { " for " (view.by) ", " (when(view.started_at, When::Clock)) } }
            (content)
        }
    })
}

fn running(view: &Backtest) -> Markup {
    let number = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
    html! {
        p {
            (view.told) ": " (number(view.records_done))
            @if let Some(records) = view.records { " of " (number(records)) } " records"
        }
        @if let Some(share) = view.share() { (bar(share, "evidence")) }
        div.saying.js {
            form.say data-say action="/v1/fraud/backtest/stop" { button.tool type="submit" data-tone="bad" { "Stop it" } }
            p.said role="status" {}
        }
    }
}

fn done(view: &Backtest, result: &Compared) -> Markup {
    let number = |number: u64| grouped(i64::try_from(number).unwrap_or(i64::MAX));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Backtest" {
            table.lines {
                thead { tr { th scope="col" { "" span.vh { "Figure" } } th.n scope="col" { "As it runs" } th.n scope="col" { "On trial" } } }
                tbody {
                    @for line in result.lines() {
                        tr { th scope="row" { (line.label) } td.n { (num(line.live, &line.unit)) } td.n.strong { (num(line.other, &line.unit)) } }
                    }
                }
            }
        }
        (only("On trial only", result.more, &result.held_more))
        (only("As it runs only", result.less, &result.held_less))
        p.note {
            (number(result.taken)) " of " (number(result.records)) " records in "
            @if result.in_live_order { "the order in which they were taken live" } @else { "the order of event time" }
            @if let Some(seconds) = view.seconds() { ", in " (duration(seconds)) }
            "; " (grouped(result.as_live)) " of " (grouped(result.live.judged)) " decisions are those of live, to the byte"
        }
    }
}

/// What one version holds alone.
fn only(title: &str, only: Only, names: &[String]) -> Markup {
    html! {
        div.only {
            p { (title) ": " strong { (count(only.payments)) " held" } ", " (count(only.known_fraud)) " of them known to be fraud" }
            @if !names.is_empty() {
                div.ids {
                    @for name in names { code { (name) } }
                    @if only.payments > names.len() as i64 { span.note { "and more" } }
                }
            }
        }
    }
}
