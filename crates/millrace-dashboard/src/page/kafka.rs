//! The Kafka page: brokers, topics and groups; one topic, one group, and a topic's messages, each by its query.

mod group;
mod messages;
mod topic;

use maud::{Markup, html};

use super::kit::{Choice, Panel, When, count, duration, empty, grouped, list, pill, things, when};
use super::layout::Body;
use super::{Sections, shapes};
use crate::kafka::messages::Answer;
use crate::params::Params;
use crate::section::Section;
use crate::view::kafka::{Broker, Group, Look, Topic, kept};

/// Where the page is.
pub(super) const PATH: &str = "/kafka";
/// Roles of topics, as they can be chosen.
const ROLES: [(&str, &str); 5] = [
    ("source", "Sources"),
    ("result", "Results"),
    ("system", "System"),
    ("other", "Without contract"),
    ("internal", "Kafka's own"),
];
/// Lag that is remarked on, seconds.
const BEHIND_SECONDS: f64 = 60.0;

/// Messages that were asked for, or what is wrong with the question.
pub(super) type Found = Result<std::sync::Arc<Answer>, String>;

/// What a query shows.
enum Shown<'a> {
    All,
    Topic(&'a str),
    Group(&'a str),
}

impl<'a> Shown<'a> {
    fn of(params: &'a Params) -> Self {
        match (params.get("topic"), params.get("group")) {
            (Some(topic), _) => Shown::Topic(topic),
            (None, Some(group)) => Shown::Group(group),
            (None, None) => Shown::All,
        }
    }
}

/// Whether the query asks for messages.
pub(super) fn wants_messages(params: &Params) -> bool {
    params.get("topic").is_some() && params.get("view") == Some("messages")
}

/// The live sections.
pub(super) fn sections(look: &Look, params: &Params) -> Vec<Section> {
    let mut sections = vec![Section::one("looked", looked(look)), Section::html("trouble", trouble(look))];
    match Shown::of(params) {
        Shown::Topic(name) => sections.extend(topic::sections(look, name)),
        Shown::Group(name) => sections.extend(group::sections(look, name)),
        Shown::All => {
            let role = params.get("role");
            let topics = look.topics.iter().filter(|topic| match role {
                Some(role) => topic.role == role,
                None => topic.role != "internal",
            });
            sections.extend([
                Section::html("summary", summary(look)),
                Section::html("brokers", look.brokers.iter().map(|node| (node.id.to_string(), broker(node)))),
                Section::one("roles", roles(look, params)),
                Section::html("topics", topics.map(|topic| (topic.name.clone(), line(topic)))),
                Section::html("groups", look.groups.iter().map(|group| (group.name.clone(), group_line(group)))),
            ]);
        }
    }
    sections
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params, kafka_ui: Option<&str>, found: Option<&Found>) -> Body {
    let content = html! {
        (list("div", "troubles", "trouble", sections))
        @match Shown::of(params) {
            Shown::Topic(name) => (topic::body(name, sections, params, found)),
            Shown::Group(name) => (group::body(name, sections)),
            Shown::All => (overview(sections)),
        }
    };
    let controls = html! {
        (list("span", "", "looked", sections))
        @if let Some(address) = kafka_ui { (external(address, "Kafka UI")) }
    };
    Body { controls, content }
}

/// The page where no cluster is named.
pub(super) fn without() -> Body {
    let content = html! {
        section.panel { div.content { (empty("No cluster to show", "This dashboard was started without one.")) } }
    };
    Body { controls: html! {}, content }
}

/// A link to somebody else's page.
pub(super) fn external(address: &str, label: &str) -> Markup {
    html! { a.tool href=(address) rel="noreferrer noopener" target="_blank" title={ "Opens " (address) } { (label) span aria-hidden="true" { "↗" } } }
}

fn looked(look: &Look) -> Markup {
    html! { span.shown data-key="looked" { @if look.at.is_some() { "asked " (when(look.at, When::Ago)) } @else { "not asked yet" } } }
}

fn trouble(look: &Look) -> Vec<(String, Markup)> {
    let one = |text: &String| (text.clone(), html! { p.notice data-key=(text) { "Kafka: " (text) } });
    look.trouble.iter().map(one).collect()
}

fn overview(sections: &Sections) -> Markup {
    html! {
        (list("ul", "kpis", "summary", sections))
        (Panel {
            id: "groups", title: "Consumer groups", tables: "",
            note: html! { "furthest behind first; in seconds: the age of the first record not read, by its Kafka timestamp" },
            tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Consumer groups" {
                table.lines.jobs {
                    thead { tr {
                        th scope="col" { "Group" } th scope="col" { "State" } th.n scope="col" { "Lag" }
                        th.n scope="col" { "Behind" } th.wide scope="col" { "Lag, last minutes" } th.n.wide scope="col" { "Members" }
                        th.n.wide scope="col" { "Topics" } th.n.wide scope="col" { "Partitions" }
                    } }
                    (list("tbody", "", "groups", sections))
                }
            }
            (empty("No groups yet", "A group appears with the first offset it commits."))
        }))
        (Panel {
            id: "topics", title: "Topics", tables: "",
            note: html! { "records are offsets between first and end: markers of transactions and compacted gaps count" },
            tools: html! {},
        }.around(html! {
            (list("div", "filters", "roles", sections))
            div.scroll tabindex="0" role="region" aria-label="Topics" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Topic" } th scope="col" { "Copies" } th.n.wide scope="col" { "Partitions" }
                        th.n.wide scope="col" { "Replication" } th.n scope="col" { "Records" } th.n.wide scope="col" { "Records/s" }
                        th.wide scope="col" { "Kept" } th.n.wide scope="col" { "Groups" } th.n scope="col" { "Largest lag" }
                    } }
                    (list("tbody", "", "topics", sections))
                }
            }
            (empty("No topics here", "Topics are made when Millrace starts."))
        }))
        (Panel {
            id: "brokers", title: "Brokers", tables: "",
            note: html! { "who answers, what they lead and hold; roles are those of each broker's own configuration" },
            tools: html! {},
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="Brokers" {
                table.lines {
                    thead { tr {
                        th scope="col" { "Broker" } th scope="col" { "State" } th.wide scope="col" { "Roles" } th.n scope="col" { "Leads" }
                        th.n.wide scope="col" { "Copies" } th.n scope="col" { "Behind" }
                    } }
                    (list("tbody", "", "brokers", sections))
                }
            }
            (empty("No broker answers", "The line above says why."))
        }))
    }
}

