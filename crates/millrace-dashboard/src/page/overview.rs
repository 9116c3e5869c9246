//! The overview page: tiles, revenue, pulse, funnel, categories, newest signals.

use maud::{Markup, html};

use super::kit::{Choice, Panel, When};
use super::kit::{chart, chart_tools, count, csv, delta, empty, fresh, list, money, num, share, state, when};
use super::layout::Body;
use super::{Sections, fraud, shapes};
use crate::params::Params;
use crate::section::Section;
use crate::view::Unit;
use crate::view::fraud::SignalGroup;
use crate::view::overview::{Category, FunnelStep, Kpi, Overview, OverviewParams, Range, Total};

/// Signals shown here; the fraud page has all.
const SIGNALS_MAX: usize = 7;
/// Categories shown here; the CSV has all.
const CATEGORIES_MAX: usize = 8;

/// Reads the query.
pub(crate) fn params(params: &Params) -> OverviewParams {
    OverviewParams { store: params.owned("store"), range: params.range(Range::default()) }
}

/// The live sections.
pub(super) fn sections(view: &Overview, signals: &[SignalGroup]) -> Vec<Section> {
    let currency = &view.currency;
    let funnel = view.funnel.iter().filter(|_| view.as_of.is_some());
    vec![
        Section::one("as_of", as_of(view)),
        Section::html("kpis", view.kpis.iter().map(|kpi| (kpi.name.to_owned(), tile(kpi)))),
        Section::one("total", total(&view.total, currency, view.range, !view.revenue.rows.is_empty())),
        Section::series("revenue", &view.revenue),
        Section::series("pulse", &view.pulse),
        Section::html("funnel", funnel.map(|step| (step.name.to_owned(), funnel_step(step)))),
        Section::html("categories", categories(&view.categories, currency)),
        Section::html("signals", signals.iter().take(SIGNALS_MAX).map(|group| (group.id.clone(), fraud::line(group)))),
    ]
}

/// The page around them.
pub(super) fn body(view: &Overview, sections: &Sections, params: &Params) -> Body {
    let controls = html! { (stores(view, params)) (ranges(params)) };
    let range = view.range.words();
    let by_window = if view.range.slides() { "each 5-minute window, a minute apart" } else { "each 5-minute window" };
    let content = html! {
        (list("div", "as-of", "as_of", sections))
        (list("ul", "kpis", "kpis", sections))
        div.grid {
            (Panel {
                id: "revenue", title: "Revenue and orders", tables: "store_metrics",
                note: html! { (by_window) ", last " (range) ", and in grey" span.key data-mark="before" {} "the " (range) " before" },
                tools: html! { (chart_tools("revenue", true)) (csv("store_metrics")) },
            }.around(html! {
                (list("div", "total", "total", sections))
                (chart("revenue", "Revenue and orders by window", "tall", sections))
            }))
            (Panel {
                id: "pulse", title: "Pulse", tables: "vitals", note: html! { "by second, last 2½ minutes" },
                tools: chart_tools("pulse", false),
            }.around(chart("pulse", "Events, revenue, orders and declines by second", "pulse", sections)))
            (Panel {
                id: "funnel", title: "Funnel", tables: "store_metrics", note: html! { "last " (range) },
                tools: html! {},
            }.around(html! {
                (list("ol", "funnel", "funnel", sections))
                (waiting())
            }))
            (Panel {
                id: "categories", title: "Categories", tables: "category_metrics",
                note: html! { "last " (range) @if view.stores.len() > 1 { ", all stores" } },
                tools: csv("category_metrics"),
            }.around(html! {
                div.scroll tabindex="0" role="region" aria-label="Categories" {
                    table.lines {
                        thead { tr {
                            th scope="col" { "Category" } th.n scope="col" { "Revenue" }
                            th.n.wide scope="col" { "Units" } th.n.wide scope="col" { "Views" }
                            th.n scope="col" { "Change" }
                        } }
                        (list("tbody", "", "categories", sections))
                    }
                }
                (waiting())
            }))
            (Panel {
                id: "signals", title: "Newest fraud signals", tables: "fraud_signals",
                note: html! { "grouped by rule and whom it is about" },
                tools: html! { a.tool href="/fraud" { "All" } },
            }.around(html! {
                (list("ul", "signal-lines", "signals", sections))
                (empty("No signals", "A signal shows here within a second of the payment that completes it."))
            }))
        }
    };
    Body { controls, content }
}

