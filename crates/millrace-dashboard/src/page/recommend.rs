//! The recommendations page: companions of a product, with their evidence, and what is in demand.

use maud::{Markup, html};

use super::kit::{Panel, When, count, csv, empty, list, pill, search, when};
use super::layout::Body;
use super::{Sections, shapes};
use crate::params::Params;
use crate::section::Section;
use crate::view::recommend::{Companion, Product, Recommend, RecommendParams, Trend};
use crate::view::stock::status_label;

/// Reads the query.
pub(crate) fn params(params: &Params, usual_count: usize) -> RecommendParams {
    RecommendParams {
        product: params.owned("product"),
        search: params.owned("q"),
        count: params.count("count", usual_count, 100),
    }
}

/// The live sections.
pub(super) fn sections(view: &Recommend, params: &Params) -> Vec<Section> {
    let id = |product: &Product| product.product_id.clone();
    let companions = |name, companions: &[Companion], unit: &str| {
        let most = companions.first().map_or(1, |companion| companion.evidence);
        Section::html(name, companions.iter().map(|c| (id(&c.product), companion(c, most, unit))).collect::<Vec<_>>())
    };
    let most = view.trending.first().map_or(1, |trend| trend.score);
    vec![
        Section::one("product", product(view.product.as_ref())),
        Section::html("choice", view.choice.iter().map(|p| (id(p), choice(p, view.product.as_ref(), params)))),
        companions("bought_together", &view.bought_together, "orders"),
        companions("seen_together", &view.seen_together, "sessions"),
        Section::html("trending", view.trending.iter().map(|t| (id(&t.product), trend(t, most)))),
    ]
}

/// The page around them.
pub(super) fn body(sections: &Sections, params: &Params) -> Body {
    let controls = search("/recommendations", params, "Search products", &["product"]);
    let nothing = |what: &str| {
        empty("Nothing yet", &format!("Products {what} appear as orders and closed sessions are counted."))
    };
    let content = html! {
        div.grid.recommend {
            (Panel {
                id: "pick", title: if params.get("q").is_some() { "Found" } else { "Most wanted" },
                tables: "stock_levels", note: html! { "choose a product" }, tools: html! {},
            }.around(html! {
                (list("ul", "choices", "choice", sections))
                (empty("No such product", "Search by name, id or category."))
            }))
            div.companions {
                (list("div", "product", "product", sections))
                div.pair {
                    (Panel {
                        id: "bought", title: "Bought together", tables: "bought_together",
                        note: html! { "orders that hold both" }, tools: csv("bought_together"),
                    }.around(html! {
                        (list("ol", "companion-list", "bought_together", sections))
                        (nothing("bought in the same order"))
                    }))
                    (Panel {
                        id: "seen", title: "Seen together", tables: "seen_together",
                        note: html! { "sessions that viewed both" }, tools: csv("seen_together"),
                    }.around(html! {
                        (list("ol", "companion-list", "seen_together", sections))
                        (nothing("viewed in the same session"))
                    }))
                }
            }
            (Panel {
                id: "trending", title: "Trending", tables: "trending",
                note: html! { "last 30 min: views + 3 × adds + 10 × sold" }, tools: csv("trending"),
            }.around(html! {
                (list("ol", "trends", "trending", sections))
                (empty("Waiting for the first window…", "Demand shows with the first products viewed."))
            }))
        }
    };
    Body { controls, content }
}

fn product(product: Option<&Product>) -> Markup {
    html! {
        div.chosen data-key="product" {
            @match product {
                None => (empty("No product chosen", "Pick one from the list or search for it.")),
                Some(product) => {
                    p.note { "Goes with" }
                    h2 { (product.product_name) }
                    p { (product.category) " · " code { (product.product_id) } " " (stock(product)) }
                },
            }
        }
    }
}

fn stock(product: &Product) -> Markup {
    html! { @if !product.status.is_empty() { (pill(&product.status, status_label(&product.status))) } }
}

fn choice(product: &Product, chosen: Option<&Product>, params: &Params) -> Markup {
    let link = params.with("product", Some(&product.product_id)).query("/recommendations");
    let current = chosen.is_some_and(|chosen| chosen.product_id == product.product_id);
    html! {
        li data-key=(product.product_id) data-buyable=(product.buyable) {
            a href=(link) data-swap aria-current=[current.then_some("true")] {
                span.name { (product.product_name) } span.note { (product.category) }
                @if !product.buyable { (stock(product)) }
            }
        }
    }
}

fn companion(companion: &Companion, most: i64, unit: &str) -> Markup {
    let product = &companion.product;
    let link = Params::default().with("product", Some(&product.product_id)).query("/recommendations");
    html! {
        li data-key=(product.product_id) data-buyable=(product.buyable) {
            span.name {
                a href=(link) data-swap { (product.product_name) }
                @if !product.buyable { (stock(product)) }
            }
            (shapes::bar(companion.evidence as f64 / most.max(1) as f64, "evidence"))
            span.evidence-count { (count(companion.evidence)) " " (if companion.evidence == 1 { unit.trim_end_matches('s') } else { unit }) }
            span.note { (product.category) @if companion.last.is_some() { ", last " (when(companion.last, When::Ago)) } }
        }
    }
}

fn trend(trend: &Trend, most: i64) -> Markup {
    let product = &trend.product;
    let link = Params::default().with("product", Some(&product.product_id)).query("/recommendations");
    html! {
        li data-key=(product.product_id) data-buyable=(product.buyable) {
            span.name {
                a href=(link) data-swap { (product.product_name) }
                @if !product.buyable { (stock(product)) }
            }
            (shapes::bar(trend.score as f64 / most.max(1) as f64, "trend"))
            span.evidence-count data-tween { (count(trend.score)) }
            span.note { (count(trend.views)) " views · " (count(trend.cart_adds)) " adds · " (count(trend.units)) " sold" }
        }
    }
}
