//! Dead letters: the list with its filters, one letter whole, and the forms that repair letters and send them again.

use maud::{Markup, html};
use serde_json::json;

use super::Sections;
use super::kit::{Choice, Panel, When, count, csv, empty, grouped, list, pill, search, things, when, who};
use super::layout::Body;
use crate::letters::AT_ONCE_MAX;
use crate::params::Params;
use crate::section::Section;
use crate::view::alerts::Since;
use crate::view::letters::{LetterLine, LetterView, LettersParams, Listing};

/// Its address.
pub(super) const PATH: &str = "/dead-letters";
/// Parameters it knows.
pub(super) const PARAMS: [&str; 7] = ["state", "topic", "kind", "code", "q", "since", "id"];
/// Letters listed; filters have the rest.
const LISTED_MAX: usize = 100;
/// A patch to begin with.
const PATCH_EXAMPLE: &str = r#"[{"op": "replace", "path": "/quantity", "value": 1}]"#;

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> LettersParams {
    LettersParams {
        topic: params.owned("topic"),
        kind: params.owned("kind"),
        code: params.owned("code"),
        reason: params.owned("q"),
        sent: match params.get("state") {
            Some("open") => Some(false),
            Some("sent") => Some(true),
            _ => None,
        },
        within: within(params),
        since: None,
        until: None,
        limit: limit.min(LISTED_MAX),
    }
}

fn within(params: &Params) -> Since {
    params.get("since").and_then(Since::named).unwrap_or_default()
}

/// The live sections; of a store that does not answer, only that.
pub(super) fn sections(listing: Result<&Listing, &str>, params: &Params) -> Vec<Section> {
    let trouble = listing.err().map(|why| ("trouble".to_owned(), html! { p.notice data-key="trouble" { (why) } }));
    let mut sections = vec![Section::html("trouble", trouble)];
    if let Ok(listing) = listing {
        sections.push(Section::html("summary", summary(listing)));
        sections.push(Section::one("filters", filters(listing, params)));
        sections.push(Section::one("shown", shown(listing)));
        let lines = listing.letters.iter().map(|letter| (letter.id.clone(), line(letter, params)));
        sections.push(Section::html("dead_letters", lines));
    }
    sections
}

/// The page around them. `found` is the letter the query names.
pub(super) fn body(sections: &Sections, params: &Params, found: Option<Result<Option<LetterView>, String>>) -> Body {
    let since: Vec<(Option<&str>, &str, Option<usize>)> = Since::ALL
        .iter()
        .map(|since| ((*since != Since::default()).then_some(since.name()), since.name(), None))
        .collect();
    let keep: Vec<&str> = PARAMS.into_iter().filter(|name| !["q", "id"].contains(name)).collect();
    let controls = html! {
        (search(PATH, params, "Search reasons", &keep))
        (Choice { path: PATH, params, name: "since", label: "Set aside within" }.links(&since))
        (who())
    };
    let content = html! {
        (list("div", "troubles", "trouble", sections))
        @match found {
            None => {}
            Some(Ok(Some(letter))) => div { div.stack data-key=(letter.id) { (one(&letter, params)) } },
            Some(Ok(None)) => p.notice { "There is no such dead letter." },
            Some(Err(why)) => p.notice { "The letter cannot be read: " (why) },
        }
        (list("ul", "kpis", "summary", sections))
        (Panel {
            id: "letters", title: "Dead letters", tables: "dead_letters",
            note: html! { "records set aside with their bytes as received, newest first; nothing is deleted, also when it was sent again" },
            tools: html! { (list("span", "", "shown", sections)) (csv("dead_letters")) },
        }.around(html! {
            (list("div", "filters", "filters", sections))
            (list("ul", "letters", "dead_letters", sections))
            (empty("No dead letters here", "Every record within this filter was counted."))
        }))
        (many(params))
    };
    Body { controls, content }
}

fn summary(listing: &Listing) -> Vec<(String, Markup)> {
    let tile = |key: &str, label: &str, value: i64, foot: Markup| {
        let markup = html! {
            li.kpi data-key=(key) { h2 { (label) } div.value data-tween { (count(value)) } div.foot { (foot) } }
        };
        (key.to_owned(), markup)
    };
    let of = |state: &str| listing.by_state.iter().find(|(known, _)| *known == state).map_or(0, |(_, number)| *number);
    let first = |parts: &[(String, i64)]| parts.first().filter(|(_, number)| *number > 0).cloned();
    let (code, topic) = (first(&listing.by_code), first(&listing.by_topic));
    let mut tiles = vec![
        tile("open", "Open", of("open"), html! { "as they came" }),
        tile("repaired", "Repaired", of("repaired"), html! { "waiting to be sent again" }),
        tile("sent", "Sent again", of("sent"), html! { "to the topics they came from" }),
    ];
    for (key, label, part) in [("cause", "Most frequent cause", code), ("topic", "Most of them from", topic)] {
        let number = part.as_ref().map_or(0, |(_, number)| *number);
        let foot = html! { @match part { Some((name, _)) => (if key == "cause" { name.replace('_', " ") } else { name }), None => "none" } };
        tiles.push(tile(key, label, number, foot));
    }
    tiles
}

