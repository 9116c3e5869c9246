//! One group: who is in it, and how far it is in every partition.

use maud::{Markup, html};

use super::super::Sections;
use super::super::kit::{Panel, When, empty, list, when};
use super::{heading, missing, offset, records, seconds, state, topic_link};
use crate::section::Section;
use crate::view::kafka::{Group, Look, Position};

/// The live sections.
pub(super) fn sections(look: &Look, name: &str) -> Vec<Section> {
    let Some(group) = look.groups.iter().find(|group| group.name == name) else {
        let said = html! { div data-key="facts" { (missing("group", look.at.is_none())) } };
        return vec![Section::one("facts", said), Section::html("places", []), Section::html("members", [])];
    };
    let members = group.members.iter().map(|member| {
        let line = html! {
            tr data-key=(member.id) {
                th scope="row" { (member.client) span.note { (member.id) } }
                td { (member.host) }
                td.n { (member.partitions) }
            }
        };
        (member.id.clone(), line)
    });
    vec![
        Section::one("facts", facts(group)),
        Section::html("places", group.places.iter().map(|at| (format!("{}/{}", at.topic, at.partition), place(at)))),
        Section::html("members", members),
    ]
}

/// The page around them.
pub(super) fn body(name: &str, sections: &Sections) -> Markup {
    html! {
        div.subject-head { (heading("consumer group", name)) }
        (list("div", "", "facts", sections))
        (Panel {
            id: "places", title: "Positions", tables: "",
            note: html! {
                "lag in records is end minus committed offset, as every Kafka tool counts it; in seconds it is the age of the first \
                 record after the committed offset, by its Kafka timestamp (0 when only markers of transactions are left)"
            },
            tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Positions" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Topic" } th.n scope="col" { "Partition" } th.n.wide scope="col" { "Committed" } th.n.wide scope="col" { "End" }
                        th.n scope="col" { "Lag" } th.n scope="col" { "Behind" } th.wide scope="col" { "First unread" } th.wide scope="col" { "Member" }
                    } }
                    (list("tbody", "", "places", sections))
                }
            }
            (empty("No offsets", "This group has committed nothing that is still known."))
        }))
        (Panel {
            id: "members", title: "Members", tables: "",
            note: html! { "as the group's coordinator knows them" }, tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Members" {
                table.lines {
                    thead { tr { th scope="col" { "Client" } th scope="col" { "From" } th.n scope="col" { "Partitions" } } }
                    (list("tbody", "", "members", sections))
                }
            }
            (empty("Nobody is in it", "Jobs assign their partitions themselves and only commit offsets; or nobody runs."))
        }))
    }
}

fn facts(group: &Group) -> Markup {
    html! {
        div.card data-key="facts" {
            dl.facts {
                div { dt { "State" } dd { (state(group)) } }
                div { dt { "What it is" } dd { @if group.what.is_empty() { "another's group" } @else { (group.what) } } }
                div { dt { "Lag" } dd { (records(group.lag_records)) " records" } }
                div { dt { "Behind" } dd { (seconds(group.lag_seconds)) } }
                div { dt { "Members" } dd { (group.members.len()) } }
                div { dt { "Lag, last minutes" } dd { (super::shapes::spark(&group.history)) } }
            }
        }
    }
}

fn place(at: &Position) -> Markup {
    html! {
        tr data-key={ (at.topic) "/" (at.partition) } {
            th scope="row" { a href=(topic_link(&at.topic)) { (at.topic) } }
            td.n { (at.partition) }
            td.n.wide { (offset(Some(at.committed))) }
            td.n.wide { (offset(at.end)) }
            td.n.strong { (records(at.lag_records)) }
            td.n { (seconds(at.lag_seconds)) }
            td.wide { (when(at.first_unread, When::Clock)) }
            td.wide { @match &at.client { Some(client) => (client), None => span.none { "–" } } }
        }
    }
}
