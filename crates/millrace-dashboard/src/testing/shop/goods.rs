//! Stock, demand and companions of the moving shop.

use serde_json::{Map, Value, json};

use super::{CATEGORIES, at, batch, hash, row};
use crate::LiveBatch;

/// Products: name, category.
pub(super) const PRODUCTS: [(&str, usize); 36] = [
    ("Reading lamp, \"Nook\" <brass & steel>", 0),
    ("Arc floor lamp", 0),
    ("Brass pendant", 0),
    ("Clip-on reading light", 0),
    ("Paper lantern, large", 0),
    ("Dimmable desk lamp", 0),
    ("Shell chair, oak", 1),
    ("Shell chair, black", 1),
    ("Folding chair", 1),
    ("Lounge chair and footstool with a very long name", 1),
    ("Bar stool", 1),
    ("Enamel pot 4 l", 2),
    ("Chef's knife 20 cm", 2),
    ("Cutting board, walnut", 2),
    ("Espresso cups, set of 4", 2),
    ("Carafe", 2),
    ("Kettle", 2),
    ("Wool throw", 3),
    ("Linen bedding", 3),
    ("Tea towels, set of 3", 3),
    ("Bath mat", 3),
    ("Standing desk 160", 4),
    ("Writing desk", 4),
    ("Monitor riser", 4),
    ("Wall shelf 80", 5),
    ("Storage box, felt", 5),
    ("Coat rack", 5),
    ("Sideboard", 5),
    ("Garden table", 6),
    ("Hammock", 6),
    ("Fire bowl", 6),
    ("Parasol", 6),
    ("Gift card 25", 7),
    ("Gift card 50", 7),
    ("Gift card 100", 7),
    ("Gift card 200", 7),
];

pub(super) fn product_id(at: usize) -> String {
    format!("p-{}", 1_000 + at)
}

/// What is on the shelves.
pub(super) struct Stock {
    on_hand: Vec<i64>,
    reserved: Vec<i64>,
}

impl Stock {
    pub(super) fn new() -> Self {
        let on_hand = (0..PRODUCTS.len()).map(|at| match at % 12 {
            5 => 2,
            7 => 0,
            9 => 6,
            _ => 20 + (hash(81, at as i64) % 180) as i64,
        });
        let reserved = (0..PRODUCTS.len()).map(|at| if at % 12 == 5 { 5 } else { (hash(82, at as i64) % 3) as i64 });
        let mut stock = Stock { on_hand: on_hand.collect(), reserved: reserved.collect() };
        stock.reserved[7] = 0;
        stock.reserved[19] = 0;
        stock.reserved[31] = 0;
        stock
    }

    pub(super) fn history(&self, second: i64) -> Vec<LiveBatch> {
        let levels = (0..PRODUCTS.len()).map(|at| self.level(at, second - (hash(83, at as i64) % 5_000) as i64));
        let mut batches = vec![batch("stock_levels", levels.collect())];
        batches.push(batch("stock_cover", (0..PRODUCTS.len()).flat_map(|at| self.cover(at, second)).collect()));
        let windows = || (0..6).map(|back| second / 300 * 300 - back * 300);
        let trends = windows().flat_map(|start| (0..PRODUCTS.len()).map(move |at| trend(at, start, second)));
        batches.push(batch("trending", trends.collect()));
        batches.push(batch("seen_together", pairs(second, 3, 9, "sessions", "last_session")));
        batches.push(batch("bought_together", pairs(second, 7, 6, "orders", "last_order")));
        batches
    }

    pub(super) fn tick(&mut self, second: i64, tick: u64) -> Vec<LiveBatch> {
        let moved = (hash(84, tick.cast_signed()) % PRODUCTS.len() as u64) as usize;
        match hash(85, tick.cast_signed()) % 5 {
            0 if self.on_hand[moved] < 15 => self.on_hand[moved] += 40,
            1 | 2 => self.reserved[moved] += 1,
            _ if self.reserved[moved] > 0 && self.on_hand[moved] > 0 => {
                self.reserved[moved] -= 1;
                self.on_hand[moved] -= 1;
            }
            _ => {}
        }
        let mut batches = vec![batch("stock_levels", vec![self.level(moved, second)])];
        if tick.is_multiple_of(5) {
            batches.push(batch("stock_cover", self.cover(moved, second)));
            let start = second / 300 * 300;
            let trends = (0..6).map(|back| trend(moved, start - back * 300, second));
            batches.push(batch("trending", trends.collect()));
            batches.push(batch("bought_together", pairs(second, 7, 1, "orders", "last_order")));
        }
        batches
    }

    fn level(&self, at_product: usize, changed: i64) -> Map<String, Value> {
        let (name, category) = PRODUCTS[at_product];
        let available = self.on_hand[at_product] - self.reserved[at_product];
        let reorder = 12;
        let status = match available {
            ..0 => "oversold",
            0 => "out_of_stock",
            left if left <= reorder => "low",
            _ => "in_stock",
        };
        row(json!({
            "product_id": product_id(at_product), "product_name": name, "category": CATEGORIES[category].0,
            "on_hand": self.on_hand[at_product], "reserved": self.reserved[at_product], "available": available,
            "reorder_point": reorder, "status": status, "adjustments": 0, "last_change": at(changed),
        }))
    }

    fn cover(&self, at_product: usize, second: i64) -> Vec<Map<String, Value>> {
        let available = self.on_hand[at_product] - self.reserved[at_product];
        let sold = (hash(86, at_product as i64) % 14) as i64;
        (0..12)
            .map(|back| {
                let start = second / 300 * 300 - back * 300;
                let sold = sold * (back + 1) / 12;
                row(json!({
                    "window_start": at(start), "window_end": at(start + 3_600), "product_id": product_id(at_product),
                    "category": CATEGORIES[PRODUCTS[at_product].1].0, "units_sold": sold, "available": available,
                    "hours_of_cover": (sold > 0).then(|| (available as f64 / sold as f64 * 10.0).round() / 10.0),
                }))
            })
            .collect()
    }
}

fn trend(at_product: usize, start: i64, second: i64) -> Map<String, Value> {
    let weight = (hash(87, at_product as i64) % 100 + 10) as i64;
    let elapsed = (second - start).clamp(0, 1_800);
    let views = weight * elapsed / 1_200;
    let (adds, units) = (views / 6, views / 19);
    row(json!({
        "window_start": at(start), "window_end": at(start + 1_800), "product_id": product_id(at_product),
        "category": CATEGORIES[PRODUCTS[at_product].1].0, "views": views, "cart_adds": adds, "units": units,
        "score": views + 3 * adds + 10 * units,
    }))
}

fn pairs(second: i64, salt: u64, each: usize, count: &str, last: &str) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for product in 0..PRODUCTS.len() {
        for nth in 0..each {
            let other = (product + 1 + (hash(salt + nth as u64, product as i64) % 34) as usize) % PRODUCTS.len();
            if other != product {
                let evidence =
                    (hash(salt + 90, (product * 100 + other) as i64) % 80) as i64 + 2 + second % 100_000 / 3_000;
                rows.push(row(json!({
                    "product_id": product_id(product), "other_id": product_id(other), count: evidence,
                    last: at(second - (hash(salt, other as i64) % 9_000) as i64),
                })));
            }
        }
    }
    rows
}