fn filters(listing: &Listing, params: &Params) -> Markup {
    let links = |name: &str, label: &str, all: &str, parts: &[(String, i64)]| {
        let mut options = vec![(None, all.to_owned(), parts.iter().map(|(_, number)| *number).sum::<i64>())];
        let words = |value: &str| match (name, value) {
            ("state", "open") => "not sent yet".to_owned(),
            ("state", "sent") => "sent again".to_owned(),
            ("topic", topic) => topic.to_owned(),
            (_, other) => other.replace('_', " "),
        };
        options.extend(parts.iter().map(|(value, number)| (Some(value.clone()), words(value), *number)));
        let options: Vec<(Option<&str>, &str, Option<usize>)> = options
            .iter()
            .map(|(value, label, number)| (value.as_deref(), label.as_str(), usize::try_from(*number).ok()))
            .collect();
        Choice { path: PATH, params, name, label }.links(&options)
    };
    let sent = listing.by_state.iter().filter(|(state, _)| *state == "sent").map(|(_, number)| *number).sum::<i64>();
    let open = listing.by_state.iter().map(|(_, number)| *number).sum::<i64>() - sent;
    let states = [("open".to_owned(), open), ("sent".to_owned(), sent)];
    html! {
        div data-key="filters" {
            (links("state", "Sent again or not", "All", &states))
            (links("kind", "Kind", "All kinds", &listing.by_kind))
            (links("topic", "Source topic", "All topics", &listing.by_topic))
            (links("code", "Cause", "All causes", &listing.by_code))
        }
    }
}

fn shown(listing: &Listing) -> Markup {
    html! {
        span.shown data-key="shown" {
            @if (listing.letters.len() as u64) < listing.matching { (grouped(listing.letters.len() as i64)) " of " }
            (things(usize::try_from(listing.matching).unwrap_or(usize::MAX), "letter"))
        }
    }
}

fn line(letter: &LetterLine, params: &Params) -> Markup {
    let state = match (letter.state, letter.sent_again) {
        ("sent", 1) => "sent again".to_owned(),
        ("sent", times) => format!("sent again {times} times"),
        (state, _) => state.to_owned(),
    };
    html! {
        li.letter.of-many data-key=(letter.id) aria-current=[(params.get("id") == Some(letter.id.as_str())).then_some("true")] {
            // A whole page of its own: what is being written in the forms belongs to one letter.
            a href=(params.with("id", Some(&letter.id)).query(PATH)) {
                (pill(&letter.kind, &letter.code.replace('_', " ")))
                span.what { (letter.reason) }
                span.place { (letter.id) }
                span.standing data-kind=(letter.state) { (state) }
                (when(letter.first_seen, When::Ago))
            }
        }
    }
}

fn one(letter: &LetterView, params: &Params) -> Markup {
    let at = [
        ("topic", letter.topic.clone()),
        ("view", "messages".into()),
        ("from", "offset".into()),
        ("at", letter.offset.to_string()),
        ("partition", letter.partition.to_string()),
        ("count", "1".into()),
    ];
    let at: Params = at.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let time = |time| when(time, When::Clock);
    html! {
        (Panel {
            id: "letter", title: "One letter", tables: "",
            note: html! { code { (letter.id) } },
            tools: html! { a.tool href=(params.with("id", None).query(PATH)) { "Close" } },
        }.around(html! {
            p.why { (pill(&letter.kind, &letter.code.replace('_', " "))) " " (letter.reason) }
            dl.facts {
                (fact("Place", html! { a href=(at.query("/kafka")) { (letter.topic) "/" (letter.partition) "/" (grouped(letter.offset)) } }))
                (fact("State", html! { span.standing data-kind=(letter.state) { (letter.state) } }))
                @if !letter.field.is_empty() { (fact("Field", html! { code { (letter.field) } })) }
                @if !letter.table.is_empty() { (fact("Too late for", html! { (letter.table) })) }
                (fact("Set aside", html! { (time(Some(letter.first_seen))) " by " (letter.job) }))
                (fact("Record time", time(letter.record_time)))
                (fact("Event time", time(letter.event_time)))
                @if letter.watermark.is_some() { (fact("Watermark then", time(letter.watermark))) }
                (fact("Size", html! { (grouped(letter.value.bytes as i64)) " bytes" @if letter.is_cut { ", the beginning is kept" } }))
                @if !letter.key.is_empty() { (fact("Key", html! { code { (letter.key) } })) }
                @for (name, value) in &letter.headers { (fact(name, html! { code { (value) } })) }
            }
            h3 { "As received, personal values blotted out" }
            pre tabindex="0" { @if letter.value.bytes == 0 { "(no value)" } @else { (letter.value.text) } }
            @if letter.value.cut { p.note { "the beginning is shown" } }
            @if letter.value.bytes > 0 {
                details { summary { "As bytes" } pre.hex tabindex="0" { (letter.value.hex) } }
            }
            @if let Some(repair) = &letter.repair {
                h3 { "Repaired " (when(repair.at, When::Clock)) " by " (repair.by) ": " (repair.how) }
                pre tabindex="0" { (repair.text) }
            }
            @if !letter.redrives.is_empty() {
                h3 { "Sent again" }
                ul.redrives { @for redrive in &letter.redrives {
                    li { (when(redrive.at, When::Clock)) " by " (redrive.by) @if redrive.repaired { ", repaired" } }
                } }
            }
        }))
        div.letter-forms.acts { (edit(letter)) (send_one(letter)) }
    }
}