fn waiting() -> Markup {
    empty("Waiting for the first window…", "Figures appear as soon as the shop's first events are counted.")
}

fn as_of(view: &Overview) -> Markup {
    html! {
        p data-key="as_of" data-as-of=[view.as_of.map(|time| time.to_string())] {
            @match view.as_of {
                Some(time) => { "Event time " (when(Some(time), When::Clock)) },
                None => { strong { "Waiting for the first window…" } " Figures appear as soon as the first events are counted." },
            }
        }
    }
}

fn tile(kpi: &Kpi) -> Markup {
    html! {
        li.kpi data-key=(kpi.name) {
            h2 { (kpi.label) }
            @if kpi.value.is_some() { (state(kpi.state)) }
            div.value data-tween { (num(kpi.value, &kpi.unit)) }
            (shapes::spark(&kpi.spark))
            div.foot { (delta(kpi.change, kpi.up_is_good, kpi.against)) }
            (fresh(kpi.table))
        }
    }
}

fn total(total: &Total, currency: &str, range: Range, has_windows: bool) -> Markup {
    let against = format!("the {} before", range.words());
    html! {
        dl.totals data-key="total" {
            div { dt { span.key data-mark="revenue" {} "Revenue" }
                dd { @if has_windows { span data-tween { (money(total.gross_minor, currency)) } } @else { (num(None, &Unit::Count)) } (delta(total.gross_change, Some(true), &against)) } }
            div { dt { span.key data-mark="orders" {} "Orders" }
                dd { @if has_windows { span data-tween { (count(total.orders)) } } @else { (num(None, &Unit::Count)) } (delta(total.orders_change, Some(true), &against)) } }
        }
    }
}

fn funnel_step(step: &FunnelStep) -> Markup {
    html! {
        li data-key=(step.name) {
            span.label { (step.label) }
            span.count data-tween { (count(step.count)) }
            (shapes::bar(step.of_first.unwrap_or(0.0), "funnel"))
            span.of {
                @if let Some(of_previous) = step.of_previous {
                    (share(Some(of_previous))) span.against { " of step before" }
                    @if let Some(before) = step.of_previous_before { span.before title="in the period before" { " (" (share(Some(before))) ")" } }
                } @else { span.against { "start" } }
            }
        }
    }
}

fn categories(all: &[Category], currency: &str) -> Vec<(String, Markup)> {
    let largest = all.first().map_or(0, |category| category.gross_minor).max(1);
    let shown = all.iter().take(CATEGORIES_MAX);
    shown.map(|category| (category.category.clone(), category_line(category, largest, currency))).collect()
}

fn category_line(category: &Category, largest: i64, currency: &str) -> Markup {
    let unit = Unit::money(currency);
    html! {
        tr data-key=(category.category) {
            th scope="row" {
                (category.category)
                (shapes::bar(category.gross_minor as f64 / largest as f64, "revenue"))
            }
            td.n { (num(Some(category.gross_minor as f64), &unit)) }
            td.n.wide { (count(category.units)) }
            td.n.wide { (count(category.product_views)) }
            td.n { (delta(category.change, Some(true), "the period before")) }
        }
    }
}

fn ranges(params: &Params) -> Markup {
    let usual = Range::default();
    let options: Vec<(Option<&str>, &str, Option<usize>)> =
        Range::ALL.iter().map(|range| ((*range != usual).then_some(range.name()), range.name(), None)).collect();
    Choice { path: "/", params, name: "range", label: "Range" }.links(&options)
}

fn stores(view: &Overview, params: &Params) -> Markup {
    if view.stores.len() < 2 {
        return html! {};
    }
    html! {
        form.store action="/" method="get" data-swap {
            @if let Some(range) = params.get("range") { input type="hidden" name="range" value=(range); }
            label.vh for="store" { "Store" }
            select id="store" name="store" {
                @if !view.mixed_currencies {
                    option value="" selected[view.store.is_none()] { "All stores" }
                }
                @for store in &view.stores {
                    option value=(store) selected[view.store.as_ref() == Some(store)] { (store) }
                }
            }
            noscript { button.tool { "Show" } }
        }
    }
}
