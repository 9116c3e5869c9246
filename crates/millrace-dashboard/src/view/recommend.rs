//! Recommendations: what goes with a product, by evidence, and what is in demand now.

use std::collections::HashMap;

use millrace_model::Timestamp;
use serde::Serialize;

use super::stock::matches;
use crate::cache::Cache;
use crate::row::{Read, Row};

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RecommendParams {
    /// The product to find companions of.
    pub(crate) product: Option<String>,
    /// Words in name, id or category, to pick a product by.
    pub(crate) search: Option<String>,
    /// Companions in each list.
    pub(crate) count: usize,
}

/// A product as the shop knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Product {
    /// Its id.
    pub(crate) product_id: String,
    /// Its name; the id when it has none.
    pub(crate) product_name: String,
    /// Its category.
    pub(crate) category: String,
    /// State of its stock; empty when unknown.
    pub(crate) status: String,
    /// It can be bought now, as far as is known.
    pub(crate) buyable: bool,
}

/// A product that goes with another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Companion {
    /// The other product.
    #[serde(flatten)]
    pub(crate) product: Product,
    /// Sessions or orders that hold both.
    pub(crate) evidence: i64,
    /// The last of them.
    pub(crate) last: Option<Timestamp>,
}

/// A product in demand.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Trend {
    /// The product.
    #[serde(flatten)]
    pub(crate) product: Product,
    /// Views in the window.
    pub(crate) views: i64,
    /// Cart adds in the window.
    pub(crate) cart_adds: i64,
    /// Units sold in the window.
    pub(crate) units: i64,
    /// Views + 3 per cart add + 10 per unit.
    pub(crate) score: i64,
}

/// The recommendations page.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Recommend {
    /// The product asked about, or the most wanted one.
    pub(crate) product: Option<Product>,
    /// Viewed in the same session.
    pub(crate) seen_together: Vec<Companion>,
    /// Bought in the same order.
    pub(crate) bought_together: Vec<Companion>,
    /// In demand over the last half hour.
    pub(crate) trending: Vec<Trend>,
    /// Products that match the search, or the most wanted ones.
    pub(crate) choice: Vec<Product>,
}

/// Names and stock of all products.
struct Catalogue<'a>(HashMap<&'a str, &'a Row>);

impl<'a> Catalogue<'a> {
    fn of(cache: &'a Cache) -> Self {
        Catalogue(cache.rows("stock_levels").map(|row| (row.text("product_id"), row)).collect())
    }

    fn product(&self, id: &str) -> Product {
        let row = self.0.get(id);
        let text = |column: &str| row.map_or("", |row| row.text(column));
        let name = text("product_name");
        Product {
            product_id: id.to_owned(),
            product_name: if name.is_empty() { id } else { name }.to_owned(),
            category: text("category").to_owned(),
            status: text("status").to_owned(),
            buyable: !matches!(text("status"), "oversold" | "out_of_stock"),
        }
    }
}

/// The product a request is about: the one it names, else the most wanted.
pub(crate) fn chosen(cache: &Cache, params: &RecommendParams) -> Option<String> {
    let most_wanted = || trending_rows(cache).first().map(|row| row.text("product_id").to_owned());
    let any = || cache.rows("stock_levels").map(|row| row.text("product_id").to_owned()).min();
    params.product.clone().or_else(most_wanted).or_else(any)
}

/// Computes the page. `seen` and `bought` are the store's pairs of the chosen product; newer ones of the cache win.
pub(crate) fn recommend(cache: &Cache, params: &RecommendParams, seen: Vec<Row>, bought: Vec<Row>) -> Recommend {
    let catalogue = Catalogue::of(cache);
    let product = chosen(cache, params);
    let companions = |table: &str, stored: Vec<Row>, count: &str, last: &str| {
        let Some(product) = &product else { return Vec::new() };
        let mut pairs: HashMap<String, (i64, Option<Timestamp>)> = HashMap::new();
        let live = cache.rows(table).filter(|row| row.text("product_id") == product);
        for row in stored.iter().chain(live) {
            let pair = pairs.entry(row.text("other_id").to_owned()).or_default();
            // Running counts only grow: the larger is the newer.
            *pair = (pair.0.max(row.int(count)), pair.1.max(row.time(last)));
        }
        let mut companions: Vec<Companion> = pairs
            .into_iter()
            .map(|(id, (evidence, last))| Companion { product: catalogue.product(&id), evidence, last })
            .collect();
        companions.sort_by(|a, b| {
            let by_evidence = b.evidence.cmp(&a.evidence);
            by_evidence.then_with(|| b.last.cmp(&a.last)).then_with(|| a.product.product_id.cmp(&b.product.product_id))
        });
        companions.truncate(params.count);
        companions
    };
    let trending = trending_rows(cache);
    Recommend {
        seen_together: companions("seen_together", seen, "sessions", "last_session"),
        bought_together: companions("bought_together", bought, "orders", "last_order"),
        choice: choice(cache, &catalogue, params.search.as_deref(), &trending),
        trending: trending.into_iter().take(params.count).map(|row| trend(&catalogue, row)).collect(),
        product: product.map(|id| catalogue.product(&id)),
    }
}