fn edit(letter: &LetterView) -> Markup {
    html! {
        form.panel.letter-form data-post="/v1/dead-letters/repair" data-owned aria-label="Repair this letter" {
            h2 { "Repair" }
            input type="hidden" name="ids" value=(letter.id) data-as="list";
            @if let Some(text) = &letter.editable {
                label for="letter-value" { "Value to send instead" }
                textarea id="letter-value" name="value" rows="8" spellcheck="false" { "\n" (text) }
                p.note { "⟦1⟧, ⟦2⟧ … stand for personal values: leave them, and they go back in where they stand." }
            } @else {
                label for="letter-patch" { "JSON patch (RFC 6902)" }
                textarea id="letter-patch" name="patch" data-as="json" rows="4" spellcheck="false" placeholder=(PATCH_EXAMPLE) {}
                p.note { "This value cannot be edited as text here: it is none, or long. `millrace dead-letters show --form raw` writes it into a file, `repair --value` reads it back." }
            }
            label.tick { input type="checkbox" name="unchecked"; " also if it still breaks its contract" }
            div.row {
                button.tool type="submit" name="dry_run" value="true" { "Check" }
                button.tool type="submit" { "Keep as repair" }
            }
            div data-result data-owned role="status" {}
        }
    }
}

fn send_one(letter: &LetterView) -> Markup {
    html! {
        form.panel.letter-form data-post="/v1/dead-letters/redrive" data-owned aria-label="Send this letter again" {
            h2 { "Send again" }
            input type="hidden" name="ids" value=(letter.id) data-as="list";
            p.note { "To topic " (letter.topic) ", with the repaired value if there is one. The record and the row that tells of it become visible together." }
            (ticks())
            (send_buttons())
            div data-result data-owned role="status" {}
        }
    }
}

fn ticks() -> Markup {
    html! {
        label.tick { input type="checkbox" name="force"; " also if it was sent before (--force)" }
        label.tick { input type="checkbox" name="unchecked"; " also if it still breaks its contract (--unchecked)" }
        label.tick { input type="checkbox" name="late"; " also if it was late (--late)" }
    }
}

fn send_buttons() -> Markup {
    html! {
        div.row {
            button.tool type="submit" name="dry_run" value="true" { "What would be sent?" }
            button.tool type="submit" { "Send again" }
        }
    }
}

/// Forms about everything the filter lets through.
fn many(params: &Params) -> Markup {
    let mut filter = serde_json::Map::new();
    for name in ["topic", "kind", "code", "q", "state"] {
        if let Some(value) = params.get(name) {
            filter.insert(name.to_owned(), json!(value));
        }
    }
    let since = within(params);
    if since != Since::Ever {
        filter.insert("since".to_owned(), json!(since.name()));
    }
    let words: Vec<String> =
        filter.iter().map(|(name, value)| format!("{name} {}", value.as_str().unwrap_or_default())).collect();
    let filter = json!(filter).to_string();
    html! {
        @if filter != "{}" {
            div.acts {
                details.panel.many data-key=(filter) {
                    summary { h2 { "Repair or send many" } span.note { "all letters of this filter (" (words.join(", ")) "), at most " (AT_ONCE_MAX) " at once" } }
                    div.letter-forms {
                        form.letter-form data-post="/v1/dead-letters/repair" aria-label="Repair many" {
                            input type="hidden" name="filter" value=(filter) data-as="json";
                            label for="many-patch" { "JSON patch (RFC 6902) for each of them" }
                            textarea id="many-patch" name="patch" data-as="json" data-owned rows="4" spellcheck="false" placeholder=(PATCH_EXAMPLE) {}
                            label.tick { input type="checkbox" name="unchecked"; " also what still breaks its contract" }
                            div.row {
                                button.tool type="submit" name="dry_run" value="true" { "Try" }
                                button.tool type="submit" { "Keep as repairs" }
                            }
                            div data-result data-owned role="status" {}
                        }
                        form.letter-form data-post="/v1/dead-letters/redrive" aria-label="Send many again" {
                            input type="hidden" name="filter" value=(filter) data-as="json";
                            p.note { "Each to the topic it came from, once unless forced, a hundred a second." }
                            (ticks())
                            (send_buttons())
                            div data-result data-owned role="status" {}
                        }
                    }
                }
            }
        }
    }
}
