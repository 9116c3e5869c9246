//! A topic's messages: the question as a form that works without scripts, and the records found.

use maud::{Markup, html};

use super::super::kit::{Panel, When, empty, grouped, things, when};
use super::{Found, PATH};
use crate::kafka::message::{Content, Message};
use crate::kafka::messages::{Answer, COUNT_MAX, COUNT_USUAL};
use crate::params::Params;

/// Where to start, as it can be chosen.
const FROM: [(&str, &str); 4] =
    [("newest", "Newest"), ("oldest", "Oldest"), ("offset", "From offset"), ("time", "From time")];
/// How many, as it can be chosen.
const COUNTS: [usize; 4] = [20, COUNT_USUAL, 100, COUNT_MAX];

/// The part of the page.
pub(super) fn panel(topic: &str, params: &Params, found: Option<&Found>) -> Markup {
    Panel {
        id: "messages",
        title: "Messages",
        tables: "",
        note: html! { "committed records, read without a group; ids and addresses are masked, and searched as they are shown" },
        tools: html! { @if let Some(Ok(answer)) = found { span.shown { "read " (when(Some(answer.at), When::Ago)) } } },
    }
    .around(html! {
        (form(topic, params))
        @match found {
            Some(Ok(answer)) => { (told(answer, params)) (records(topic, answer, params)) }
            Some(Err(why)) => p.notice role="alert" { (why) },
            None => (empty("Nothing was read", "Press Read.")),
        }
    })
}

fn form(topic: &str, params: &Params) -> Markup {
    let from = params.get("from").unwrap_or("newest");
    let wanted = params.count("count", COUNT_USUAL, COUNT_MAX);
    html! {
        form.ask action=(PATH) method="get" data-swap="submit" {
            input type="hidden" name="topic" value=(topic);
            input type="hidden" name="view" value="messages";
            label { span { "Start" } select name="from" { @for (value, label) in FROM { option value=(value) selected[from == value] { (label) } } } }
            label { span { "Offset or time" } input type="text" name="at" value=[params.get("at")] placeholder="1200, 15m, 2026-01-31 12:00Z" autocomplete="off"; }
            label { span { "Partition" } input type="text" inputmode="numeric" name="partition" size="5" value=[params.get("partition")] placeholder="all" autocomplete="off"; }
            label { span { "Show" } select name="count" { @for count in COUNTS { option value=(count) selected[wanted == count] { (count) } } } }
            label.grow { span { "Text in key, value or headers" } input id="q" type="search" name="q" value=[params.get("q")] placeholder="any" autocomplete="off"; }
            button.tool type="submit" { "Read" }
        }
    }
}

/// How far the search went: what is not shown was not looked at, or is not there.
fn told(answer: &Answer, params: &Params) -> Markup {
    let why = match answer.stopped {
        "limit" => ", then the limit of one look was reached: narrow it by partition, offset or time",
        "time" => ", then the time of one look was over: narrow it by partition, offset or time",
        "enough" => "",
        _ if params.get("q").is_some() => ", which is all there is from there on",
        _ => "",
    };
    html! {
        p.note.told role="status" {
            (things(answer.messages.len(), "record")) " shown, " (grouped(answer.read as i64)) " read (" (size(answer.bytes)) ")" (why) "."
        }
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn records(topic: &str, answer: &Answer, params: &Params) -> Markup {
    html! {
        ul.letters.messages {
            @for message in &answer.messages { (record(message)) }
        }
        @if answer.messages.is_empty() { (empty("No records here", "None from there on, or none that fit.")) }
        @if let Some(next) = next(topic, answer, params) { p.more { a.tool href=(next) data-swap { "Further on in this partition" } } }
    }
}

/// The same question after the last record: of one partition, where offsets give the order.
fn next(topic: &str, answer: &Answer, params: &Params) -> Option<String> {
    let is_forward = params.get("from").is_some_and(|from| from != "newest");
    let last = answer.messages.last().filter(|_| is_forward && answer.stopped != "ended")?;
    params.get("partition")?;
    let at = (last.offset + 1).to_string();
    Some(params.with("topic", Some(topic)).with("from", Some("offset")).with("at", Some(&at)).query(PATH))
}

fn record(message: &Message) -> Markup {
    html! {
        li.letter data-key={ (message.partition) "/" (message.offset) } {
            details {
                summary {
                    span.place { (message.partition) "/" (grouped(message.offset)) }
                    span.what {
                        @match &message.key { Some(key) => code.record-key { (key) }, None => span.none { "no key" } }
                        " " @if message.value == Content::Tombstone { em.none { "no value" } } @else { code.line { (message.value.line()) } }
                    }
                    (when(message.time, When::Clock))
                }
                div.evidence {
                    dl {
                        div { dt { "Partition / offset" } dd { (message.partition) " / " (grouped(message.offset)) } }
                        div { dt { "Kafka time" } dd { (when(message.time, When::Clock)) } }
                        div { dt { "Size" } dd { (size(message.bytes)) } }
                        div { dt { "Key" } dd { @match &message.key { Some(key) => code { (key) }, None => span.none { "none" } } } }
                    }
                    @match &message.value {
                        Content::Tombstone => p.note { "No value: in a compacted topic this ends the key." },
                        Content::Json { text, .. } => pre tabindex="0" role="region" aria-label="Value" { (text) },
                        Content::Bytes(raw) => {
                            pre tabindex="0" role="region" aria-label="Value as text" { (raw.text) @if raw.cut { "\n… cut here" } }
                            details { summary { "As bytes" } pre.hex tabindex="0" role="region" aria-label="Value as bytes" { (raw.hex) } }
                        }
                    }
                    @if !message.headers.is_empty() {
                        h3 { "Headers" }
                        dl { @for (name, value) in &message.headers { div { dt { (name) } dd { code { (value) } } } } }
                    }
                }
            }
        }
    }
}
