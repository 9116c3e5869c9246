//! The stock page: what is oversold, gone or going.

use maud::{Markup, html};

use super::kit::{Choice, Panel, When, count, csv, empty, fresh, grouped, list, pill, search, things, when};
use super::layout::Body;
use super::{Sections, shapes};
use crate::params::Params;
use crate::section::Section;
use crate::view::stock::{STATUSES, Stock, StockItem, StockParams, status_label};

/// Hours of cover at which the bar is full.
const FULL_HOURS: f64 = 24.0;

/// Reads the query.
pub(crate) fn params(params: &Params, limit: usize) -> StockParams {
    StockParams { status: params.owned("status"), search: params.owned("q"), limit }
}

/// The live sections.
pub(super) fn sections(view: &Stock, params: &Params) -> Vec<Section> {
    vec![
        Section::html("counts", counts(view)),
        Section::one("statuses", statuses(view, params)),
        Section::one("shown", shown(view)),
        Section::html("items", view.items.iter().map(|item| (item.product_id.clone(), line(item)))),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let controls = search("/stock", params, "Search products", &["status"]);
    let content = html! {
        (list("ul", "counts", "counts", sections))
        (Panel {
            id: "levels", title: "Levels", tables: "stock_levels stock_cover",
            note: html! { "most urgent first; cover is how long the rest lasts at the last hour's speed" },
            tools: html! { (list("span", "", "shown", sections)) (csv("stock_levels")) },
        }.around(html! {
            (list("div", "filters", "statuses", sections))
            div.scroll tabindex="0" role="region" aria-label="Stock levels" {
                table.lines.stock {
                    thead { tr {
                        th scope="col" { "Product" } th scope="col" { "State" } th.n scope="col" { "Available" }
                        th.n.wide scope="col" { "On hand" } th.n.wide scope="col" { "Reserved" }
                        th.n.wide scope="col" { "Reorder at" } th.n.wide scope="col" { "Sold, 1 h" }
                        th.cover scope="col" { "Cover" } th.wide scope="col" { "Last change" }
                    } }
                    (list("tbody", "", "items", sections))
                }
            }
            (empty("No products here", "Levels appear with the first count or delivery of the warehouse."))
        }))
    };
    Body { controls, content }
}

fn counts(view: &Stock) -> Vec<(String, Markup)> {
    let products: usize = view.by_status.iter().map(|(_, number)| number).sum();
    let tile = |(status, number): &(String, usize)| {
        let part = if products > 0 { *number as f64 / products as f64 } else { 0.0 };
        let markup = html! {
            li.kpi data-key=(status) {
                h2 { (status_label(status)) }
                div.value data-tween { (count(*number as i64)) }
                (shapes::bar(part, status))
                div.foot {
                    @if products == 0 { "no products yet" }
                    @else if status == "oversold" { (grouped(view.oversold_units)) " units promised too many" }
                    @else { (super::kit::share(Some(part))) " of products" }
                }
                (fresh("stock_levels"))
            }
        };
        (status.clone(), markup)
    };
    view.by_status.iter().map(tile).collect()
}

fn statuses(view: &Stock, params: &Params) -> Markup {
    let all = view.by_status.iter().map(|(_, number)| number).sum();
    let mut options = vec![(None, "All", Some(all))];
    for ((name, label), (_, number)) in STATUSES.iter().zip(&view.by_status) {
        options.push((Some(*name), *label, Some(*number)));
    }
    html! { div data-key="statuses" { (Choice { path: "/stock", params, name: "status", label: "State" }.links(&options)) } }
}

fn shown(view: &Stock) -> Markup {
    html! {
        span.shown data-key="shown" {
            @if view.items.len() < view.matching { (grouped(view.items.len() as i64)) " of " }
            (things(view.matching, "product"))
        }
    }
}

fn line(item: &StockItem) -> Markup {
    html! {
        tr data-key=(item.product_id) {
            th scope="row" {
                a href=(Params::default().with("product", Some(&item.product_id)).query("/recommendations")) { (item.product_name) }
                span.note { (item.category) }
            }
            td { (pill(&item.status, status_label(&item.status))) }
            td.n.strong { (count(item.available)) }
            td.n.wide { (count(item.on_hand)) }
            td.n.wide { (count(item.reserved)) }
            td.n.wide { (count(item.reorder_point)) }
            td.n.wide { (count(item.units_sold)) }
            td.cover { (cover(item)) }
            td.wide { (when(item.last_change, When::Ago)) }
        }
    }
}

fn cover(item: &StockItem) -> Markup {
    match item.hours_of_cover {
        _ if item.available <= 0 => html! { span.note { "nothing left" } },
        None => html! { span.note { "no sales" } },
        Some(hours) => {
            let text = if hours >= 48.0 { format!("{:.0} d", hours / 24.0) } else { format!("{hours:.1} h") };
            let kind = if hours < 2.0 { "urgent" } else { "cover" };
            html! { span.hours { (text) } (shapes::bar(hours / FULL_HOURS, kind)) }
        }
    }
}
