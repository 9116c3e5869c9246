//! What sinks promise, on the health page.

use maud::{Markup, html};

use super::Sections;
use super::kit::{Panel, count, duration, grouped, list};
use crate::promises::PromiseLine;
use crate::section::Section;
use crate::settings::SinkLag;

/// The live section.
pub(super) fn section(lines: &[PromiseLine]) -> Section {
    Section::html("promises", lines.iter().map(|line| (line.of.sink.clone(), row(line))))
}

/// The panel around it.
pub(super) fn panel(sections: &Sections) -> Markup {
    let panel = Panel {
        id: "promises",
        title: "Delivery promises",
        tables: "",
        note: html! { "what arrives how surely, whatever crashes; a target that is away holds back its own sink and nothing else" },
        tools: html! {},
    };
    panel.around(html! {
        div.scroll tabindex="0" role="region" aria-label="Delivery promises" {
            table.lines {
                thead { tr {
                    th scope="col" { "Sink" } th scope="col" { "Promise" } th.wide scope="col" { "Deduplicated by" }
                    th.wide scope="col" { "Tried again" } th.n scope="col" { "Behind" }
                } }
                (list("tbody", "", "promises", sections))
            }
        }
    })
}

fn row(line: &PromiseLine) -> Markup {
    let of = &line.of;
    html! {
        tr data-key=(of.sink) {
            th scope="row" { (of.sink) }
            td { (of.promise) }
            td.wide { (of.deduplicated_by) }
            td.wide { (of.retried) }
            td.n { (behind(line)) }
        }
    }
}

fn behind(line: &PromiseLine) -> Markup {
    let (unit, unknown) = match line.of.lag {
        SinkLag::Channel(_) => ("messages", "what waits is not known"),
        _ => ("records", "known while somebody looks at the Kafka page"),
    };
    html! {
        @match line.behind {
            Some(behind) => { (count(behind)) " " (unit) }
            None => span.none title=(unknown) { "–" }
        }
        @if let Some(seconds) = line.behind_seconds.filter(|_| line.behind.is_some_and(|behind| behind > 0)) {
            span.note { (duration(seconds)) }
        }
        @if line.refused > 0 { span.note { (grouped(line.refused)) " refused" } }
    }
}