fn summary(look: &Look) -> Vec<(String, Markup)> {
    let tile = |key: &str, label: &str, value: Markup, foot: Markup| {
        (key.to_owned(), html! { li.kpi data-key=(key) { h2 { (label) } div.value { (value) } div.foot { (foot) } } })
    };
    let alive = look.brokers.iter().filter(|broker| broker.address.is_some()).count();
    let under: usize = look.topics.iter().map(|topic| topic.under_replicated).sum();
    let leaderless: usize = look.topics.iter().map(|topic| topic.leaderless).sum();
    let shown = look.topics.iter().filter(|topic| topic.role != "internal");
    let rate = shown.clone().map(|topic| topic.records_per_second).sum::<Option<f64>>();
    let lag = look.groups.iter().filter(|group| group.lag_records.is_some()).max_by_key(|group| group.lag_records);
    let late = look.groups.iter().filter(|group| group.lag_seconds.is_some());
    let late = late.max_by(|a, b| a.lag_seconds.unwrap_or(0.0).total_cmp(&b.lag_seconds.unwrap_or(0.0)));
    let none = || html! { span.none { "–" } };
    vec![
        tile(
            "brokers",
            "Brokers",
            html! { span.condition data-kind=(if alive < look.brokers.len() { "stalled" } else { "ok" }) { (alive) @if alive < look.brokers.len() { " of " (look.brokers.len()) } } },
            html! { @if alive < look.brokers.len() { (look.brokers.len() - alive) " away" } @else { "all answer" } },
        ),
        tile(
            "copies",
            "Copies behind",
            html! { span.condition data-kind=(if leaderless > 0 { "stalled" } else if under > 0 { "behind" } else { "ok" }) { (count(under as i64)) } },
            html! { @if leaderless > 0 { (things(leaderless, "partition")) " without leader" } @else if under > 0 { "partitions under-replicated" } @else { "every copy is in sync" } },
        ),
        tile(
            "rate",
            "Records/s",
            html! { @match rate { Some(rate) => (count(rate.round() as i64)), None => (none()) } },
            html! { "into " (things(shown.count(), "topic")) },
        ),
        tile(
            "lag",
            "Largest lag",
            html! { @match lag.and_then(|group| group.lag_records) { Some(lag) => (count(lag)), None => (none()) } },
            html! { @if let Some(group) = lag { (group.name) } @else { "no group yet" } },
        ),
        tile(
            "late",
            "Furthest behind",
            html! { @match late.and_then(|group| group.lag_seconds) { Some(seconds) => (duration(seconds)), None => (none()) } },
            html! { @if let Some(group) = late { (group.name) } @else { "no group yet" } },
        ),
    ]
}

fn broker(broker: &Broker) -> Markup {
    html! {
        tr data-key=(broker.id) {
            th scope="row" { (broker.id) span.note { @match &broker.address { Some(address) => (address), None => "address unknown" } } }
            td { @if broker.address.is_some() { (pill("ok", "Answers")) } @else { (pill("stalled", "Away")) } }
            td.wide { @if broker.roles.is_empty() { span.none title="its configuration does not tell" { "–" } } @else { (broker.roles.join(", ")) } }
            td.n { (count(broker.leads as i64)) }
            td.n.wide { (count(broker.copies as i64)) }
            td.n.strong[broker.behind > 0] { (count(broker.behind as i64)) }
        }
    }
}

