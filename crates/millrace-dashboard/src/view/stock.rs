//! Stock: what is oversold, gone or going, most urgent first, and how long the rest lasts.

use std::cmp::Ordering;
use std::collections::HashMap;

use millrace_model::Timestamp;
use serde::Serialize;

use crate::cache::Cache;
use crate::row::{Read, Row};

/// States of a product's stock, most urgent first: name, label.
pub(crate) const STATUSES: [(&str, &str); 4] =
    [("oversold", "Oversold"), ("out_of_stock", "Out of stock"), ("low", "Low"), ("in_stock", "In stock")];

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct StockParams {
    /// Only this state.
    pub(crate) status: Option<String>,
    /// Words in name, id or category.
    pub(crate) search: Option<String>,
    /// Longest list.
    pub(crate) limit: usize,
}

/// One product.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct StockItem {
    /// Its id.
    pub(crate) product_id: String,
    /// Its name; the id when it has none.
    pub(crate) product_name: String,
    /// Its category.
    pub(crate) category: String,
    /// `oversold`, `out_of_stock`, `low` or `in_stock`.
    pub(crate) status: String,
    /// Units on the shelf.
    pub(crate) on_hand: i64,
    /// Units promised to orders.
    pub(crate) reserved: i64,
    /// Units left to sell; negative when more was promised than there is.
    pub(crate) available: i64,
    /// Reorder at this level.
    pub(crate) reorder_point: i64,
    /// Hours the available stock lasts at the speed of the last hour. None: nothing sold in it.
    pub(crate) hours_of_cover: Option<f64>,
    /// Units sold in the last hour.
    pub(crate) units_sold: i64,
    /// Last movement.
    pub(crate) last_change: Option<Timestamp>,
}

/// The stock page.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Stock {
    /// Products, most urgent first.
    pub(crate) items: Vec<StockItem>,
    /// Products that match, beyond the limit too.
    pub(crate) matching: usize,
    /// Products by state, over all.
    pub(crate) by_status: Vec<(String, usize)>,
    /// Units promised beyond what there is, over all products.
    pub(crate) oversold_units: i64,
}

/// Computes the stock page.
pub(crate) fn stock(cache: &Cache, params: &StockParams) -> Stock {
    // A window that was over before the newest began says nothing of the speed now.
    let newest = cache.clock("stock_cover");
    let recent = cache.windows("stock_cover").filter(|(_, end, _)| *end > newest);
    let cover: HashMap<&str, &Row> = recent.map(|(_, _, row)| (row.text("product_id"), row)).collect();
    let mut items: Vec<StockItem> =
        cache.rows("stock_levels").map(|row| item(row, cover.get(row.text("product_id")).copied())).collect();
    let by_status = STATUSES
        .iter()
        .map(|(name, _)| ((*name).to_owned(), items.iter().filter(|item| item.status == *name).count()))
        .collect();
    let oversold_units = items.iter().map(|item| (-item.available).max(0)).sum();
    if let Some(status) = &params.status {
        items.retain(|item| item.status == *status);
    }
    if let Some(search) = &params.search {
        items.retain(|item| matches(search, [&item.product_name, &item.product_id, &item.category]));
    }
    items.sort_by(urgency);
    let matching = items.len();
    items.truncate(params.limit);
    Stock { items, matching, by_status, oversold_units }
}

fn item(row: &Row, cover: Option<&Row>) -> StockItem {
    let id = row.text("product_id");
    let name = row.text("product_name");
    let available = row.int("available");
    let units_sold = cover.map_or(0, |cover| cover.int("units_sold"));
    StockItem {
        product_id: id.to_owned(),
        product_name: if name.is_empty() { id } else { name }.to_owned(),
        category: row.text("category").to_owned(),
        status: row.text("status").to_owned(),
        on_hand: row.int("on_hand"),
        reserved: row.int("reserved"),
        available,
        reorder_point: row.int("reorder_point"),
        // The level is newer than the cover's own count of it.
        hours_of_cover: (units_sold > 0).then(|| (available.max(0) as f64 / units_sold as f64 * 10.0).round() / 10.0),
        units_sold,
        last_change: row.time("last_change"),
    }
}

fn urgency(a: &StockItem, b: &StockItem) -> Ordering {
    let rank = |item: &StockItem| STATUSES.iter().position(|(name, _)| *name == item.status).unwrap_or(STATUSES.len());
    // At the same state: what sells out sooner; then what nobody buys, fewest first.
    let hours = |item: &StockItem| item.hours_of_cover.unwrap_or(f64::INFINITY);
    rank(a)
        .cmp(&rank(b))
        .then_with(|| a.available.min(0).cmp(&b.available.min(0)))
        .then_with(|| hours(a).total_cmp(&hours(b)))
        .then_with(|| a.available.cmp(&b.available))
        .then_with(|| a.product_id.cmp(&b.product_id))
}

/// Whether every word of the search is in one of the texts, whatever its case.
pub(crate) fn matches(search: &str, texts: [&str; 3]) -> bool {
    let texts = texts.map(str::to_lowercase);
    search.to_lowercase().split_whitespace().all(|word| texts.iter().any(|text| text.contains(word)))
}

/// The label of a state.
pub(crate) fn status_label(status: &str) -> &str {
    STATUSES.iter().find(|(name, _)| *name == status).map_or(status, |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use serde_json::json;

    fn level(id: &str, status: &str, available: i64) -> serde_json::Value {
        json!({"product_id": id, "product_name": format!("Product {id}"), "category": "lamps", "on_hand": available,
               "reserved": 0, "available": available, "reorder_point": 5, "status": status, "last_change": at(7200)})
    }

    fn cover(id: &str, start_minute: i64, sold: i64) -> serde_json::Value {
        json!({"product_id": id, "window_start": at(start_minute * 60), "window_end": at(start_minute * 60 + 3600),
               "units_sold": sold, "hours_of_cover": 1.0})
    }

    #[test]
    fn most_urgent_first() {
        let levels = vec![
            level("calm", "in_stock", 90),
            level("rushed", "in_stock", 30),
            level("low", "low", 4),
            level("gone", "out_of_stock", 0),
            level("worse", "oversold", -4),
            level("bad", "oversold", -1),
        ];
        let covers = vec![cover("rushed", 65, 60), cover("calm", 0, 10), cover("low", 120, 0)];
        let cache = cache_of(vec![("stock_levels", json_rows(levels)), ("stock_cover", json_rows(covers))]);
        let page = stock(&cache, &StockParams { limit: 10, ..StockParams::default() });
        let ids: Vec<_> = page.items.iter().map(|item| item.product_id.as_str()).collect();
        assert_eq!(ids, ["worse", "bad", "gone", "low", "rushed", "calm"]);
        assert_eq!((page.items[4].hours_of_cover, page.items[5].hours_of_cover), (Some(0.5), None));
        assert_eq!(page.oversold_units, 5);
        assert_eq!(page.by_status[0], ("oversold".to_owned(), 2));
        let found = stock(&cache, &StockParams { search: Some("LAMPS rush".into()), limit: 10, status: None });
        assert_eq!(found.items.len(), 1);
    }
}