/// Products offered to pick from.
const CHOICE_MAX: usize = 12;

fn choice(cache: &Cache, catalogue: &Catalogue<'_>, search: Option<&str>, trending: &[&Row]) -> Vec<Product> {
    match search {
        None => trending.iter().take(CHOICE_MAX).map(|row| catalogue.product(row.text("product_id"))).collect(),
        Some(search) => {
            let found =
                |row: &&Row| matches(search, [row.text("product_name"), row.text("product_id"), row.text("category")]);
            let mut ids: Vec<&str> =
                cache.rows("stock_levels").filter(found).map(|row| row.text("product_id")).collect();
            ids.sort_unstable();
            ids.into_iter().take(CHOICE_MAX).map(|id| catalogue.product(id)).collect()
        }
    }
}

/// Rows of the open window that ends soonest, highest score first.
fn trending_rows(cache: &Cache) -> Vec<&Row> {
    let clock = cache.clock("trending");
    let soonest = cache.windows("trending").map(|(_, end, _)| end).filter(|end| *end > clock).min();
    let of_soonest = cache.windows("trending").filter(|(_, end, _)| Some(*end) == soonest);
    let mut rows: Vec<&Row> = of_soonest.map(|(_, _, row)| row).collect();
    rows.sort_by(|a, b| {
        b.int("score").cmp(&a.int("score")).then_with(|| a.text("product_id").cmp(b.text("product_id")))
    });
    rows
}

fn trend(catalogue: &Catalogue<'_>, row: &Row) -> Trend {
    let mut product = catalogue.product(row.text("product_id"));
    if product.category.is_empty() {
        product.category = row.text("category").to_owned();
    }
    Trend {
        product,
        views: row.int("views"),
        cart_adds: row.int("cart_adds"),
        units: row.int("units"),
        score: row.int("score"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use serde_json::json;

    #[test]
    fn companions_by_evidence_with_their_stock() {
        let pair = |other: &str, orders: i64| json!({"product_id": "a", "other_id": other, "orders": orders, "last_order": at(5)});
        let level =
            |id: &str, status: &str| json!({"product_id": id, "product_name": format!("Lamp {id}"), "status": status});
        let trend = |id: &str, start: i64, score: i64| json!({"product_id": id, "window_start": at(start), "window_end": at(start + 1800), "score": score});
        let cache = cache_of(vec![
            ("bought_together", json_rows(vec![pair("b", 7)])),
            ("stock_levels", json_rows(vec![level("b", "in_stock"), level("c", "out_of_stock")])),
            (
                "trending",
                json_rows(vec![trend("old", 0, 99), trend("b", 300, 9), trend("a", 300, 30), trend("b", 1800, 50)]),
            ),
        ]);
        let params = RecommendParams { count: 5, ..RecommendParams::default() };
        assert_eq!(chosen(&cache, &params).as_deref(), Some("a"));
        let page = recommend(&cache, &params, vec![], json_rows(vec![pair("b", 3), pair("c", 4)]));
        let bought: Vec<_> = page
            .bought_together
            .iter()
            .map(|c| (c.product.product_name.as_str(), c.evidence, c.product.buyable))
            .collect();
        assert_eq!(bought, [("Lamp b", 7, true), ("Lamp c", 4, false)]);
        // The window from 0 was over when the one from 1800 s began.
        assert_eq!(page.trending.iter().map(|t| t.score).collect::<Vec<_>>(), [30, 9]);
    }
}