fn roles(look: &Look, params: &Params) -> Markup {
    let of = |role: &str| look.topics.iter().filter(|topic| topic.role == role).count();
    let mut options = vec![(None, "All", Some(look.topics.len() - of("internal")))];
    options.extend(
        ROLES.iter().map(|(role, label)| (Some(*role), *label, Some(of(role)))).filter(|(.., n)| *n != Some(0)),
    );
    html! { div data-key="roles" { (Choice { path: PATH, params, name: "role", label: "Role" }.links(&options)) } }
}

/// The state of a topic's copies: a word with a colour.
fn copies(topic: &Topic) -> Markup {
    match (topic.leaderless, topic.under_replicated) {
        (0, 0) => pill("ok", "In sync"),
        (0, under) => pill("behind", &format!("{under} of {} behind", topic.partitions.len())),
        (leaderless, _) => pill("stalled", &format!("{leaderless} without leader")),
    }
}

fn topic_link(name: &str) -> String {
    Params::default().with("topic", Some(name)).query(PATH)
}

fn group_link(name: &str) -> String {
    Params::default().with("group", Some(name)).query(PATH)
}

fn records(records: Option<i64>) -> Markup {
    html! { @match records { Some(records) => (count(records)), None => span.none title="an end is unknown" { "–" } } }
}

fn rate(rate: Option<f64>) -> Markup {
    html! { @match rate { Some(rate) => (count(rate.round() as i64)), None => span.none { "–" } } }
}

fn seconds(seconds: Option<f64>) -> Markup {
    html! { @match seconds { Some(0.0) => "0 s", Some(seconds) => (duration(seconds)), None => span.none title="not known" { "–" } } }
}

fn line(topic: &Topic) -> Markup {
    html! {
        tr data-key=(topic.name) {
            th scope="row" {
                a href=(topic_link(&topic.name)) { (topic.name) }
                span.note { (topic.role) }
            }
            td { (copies(topic)) }
            td.n.wide { (topic.partitions.len()) }
            td.n.wide { (topic.replication) }
            td.n { (records(topic.records)) }
            td.n.wide { (rate(topic.records_per_second)) }
            td.wide { (kept(&topic.config)) }
            td.n.wide { (topic.groups.len()) }
            td.n { (records(topic.lag_records)) @if topic.lag_records > Some(0) { span.note { (seconds(topic.lag_seconds)) } } }
        }
    }
}

/// The state of a group: whether it is behind, else as Kafka says.
fn state(group: &Group) -> Markup {
    match group.lag_seconds {
        Some(seconds) if seconds > BEHIND_SECONDS => pill("behind", "Behind"),
        _ => match group.state.as_str() {
            "Stable" => pill("ok", "Stable"),
            // It has no members because it assigns its partitions itself; so do the jobs of this product.
            "Empty" if group.lag_records.is_some() => pill("ok", "No members"),
            "" => pill("low", "Unknown"),
            other => pill("low", other),
        },
    }
}

fn group_line(group: &Group) -> Markup {
    let mut topics: Vec<&str> = group.places.iter().map(|at| at.topic.as_str()).collect();
    topics.dedup();
    html! {
        tr data-key=(group.name) {
            th scope="row" {
                a href=(group_link(&group.name)) { (group.name) }
                span.note { @if group.what.is_empty() { "another's group" } @else { (group.what) } }
            }
            td { (state(group)) }
            td.n.strong { (records(group.lag_records)) }
            td.n { (seconds(group.lag_seconds)) }
            td.wide { (shapes::spark(&group.history)) }
            td.n.wide { (group.members.len()) }
            td.n.wide { (topics.len()) }
            td.n.wide { (group.places.len()) }
        }
    }
}

/// The way back, and what is shown.
fn heading(kind: &str, name: &str) -> Markup {
    html! {
        nav.crumbs aria-label="Way back" { a href=(PATH) { "Kafka" } span aria-hidden="true" { "›" } span.note { (kind) } }
        h2.subject { (name) }
    }
}

/// What is said of a thing that is not there.
fn missing(what: &str, look_failed: bool) -> Markup {
    let why =
        if look_failed { "The cluster has not answered yet." } else { "It may have been deleted, or not be made yet." };
    empty(&format!("There is no {what} of this name"), why)
}

/// An offset as text.
fn offset(offset: Option<i64>) -> Markup {
    html! { @match offset { Some(offset) => (grouped(offset)), None => span.none { "–" } } }
}
