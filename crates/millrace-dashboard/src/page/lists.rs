//! Who is blocked, watched or allowed, and the form that lists somebody.

use maud::{Markup, html};

use super::kit::{Choice, Panel, When, csv, empty, list, search, things, when};
use super::layout::Body;
use super::reviews::{EXPIRIES, listed};
use super::{Page, Sections, fraud};
use crate::params::Params;
use crate::section::Section;
use crate::view::lists::{Entry, LISTS, ListParams, Lists};

/// What can be listed, with the field of `transactions` that names it.
const KINDS: [(&str, &str); 9] = [
    ("card", "card_token"),
    ("account", "user_id"),
    ("device", "device_id"),
    ("ip", "ip"),
    ("network", "a /24, as 10.1.2.0/24"),
    ("bin", "card_bin"),
    ("email", "email_hash"),
    ("address", "shipping_address_hash"),
    ("terminal", "store_id"),
];

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> ListParams {
    ListParams { list: params.owned("list"), kind: params.owned("kind"), search: params.owned("q"), limit }
}

/// The live sections.
pub(super) fn sections(view: &Lists, params: &Params) -> Vec<Section> {
    vec![
        Section::one("by-list", by_list(view, params)),
        Section::one("shown", shown(view)),
        Section::html("entries", view.entries.iter().map(|entry| (entry.id.clone(), line(entry)))),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let controls = html! {
        (fraud::tabs(Page::Lists))
        (fraud::analyst())
    };
    let content = html! {
        div.filters {
            (list("div", "", "by-list", sections))
            (search(Page::Lists.path(), params, "Reason, name, or the whole entity", &["list", "kind"]))
        }
        (Panel {
            id: "entries", title: "On a list", tables: "fraud_lists",
            note: html! { "a list decides before rules and model do; of the entities of a payment the strictest counts" },
            tools: html! { (list("span", "", "shown", sections)) (csv("fraud_lists")) },
        }.around(html! {
            div.scroll tabindex="0" role="region" aria-label="On a list" {
                table.lines.listed {
                    thead { tr {
                        th scope="col" { "List" } th scope="col" { "Entity" } th scope="col" { "Reason" }
                        th.n.wide scope="col" { "Since" } th.n scope="col" { "Until" } th.n scope="col" { span.vh { "Take it off" } }
                    } }
                    (list("tbody", "", "entries", sections))
                }
            }
            (empty("Nobody is listed here", "Block, watch or allow an entity below, from the review queue, or with `millrace fraud list add`."))
        }))
        (Panel {
            id: "add", title: "Put somebody on a list", tables: "",
            note: html! { "block: refused · watch: somebody looks at it · allow: not held" },
            tools: html! { a.tool href="/kafka?topic=fraud_lists&view=messages" { "Every change" } },
        }.around(html! {
            noscript { p.notice { "Saying something needs JavaScript; " code { "millrace fraud list add" } " does the same." } }
            div.saying.js { (adding()) p.said role="status" {} }
        }))
    };
    Body { controls, content }
}

fn adding() -> Markup {
    html! {
        form.say data-say data-clear action="/v1/fraud/lists" {
            label { "List" select name="list" { @for list in LISTS { option value=(list) { (list) } } } }
            label { "What" select name="kind" { @for (kind, field) in KINDS { option value=(kind) { (kind) " (" (field) ")" } } } }
            label.grow { "Which" input name="entity" required maxlength="256" autocomplete="off" spellcheck="false"; }
            label.grow { "Because" input name="reason" required maxlength="500" autocomplete="off"; }
            label { "For" select name="expires" { @for (value, label) in EXPIRIES { option value=(value) { (label) } } } }
            button.tool type="submit" { "Add to list" }
        }
    }
}

fn by_list(view: &Lists, params: &Params) -> Markup {
    let all = view.by_list.iter().map(|(_, number)| number).sum();
    let mut options = vec![(None, "All", Some(all))];
    for (list, number) in &view.by_list {
        options.push((Some(list.as_str()), list.as_str(), Some(*number)));
    }
    html! { div data-key="by-list" { (Choice { path: Page::Lists.path(), params, name: "list", label: "List" }.links(&options)) } }
}

fn shown(view: &Lists) -> Markup {
    html! { span.shown data-key="shown" { (things(view.matching, "entity").replace("entitys", "entities")) } }
}

fn line(entry: &Entry) -> Markup {
    html! {
        tr data-key=(entry.id) {
            td { (listed(&entry.list)) }
            th scope="row" { span.note { (entry.kind) } code { (entry.entity) } }
            td { (entry.reason) span.note { "by " (entry.changed_by) @if !entry.rules.is_empty() { ", only from " (entry.rules.join(", ")) } } }
            td.n.wide { (when(entry.changed_at, When::Clock)) }
            td.n { @match entry.expires_at { Some(time) => (when(Some(time), When::Minute)), None => span.none { "ever" } } }
            td.n { form.say.js data-say action="/v1/fraud/lists" {
                input type="hidden" name="entry" value=(entry.id);
                input type="hidden" name="list" value="" data-null;
                button.tool type="submit" aria-label={ "Take " (entry.kind) " " (entry.entity) " off the list" } { "Take off" }
            } }
        }
    }
}
