//! The health page: lag, watermarks, books, dead letters, and the delivery of the pages themselves.

use maud::{Markup, html};

use super::kafka::external;
use super::kit::{
    Choice, Panel, When, chart, chart_tools, count, csv, duration, empty, fresh, grouped, list, pill, when,
};
use super::layout::Body;
use super::{Sections, promises, shapes};
use crate::live::Counts;
use crate::params::Params;
use crate::section::Section;
use crate::settings::DashboardSettings;
use crate::view::health::{CONDITIONS, DeadLetter, Health, HealthParams, Job, furthest_behind};

/// Dead letters listed.
const LISTED_MAX: usize = 50;

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> HealthParams {
    HealthParams { topic: params.owned("topic"), code: params.owned("code"), limit: limit.min(LISTED_MAX) }
}

/// The live sections.
pub(super) fn sections(view: &Health, params: &Params, counts: &Counts, live: bool) -> Vec<Section> {
    vec![
        Section::html("summary", summary(view, counts, live)),
        Section::html("jobs", view.jobs.iter().map(|job| (job.table.clone(), line(job)))),
        Section::series("ledger", &view.ledger),
        Section::one("causes", causes(view, params)),
        Section::html("dead_letters", view.dead_letters.iter().map(|letter| (letter.id.clone(), dead_letter(letter)))),
        Section::one("delivery", delivery(counts)),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, settings: &DashboardSettings) -> Body {
    let content = html! {
        (list("ul", "kpis", "summary", sections))
        (Panel {
            id: "jobs", title: "Tables", tables: "job_progress",
            note: html! { "how far each streaming table has come; lag in records and in seconds behind the clock" },
            tools: csv("job_progress"),
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Tables" {
                table.lines.jobs {
                    thead { tr {
                        th scope="col" { "Table" } th scope="col" { "State" } th.n scope="col" { "Lag" }
                        th.n scope="col" { "Behind" } th.wide scope="col" { "Last 5 min" } th.n.wide scope="col" { "Records/s" }
                        th.n.wide scope="col" { "Records in" } th.n.wide scope="col" { "Late" } th.n.wide scope="col" { "Malformed" }
                        th.n.wide scope="col" { "Repeats" } th.n.wide scope="col" { "Rows out" } th.n.wide scope="col" { "Rows/s" } th.n.wide scope="col" { "State" }
                        th.n.wide scope="col" { "Last batch" }
                    } }
                    (list("tbody", "", "jobs", sections))
                }
            }
            (empty("Waiting for the first epoch…", "A table tells of its progress with every commit."))
        }))
        div.grid.health {
            (Panel {
                id: "ledger", title: "Records by stream", tables: "ledger",
                note: html! { "counted by minute of event time" },
                tools: html! { (chart_tools("ledger", true)) (csv("ledger")) },
            }.around(chart("ledger", "Records by minute and source stream", "short", sections)))
            (Panel {
                id: "delivery", title: "Delivery of these pages", tables: "",
                note: html! { "server-sent events since the start" }, tools: html! { a.tool href="/metrics" { "Metrics" } },
            }.around(html! {
                (list("div", "", "delivery", sections))
                dl.facts.js id="received" { div { dt { "This page" } dd { "connecting…" } } }
            }))
        }
        @if !settings.sinks.is_empty() { (promises::panel(sections)) }
        (Panel {
            id: "dead", title: "Dead letters", tables: "dead_letters",
            note: html! { "records set aside with their bytes as received; ids and addresses are blotted out" },
            tools: html! { a.tool href="/dead-letters" { "Repair and send again" } (csv("dead_letters")) },
        }.around(html! {
            (list("div", "filters", "causes", sections))
            (list("ul", "letters", "dead_letters", sections))
            (empty("No dead letters", "Every record so far was counted."))
        }))
    };
    let controls = html! {
        @if let Some(address) = &settings.spark_ui { (external(address, "Spark UI")) }
        @if let Some(address) = &settings.kafka_ui { (external(address, "Kafka UI")) }
    };
    Body { controls, content }
}

