//! One topic: its partitions, who reads it, how it is configured, and its messages.

use maud::{Markup, html};

use super::super::Sections;
use super::super::kit::{Panel, list, pill};
use super::{Found, copies, group_link, heading, messages, missing, offset, rate, records, seconds};
use crate::params::Params;
use crate::section::Section;
use crate::view::kafka::{Look, Partition, Topic, kept};

/// The live sections.
pub(super) fn sections(look: &Look, name: &str) -> Vec<Section> {
    let Some(topic) = look.topics.iter().find(|topic| topic.name == name) else {
        let said = html! { div data-key="facts" { (missing("topic", look.at.is_none())) } };
        let nothing = ["partitions", "readers", "config"].map(|section| Section::html(section, []));
        return [vec![Section::one("facts", said)], nothing.into()].concat();
    };
    let readers = look.groups.iter().filter_map(|group| {
        let here: Vec<_> = group.places.iter().filter(|at| at.topic == name).collect();
        let lag = here.iter().map(|at| at.lag_records).sum::<Option<i64>>();
        let late = here.iter().filter_map(|at| at.lag_seconds).max_by(f64::total_cmp);
        let clients: std::collections::BTreeSet<&str> = here.iter().filter_map(|at| at.client.as_deref()).collect();
        (!here.is_empty()).then(|| {
            let line = html! {
                tr data-key=(group.name) {
                    th scope="row" {
                        a href=(group_link(&group.name)) { (group.name) }
                        span.note { @if group.what.is_empty() { "another's group" } @else { (group.what) } }
                    }
                    td.n.strong { (records(lag)) }
                    td.n { (seconds(late)) }
                    td.n.wide { (here.len()) }
                    td.wide { @if clients.is_empty() { span.none { "assigns itself" } } @else { (clients.into_iter().collect::<Vec<_>>().join(", ")) } }
                }
            };
            (group.name.clone(), line)
        })
    });
    vec![
        Section::one("facts", facts(topic)),
        Section::html("partitions", topic.partitions.iter().map(|part| (part.partition.to_string(), partition(part)))),
        Section::html("readers", readers),
        Section::html("config", topic.config.iter().map(|entry| (entry.0.clone(), config(entry)))),
    ]
}

/// The page around them.
pub(super) fn body(name: &str, sections: &Sections, params: &Params, found: Option<&Found>) -> Markup {
    let base = Params::default().with("topic", Some(name));
    let views = [(None, "Partitions"), (Some("messages"), "Messages"), (Some("config"), "Settings")];
    let shown = params.get("view");
    html! {
        div.subject-head {
            (heading("topic", name))
            nav.choice aria-label="Parts of this topic" {
                @for (view, label) in views {
                    a href=(base.with("view", view).query(super::PATH)) aria-current=[(shown == view).then_some("page")] { (label) }
                }
            }
        }
        @if shown.is_none() { (list("div", "", "facts", sections)) }
        @match shown {
            Some("messages") => (messages::panel(name, params, found)),
            Some("config") => (settings(sections)),
            _ => (partitions(sections)),
        }
    }
}

fn facts(topic: &Topic) -> Markup {
    html! {
        div.card data-key="facts" {
            @if !topic.description.is_empty() { p.note { (topic.description) } }
            dl.facts {
                div { dt { "Copies" } dd { (copies(topic)) } }
                div { dt { "Role" } dd { (topic.role) } }
                div { dt { "Partitions" } dd { (topic.partitions.len()) " × " (topic.replication) @if topic.replication == 1 { " copy" } @else { " copies" } } }
                div { dt { "Records" } dd { (records(topic.records)) } }
                div { dt { "Records/s" } dd { (rate(topic.records_per_second)) } }
                div { dt { "Kept" } dd { (kept(&topic.config)) } }
                div { dt { "Largest lag" } dd { (records(topic.lag_records)) } }
                div { dt { "Furthest behind" } dd { (seconds(topic.lag_seconds)) } }
            }
        }
    }
}

fn partitions(sections: &Sections) -> Markup {
    html! {
        (Panel {
            id: "partitions", title: "Partitions", tables: "",
            note: html! { "a partition whose copies are not all in sync is marked; the first replica is the preferred leader" }, tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Partitions" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Partition" } th scope="col" { "Copies" } th.n scope="col" { "Leader" }
                        th.n.wide scope="col" { "Replicas" } th.n.wide scope="col" { "In sync" }
                        th.n.wide scope="col" { "First offset" } th.n scope="col" { "End offset" } th.n scope="col" { "Records" }
                    } }
                    (list("tbody", "", "partitions", sections))
                }
            }
        }))
        (Panel {
            id: "readers", title: "Groups that read it", tables: "",
            note: html! { "by the offsets they have committed; in seconds: the age of the first record not read" }, tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Groups that read it" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Group" } th.n scope="col" { "Lag" } th.n scope="col" { "Behind" }
                        th.n.wide scope="col" { "Partitions" } th.wide scope="col" { "Members" }
                    } }
                    (list("tbody", "", "readers", sections))
                }
            }
            (super::empty("Nobody reads it", "No group has committed an offset in this topic."))
        }))
    }
}

fn partition(part: &Partition) -> Markup {
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let behind = part.replicas.len().saturating_sub(part.in_sync.len());
    html! {
        tr data-key=(part.partition) {
            th scope="row" { (part.partition) }
            td {
                @if part.leader.is_none() { (pill("stalled", "No leader")) }
                @else if behind > 0 { (pill("behind", &format!("{behind} behind"))) }
                @else { (pill("ok", "In sync")) }
            }
            td.n { @match part.leader { Some(leader) => (leader), None => span.none { "–" } } }
            td.n.wide { (ids(&part.replicas)) }
            td.n.wide { (ids(&part.in_sync)) }
            td.n.wide { (offset(part.low)) }
            td.n { (offset(part.end)) }
            td.n { (records(part.end.zip(part.low).map(|(end, low)| end - low))) }
        }
    }
}

fn settings(sections: &Sections) -> Markup {
    Panel {
        id: "settings",
        title: "Settings",
        tables: "",
        note: html! { "set for this topic first; the others are the cluster's" },
        tools: html! {},
    }
    .around(html! {
        div.scroll tabindex="0" role="region" aria-label="Settings" {
            table.lines {
                thead { tr { th scope="col" { "Setting" } th scope="col" { "Value" } th.wide scope="col" { "Set" } } }
                (list("tbody", "", "config", sections))
            }
        }
        (super::empty("Not known yet", "The cluster has not told its settings."))
    })
}

fn config((name, value, own): &(String, String, bool)) -> Markup {
    html! {
        tr data-key=(name) {
            th scope="row" { code { (name) } }
            td.value-of { @if value.is_empty() { span.none { "–" } } @else { code { (value) } @if let Some(plain) = plain(name, value) { span.note { " " (plain) } } } }
            td.wide { @if *own { "for this topic" } @else { span.none { "by the cluster" } } }
        }
    }
}

/// What a number of milliseconds is in larger units.
fn plain(name: &str, value: &str) -> Option<String> {
    let ms: i64 = value.parse().ok().filter(|ms| (10_000..i64::MAX / 2).contains(ms))?;
    name.ends_with(".ms").then(|| super::duration(ms as f64 / 1e3))
}
