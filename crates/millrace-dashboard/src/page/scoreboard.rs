//! The scoreboard: what of the simulated shop's fraud was found, how soon, and at what price in good payments.

use maud::{Markup, html};
use serde_json::Value;

use super::kit::{Panel, When, count, duration, empty, list, money, share, things, when};
use super::layout::Body;
use super::shapes::bar;
use super::{Page, Sections, fraud};
use crate::section::Section;
use crate::view::fraud::rule_label;
use crate::view::scoreboard::{Board, Campaign, Report, Tenth};

/// The live sections.
pub(super) fn sections(view: &Board) -> Vec<Section> {
    let report = view.report.as_ref().filter(|_| view.answer_key);
    let campaigns = report.iter().flat_map(|report| &report.campaigns);
    let tenths = report.iter().flat_map(|report| report.tenths());
    vec![
        Section::html("board-state", state(view).into_iter().map(|state| ("state".to_owned(), state))),
        Section::html("board-counts", report.map(counts).unwrap_or_default()),
        Section::html("campaigns", campaigns.map(|row| (row.campaign.clone(), campaign(row)))),
        Section::html("calibration", tenths.map(|tenth| (format!("{:.1}", tenth.from), calibration(&tenth)))),
    ]
}

/// What is shown when there is no answer.
pub(super) fn trouble(why: &str) -> Vec<Section> {
    vec![Section::html("board-state", [("state".to_owned(), html! { p.notice data-key="state" { (why) } })])]
}

/// The page around them.
pub(super) fn body(sections: &Sections) -> Body {
    let content = html! {
        (list("div", "troubles", "board-state", sections))
        (list("ul", "kpis", "board-counts", sections))
        (Panel {
            id: "campaigns", title: "Campaigns", tables: "",
            note: html! { "of each attack of the simulated shop: what was found, by which of its payments, and after how long" },
            tools: html! { a.tool href="/v1/fraud/scoreboard" { "JSON" } },
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Campaigns" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Campaign" } th.n.wide scope="col" { "Attacks" } th.n scope="col" { "Found" }
                        th.n.wide scope="col" { "At once" } th.n scope="col" { "At the budget" } th.n.wide scope="col" { "First alert" }
                        th.n scope="col" { "Money found" }
                    } }
                    (list("tbody", "", "campaigns", sections))
                }
            }
            (empty("Nothing to hold the decisions against", "The answer key is the simulated shop's; real labels are the verdicts of the review queue."))
        }))
        (Panel {
            id: "calibration", title: "Calibration", tables: "",
            note: html! { "of the payments with a score in each tenth: how many were fraud. A score that is a probability lies on its share" },
            tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Calibration" {
                table.lines {
                    thead { tr { th scope="col" { "Score" } th.n scope="col" { "Payments" } th.n scope="col" { "Mean score" } th.n scope="col" { "Were fraud" } th.wide scope="col" { span.vh { "As a bar" } } } }
                    (list("tbody", "", "calibration", sections))
                }
            }
            (empty("No payment of a known truth yet", "The simulated shop says of each payment what it was."))
        }))
        p.note { "A rule or a threshold is tried on the past on the page " a href="/fraud/rules#backtest" { "Rules" } "." }
    };
    Body { controls: fraud::tabs(Page::Scoreboard), content }
}

fn state(view: &Board) -> Option<Markup> {
    let text = match (view.caught_up, view.answer_key) {
        (false, _) => {
            format!("Reading the decisions: {} of {}.", super::kit::grouped(view.read), super::kit::grouped(view.to_read))
        }
        (true, false) => {
            "There is no answer key here: it is the simulated shop's. The review queue shows how far each rule is to be believed.".to_owned()
        }
        (true, true) => return None,
    };
    Some(html! { p.notice data-key="state" { (text) } })
}

fn counts(report: &Report) -> Vec<(String, Markup)> {
    let tile = |key: &str, label: &str, value: Markup, foot: Markup| {
        let tile = html! { li.kpi data-key=(key) { h2 { (label) } div.value { (value) } div.foot { (foot) } } };
        (key.to_owned(), tile)
    };
    let (found, all) = report.money();
    let (hurt, refunds) = report.refunds_hurt;
    vec![
        tile(
            "recall",
            "Found",
            share(Some(report.recall)),
            html! { "of " (things(report.frauds, "fraudulent payment")) },
        ),
        tile(
            "at-budget",
            "Found at the budget",
            share(report.recall_at_budget()),
            html! { "one good payment hurt in a thousand" },
        ),
        tile(
            "precision",
            "Right",
            share(Some(report.precision)),
            html! { (format!("{:.2}", report.false_alarms_per_true)) " false alarms to a true one" },
        ),
        tile(
            "delay",
            "First alert",
            html! { (report.delay().map_or_else(|| "–".to_owned(), duration)) },
            html! { "after an attack began, the middle campaign" },
        ),
        tile("money", "Money found", amount(found), html! { "of " (amount(all)) }),
        tile(
            "hurt",
            "Good ones held",
            count(i64::try_from(report.false_alarms).unwrap_or(i64::MAX)),
            html! { (format!("{:.3} %", report.false_positive_rate * 100.0)) ", " (amount(report.good_money_hurt_minor)) },
        ),
        tile(
            "refunds",
            "Good refunds held",
            count(i64::try_from(hurt).unwrap_or(i64::MAX)),
            html! { "of " (super::kit::grouped(i64::try_from(refunds).unwrap_or(i64::MAX))) },
        ),
        tile(
            "payments",
            "Payments",
            count(i64::try_from(report.payments).unwrap_or(i64::MAX)),
            html! { "with a known truth" @if let Some(time) = report.as_of { ", " (when(Some(time), When::Ago)) } },
        ),
    ]
}

fn campaign(row: &Campaign) -> Markup {
    let (middle, worst) = row.events_to_alert;
    html! {
        tr data-key=(row.campaign) {
            th scope="row" { (rule_label(&row.campaign)) span.note { (things(row.frauds, "payment")) } }
            td.n.wide { (row.runs_found) "/" (row.runs) }
            td.n.strong { (share(Some(row.recall))) }
            td.n.wide { (count(i64::try_from(row.found_at_once).unwrap_or(i64::MAX))) }
            td.n { (share(Some(row.recall_at_budget))) }
            td.n.wide { @if row.runs_found > 0 { "payment " (middle) span.note { "worst " (worst) ", after " (duration(row.seconds_to_alert)) } } @else { span.none { "–" } } }
            td.n { (amount(row.money_minor.1)) span.note { "of " (amount(row.money_minor.0)) } }
        }
    }
}

fn calibration(tenth: &Tenth) -> Markup {
    html! {
        tr data-key=(format!("{:.1}", tenth.from)) {
            th scope="row" { (format!("{:.1} – {:.1}", tenth.from, tenth.from + 0.1)) }
            td.n { (count(i64::try_from(tenth.payments).unwrap_or(i64::MAX))) }
            td.n { (share(Some(tenth.score))) }
            td.n.strong { (share(Some(tenth.fraud))) }
            td.wide { (bar(tenth.fraud, "high")) }
        }
    }
}

/// Money of a shop that may sell in several currencies: added up as it stands.
fn amount(minor: i64) -> Markup {
    money(minor, "")
}

/// The report as the scorer's side tells it.
pub(super) fn read(told: Value) -> Result<Board, String> {
    let mut board: Board =
        serde_json::from_value(told).map_err(|error| format!("the scoreboard cannot be read: {error}"))?;
    if let Some(report) = &mut board.report {
        report.as_of = board.as_of;
    }
    Ok(board)
}