fn summary(view: &Health, counts: &Counts, live: bool) -> Vec<(String, Markup)> {
    let sum = |field: fn(&Job) -> i64| view.jobs.iter().map(field).sum::<i64>();
    // Tables of one job read the same records: the largest is the job's.
    let lag = view.jobs.iter().filter_map(|job| job.lag_records).max();
    let behind = furthest_behind(&view.jobs);
    let label = CONDITIONS.iter().find(|(name, _)| *name == view.condition).map_or("Waiting", |(_, label)| label);
    let unwell = view.jobs.iter().filter(|job| job.condition != "ok").count();
    let tile = |key: &str, label: &str, value: Markup, foot: Markup| {
        (
            key.to_owned(),
            html! { li.kpi data-key=(key) { h2 { (label) } div.value { (value) } div.foot { (foot) } (fresh("job_progress")) } },
        )
    };
    vec![
        tile(
            "condition",
            "Condition",
            html! { span.condition data-kind=(view.condition) { (label) } },
            html! { @if unwell > 0 { (unwell) " of " } (view.jobs.len()) " tables" },
        ),
        tile(
            "lag",
            "Largest lag",
            html! { @match lag { Some(lag) => (count(lag)), None => span.none { "–" } } },
            html! { "records not read yet" },
        ),
        tile(
            "behind",
            "Furthest behind",
            html! { @match behind { Some(seconds) => (duration(seconds)), None => span.none { "–" } } },
            html! { "clock minus watermark" },
        ),
        tile(
            "aside",
            "Set aside",
            count(sum(|job| job.records_late) + sum(|job| job.records_malformed)),
            html! { (grouped(sum(|job| job.records_late))) " late, " (grouped(sum(|job| job.records_malformed))) " malformed" },
        ),
        tile(
            "pages",
            "Open pages",
            count(counts.clients as i64),
            html! { @if live { "live rows are coming" } @else { "the live feed has ended" } },
        ),
    ]
}

fn line(job: &Job) -> Markup {
    let label = CONDITIONS.iter().find(|(name, _)| *name == job.condition).map_or("", |(_, label)| label);
    html! {
        tr data-key=(job.table) {
            th scope="row" {
                a href={ "/api/tables/" (job.table) } { (job.table) }
                span.note { (job.job) " · " (job.backend) span.wide { " · epoch " (grouped(job.epoch)) } }
                @if let Some(why) = &job.trouble { span.note.trouble { (why) } }
            }
            td { (pill(job.condition, label)) }
            td.n { @match job.lag_records { Some(lag) => a href=(Params::default().with("group", Some(&format!("millrace-{}", job.job))).query("/kafka")) { (count(lag)) }, None => span.none title="the ends of the source topics are unknown" { "–" } } }
            td.n title=[job.watermark.map(|watermark| format!("watermark {watermark}"))] {
                @match job.delay_seconds { Some(seconds) => (duration(seconds)), None => span.none { "–" } }
                @if job.watermark.is_some() { span.note.wide { "to " (when(job.watermark, When::Clock)) } }
            }
            td.wide { (shapes::spark(&job.delay_history)) }
            td.n.wide { @match job.records_per_second { Some(rate) => (count(rate.round() as i64)), None => span.none { "–" } } }
            td.n.wide { (count(job.records_in)) }
            td.n.wide { (count(job.records_late)) }
            td.n.wide { (count(job.records_malformed)) }
            td.n.wide { (count(job.records_duplicate)) }
            td.n.wide { (count(job.rows_out)) }
            td.n.wide { @match job.rows_per_second { Some(rate) => (count(rate.round() as i64)), None => span.none { "–" } } }
            td.n.wide { (bytes(job.state_bytes)) span.note { (grouped(job.state_groups)) " rows" } }
            td.n.wide title=[phases(job)] { (batch(job.epoch_micros)) @if let Some((name, ms)) = job.phases.first() { span.note { (name) " " (grouped(*ms)) " ms" } } }
        }
    }
}

/// How long a batch took: of the embedded engine milliseconds, of Spark seconds.
fn batch(micros: i64) -> String {
    if micros < 10_000_000 { format!("{:.1} ms", micros as f64 / 1e3) } else { duration(micros as f64 / 1e6) }
}

/// Where the time of the last batch went.
fn phases(job: &Job) -> Option<String> {
    let phases: Vec<String> = job.phases.iter().map(|(name, ms)| format!("{name} {} ms", grouped(*ms))).collect();
    (!phases.is_empty()).then(|| phases.join(", "))
}

/// A size in its largest fitting unit.
fn bytes(bytes: i64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn causes(view: &Health, params: &Params) -> Markup {
    let all = view.dead_counts.iter().map(|count| count.count).sum();
    let mut topics: Vec<(&str, usize)> = Vec::new();
    let mut codes: Vec<(&str, usize)> = Vec::new();
    for count in &view.dead_counts {
        add(&mut topics, &count.topic, count.count);
        add(&mut codes, &count.code, count.count);
    }
    let options = |all_label: &'static str, parts: &[(&str, usize)]| {
        let mut options = vec![(None, all_label.to_owned(), Some(all))];
        options.extend(
            parts.iter().map(|(name, number)| (Some((*name).to_owned()), name.replace('_', " "), Some(*number))),
        );
        options
    };
    let links = |name: &str, label: &str, options: &[(Option<String>, String, Option<usize>)]| {
        let options: Vec<(Option<&str>, &str, Option<usize>)> =
            options.iter().map(|(value, label, number)| (value.as_deref(), label.as_str(), *number)).collect();
        Choice { path: "/health", params, name, label }.links(&options)
    };
    html! {
        div data-key="causes" {
            (links("topic", "Source topic", &options("All topics", &topics)))
            (links("code", "Cause", &options("All causes", &codes)))
        }
    }
}

fn add<'a>(sums: &mut Vec<(&'a str, usize)>, name: &'a str, number: usize) {
    match sums.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += number,
        None => sums.push((name, number)),
    }
}

fn dead_letter(letter: &DeadLetter) -> Markup {
    html! {
        li.letter data-key=(letter.id) {
            details {
                summary {
                    (pill(&letter.kind, &letter.code.replace('_', " ")))
                    span.what { (letter.reason) }
                    span.place { (letter.topic) "/" (letter.partition) "/" (grouped(letter.offset)) @if !letter.table.is_empty() { " → " (letter.table) } }
                    (when(letter.first_seen, When::Ago))
                }
                div.evidence {
                    dl {
                        @if !letter.field.is_empty() { div { dt { "Field" } dd { code { (letter.field) } } } }
                        div { dt { "Set aside" } dd { (when(letter.first_seen, When::Clock)) } }
                        div { dt { "Event time" } dd { (when(letter.event_time, When::Clock)) } }
                        div { dt { "Size" } dd { (grouped(letter.value.bytes as i64)) " bytes" @if letter.value.cut { ", the beginning is shown" } } }
                    }
                    h3 { "As text" }
                    pre tabindex="0" { @if letter.value.bytes == 0 { "(no value)" } @else { (letter.value.text) } }
                    @if letter.value.bytes > 0 {
                        details { summary { "As bytes" } pre.hex tabindex="0" { (letter.value.hex) } }
                    }
                }
            }
        }
    }
}

fn delivery(counts: &Counts) -> Markup {
    html! {
        dl.facts data-key="delivery" {
            div { dt { "Open pages" } dd { (count(counts.clients as i64)) } }
            div { dt { "Changes sent" } dd { (count(counts.deltas as i64)) } }
            div { dt { "Snapshots sent" } dd { (count(counts.snapshots as i64)) } }
            div { dt { "Sent in all" } dd { (bytes(i64::try_from(counts.bytes).unwrap_or(i64::MAX))) } }
            div { dt { "Row to push" } dd { (format!("{:.1} ms", counts.delay_micros as f64 / 1e3)) } }
            div { dt { "Turned away" } dd { (count(counts.refused as i64)) } }
        }
    }
}
