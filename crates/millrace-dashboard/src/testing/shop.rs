//! A shop that moves: rows of every result table as functions of the time, the same on every run.
//!
//! What happens in a second is drawn from a hash of store and second, so any window can be added up at any time and
//! windows that overlap agree with each other.

mod goods;
mod people;

use millrace_model::Timestamp;
use serde_json::{Map, Value, json};

use crate::LiveBatch;

const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// Seconds a window is corrected after its end.
const LATENESS_SECONDS: i64 = 10;

/// The stores, with their share of the trade.
const STORES: [(&str, f64); 2] = [("berlin", 1.0), ("vienna", 0.45)];
const CURRENCY: &str = "EUR";
/// Categories, with their share of views and the usual price in cents.
const CATEGORIES: [(&str, f64, i64); 8] = [
    ("Lighting", 0.22, 8_900),
    ("Chairs", 0.19, 15_900),
    ("Kitchen", 0.16, 3_400),
    ("Textiles", 0.13, 4_900),
    ("Desks", 0.10, 34_900),
    ("Storage", 0.09, 11_900),
    ("Outdoor", 0.07, 21_900),
    ("Gift cards", 0.04, 5_000),
];

/// What happened in some seconds.
#[derive(Clone, Copy, Default)]
struct Counts {
    page_views: i64,
    searches: i64,
    product_views: i64,
    cart_adds: i64,
    checkouts: i64,
    orders: i64,
    declined: i64,
    refunds: i64,
    gross: i64,
    refunded: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.page_views += other.page_views;
        self.searches += other.searches;
        self.product_views += other.product_views;
        self.cart_adds += other.cart_adds;
        self.checkouts += other.checkouts;
        self.orders += other.orders;
        self.declined += other.declined;
        self.refunds += other.refunds;
        self.gross += other.gross;
        self.refunded += other.refunded;
    }
}

impl Counts {
    fn events(&self) -> i64 {
        self.page_views
            + self.searches
            + self.product_views
            + self.cart_adds
            + self.checkouts
            + self.orders
            + self.declined
    }
}

/// The moving shop.
pub struct Shop {
    /// Sums since midnight by store: up to which second, and how much.
    today: Vec<(i64, Counts)>,
    stock: goods::Stock,
    tick: u64,
}

impl Default for Shop {
    fn default() -> Self {
        Shop::new()
    }
}

impl Shop {
    /// A shop that has not been looked at yet.
    pub fn new() -> Self {
        Shop { today: vec![(0, Counts::default()); STORES.len()], stock: goods::Stock::new(), tick: 0 }
    }

    /// What the store would hold at `now`, with windows of the last `hours`.
    pub fn history(&mut self, now: Timestamp, hours: i64) -> Vec<LiveBatch> {
        let second = now.0 / SECOND;
        let minute = second / 60;
        let mut windows = Vec::new();
        let mut categories = Vec::new();
        for (store, _) in STORES.iter().enumerate() {
            let minutes: Vec<Counts> =
                (minute - hours * 60..=minute + 1).map(|m| counts(store, m * 60, ((m + 1) * 60).min(second))).collect();
            for (at, five) in minutes.windows(5).enumerate() {
                let mut sum = Counts::default();
                five.iter().for_each(|counts| sum += *counts);
                windows.push(store_row((minute - hours * 60 + at as i64) * 60, store, &sum));
            }
        }
        for start in (minute - hours * 60..=minute).filter(|minute| minute % 5 == 0) {
            categories.extend(category_rows(start * 60, second));
        }
        let mut batches = vec![batch("store_metrics", windows), batch("category_metrics", categories)];
        batches.push(batch("vitals", (second - 1_200..second).flat_map(vitals_rows).collect()));
        batches.push(batch("ledger", (minute - 90..=minute).flat_map(|minute| ledger_rows(minute, second)).collect()));
        batches.extend(people::history(second));
        batches.extend(self.stock.history(second));
        batches.extend(self.daily(second));
        batches.extend(self.progress(now));
        batches
    }

    /// The rows that change at `now`, as the command's tail would bring them: call it a few times a second.
    pub fn tick(&mut self, now: Timestamp) -> Vec<LiveBatch> {
        let second = now.0 / SECOND;
        self.tick += 1;
        let mut batches = vec![batch("vitals", (second - 3..=second).flat_map(vitals_rows).collect())];
        let minute = second / 60;
        let open = minute - 4 - i64::from(second % 60 < LATENESS_SECONDS)..=minute;
        let mut windows = Vec::new();
        for start in open.clone() {
            for (store, _) in STORES.iter().enumerate() {
                windows.push(store_row(start * 60, store, &counts(store, start * 60, second.min(start * 60 + 300))));
            }
        }
        batches.push(batch("store_metrics", windows));
        if self.tick.is_multiple_of(3) {
            batches.push(batch("category_metrics", open.flat_map(|start| category_rows(start * 60, second)).collect()));
            batches.push(batch("ledger", ledger_rows(minute, second)));
        }
        batches.extend(people::tick(second, self.tick));
        batches.extend(self.stock.tick(second, self.tick));
        batches.extend(self.daily(second));
        batches.extend(self.progress(now));
        batches
    }

    fn daily(&mut self, second: i64) -> Vec<LiveBatch> {
        let midnight = second - second % DAY_SECONDS;
        let mut rows = Vec::new();
        for (store, (name, _)) in STORES.iter().enumerate() {
            let (until, sum) = &mut self.today[store];
            if *until < midnight {
                (*until, *sum) = (midnight, Counts::default());
            }
            *sum += counts(store, *until, second);
            *until = second;
            rows.push(row(json!({
                "window_start": at(midnight), "window_end": at(midnight + DAY_SECONDS), "store_id": name,
                "currency": CURRENCY, "orders": sum.orders, "refunds": sum.refunds, "gross_minor": sum.gross,
                "refunded_minor": sum.refunded, "net_minor": sum.gross - sum.refunded,
            })));
        }
        vec![batch("revenue_daily", rows)]
    }

    fn progress(&self, now: Timestamp) -> Vec<LiveBatch> {
        let second = now.0 / SECOND;
        let rows = JOBS.iter().enumerate().map(|(at_row, (job, table))| {
            let records = second % 1_000_000 * (40 + at_row as i64);
            let (late, broken, repeats) = (records / 40_000, records / 90_000, records / 3_000);
            let behind = (hash(at_row as u64, second / 7) % 400) as i64;
            let sources: Vec<Value> = (0..4_i64)
                .map(|partition| {
                    let end = records / 4 + partition;
                    let lag =
                        if at_row == 3 { behind / 4 } else { (hash(at_row as u64, second * 4 + partition) % 9) as i64 };
                    json!({"topic": "user_events", "partition": partition, "offset": end - lag, "end_offset": end})
                })
                .collect();
            row(json!({
                "table": table, "job": job, "backend": "embedded", "epoch": second % 1_000_000 * 8, "time": now,
                "watermark": Timestamp(now.0 - LATENESS_SECONDS * SECOND - behind * 4_000), "output_mode": "update",
                "records_in": records, "records_counted": records - late - broken - repeats, "records_late": late,
                "records_malformed": broken, "records_duplicate": repeats, "rows_out": records / 3,
                "state_groups": 800 + 137 * at_row, "state_bytes": 190_000 + 91_000 * at_row,
                "epoch_micros": 9_000 + behind * 20, "sources": sources,
            }))
        });
        vec![batch("job_progress", rows.collect())]
    }
}

/// Jobs and their tables.
const JOBS: [(&str, &str); 14] = [
    ("metrics", "store_metrics"),
    ("metrics", "vitals"),
    ("metrics", "revenue_daily"),
    ("metrics", "category_metrics"),
    ("metrics", "ledger"),
    ("sessions", "sessions"),
    ("sessions", "abandoned_carts"),
    ("sessions", "session_funnel"),
    ("fraud", "fraud_signals"),
    ("inventory", "stock_levels"),
    ("inventory", "stock_cover"),
    ("recommendations", "seen_together"),
    ("recommendations", "bought_together"),
    ("recommendations", "trending"),
];

/// The sum over `from..to` seconds of a store.
fn counts(store: usize, from: i64, to: i64) -> Counts {
    let mut sum = Counts::default();
    for second in from..to {
        sum += one_second(store, second);
    }
    sum
}

/// How lively the shop is: more in the evening, less at night, with slow waves.
fn liveliness(second: i64) -> f64 {
    let day = (second % DAY_SECONDS) as f64 / DAY_SECONDS as f64 * std::f64::consts::TAU;
    let wave = (second as f64 / 700.0).sin() * 0.18 + (second as f64 / 173.0).sin() * 0.08;
    (1.0 - 0.45 * (day + 0.8).cos() + wave).max(0.15)
}

fn one_second(store: usize, second: i64) -> Counts {
    let rate = STORES[store].1 * liveliness(second);
    let draw = |what: u64, mean: f64| drawn(what + store as u64 * 100, second, mean);
    let orders = draw(6, rate * 0.16);
    let refunds = draw(8, rate * 0.008);
    let price = |what: u64| 2_900 + (hash(what, second) % 21_000) as i64;
    Counts {
        page_views: draw(1, rate * 6.5),
        searches: draw(2, rate * 0.9),
        product_views: draw(3, rate * 3.1),
        cart_adds: draw(4, rate * 0.62),
        checkouts: draw(5, rate * 0.27),
        orders,
        declined: draw(7, rate * 0.011),
        refunds,
        gross: orders * price(9 + store as u64),
        refunded: refunds * price(11) / 2,
    }
}

/// A whole number around `mean`, never negative, drawn from what and when.
fn drawn(what: u64, second: i64, mean: f64) -> i64 {
    let dice = (hash(what, second) % 10_000) as f64 / 10_000.0;
    let spread = mean * (0.55 + 0.9 * ((hash(what + 50, second) % 1_000) as f64 / 1_000.0));
    (spread + dice).floor() as i64
}

/// SplitMix64 (Steele, Lea, Flood 2014) of two numbers.
fn hash(a: u64, b: i64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.cast_unsigned().wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn vitals_rows(second: i64) -> Vec<Map<String, Value>> {
    let of_store = |(store, (name, _)): (usize, &(&str, f64))| {
        let c = one_second(store, second);
        row(json!({
            "window_start": at(second), "window_end": at(second + 1), "store_id": name, "currency": CURRENCY,
            "events": c.events(), "page_views": c.page_views, "cart_adds": c.cart_adds, "orders": c.orders,
            "payments_declined": c.declined, "gross_minor": c.gross,
        }))
    };
    STORES.iter().enumerate().map(of_store).collect()
}

fn store_row(start: i64, store: usize, c: &Counts) -> Map<String, Value> {
    row(json!({
        "window_start": at(start), "window_end": at(start + 300), "store_id": STORES[store].0, "currency": CURRENCY,
        "visitors": c.page_views * 19 / 100 + c.orders, "page_views": c.page_views, "searches": c.searches,
        "product_views": c.product_views, "cart_adds": c.cart_adds, "checkouts": c.checkouts, "orders": c.orders,
        "payments_authorized": c.orders, "payments_declined": c.declined, "refunds": c.refunds,
        "gross_minor": c.gross, "refunded_minor": c.refunded, "net_minor": c.gross - c.refunded,
    }))
}

fn category_rows(start: i64, now: i64) -> Vec<Map<String, Value>> {
    let mut sum = Counts::default();
    for (store, _) in STORES.iter().enumerate() {
        sum += counts(store, start, now.min(start + 300));
    }
    let of_category = |(at_row, (name, share, price)): (usize, &(&str, f64, i64))| {
        let wave = 1.0 + 0.3 * ((start as f64 / 1_900.0) + at_row as f64).sin();
        let part = |count: i64| (count as f64 * share * wave) as i64;
        let units = part(sum.orders * 2 + 3);
        row(json!({
            "window_start": at(start), "window_end": at(start + 300), "category": name,
            "product_views": part(sum.product_views), "cart_adds": part(sum.cart_adds), "order_lines": part(sum.orders),
            "units": units, "gross_minor": units * price,
        }))
    };
    CATEGORIES.iter().enumerate().map(of_category).collect()
}

fn ledger_rows(minute: i64, now: i64) -> Vec<Map<String, Value>> {
    let mut sum = Counts::default();
    for (store, _) in STORES.iter().enumerate() {
        sum += counts(store, minute * 60, now.min(minute * 60 + 60));
    }
    let streams =
        [("user_events", sum.events()), ("transactions", sum.orders * 3), ("inventory_updates", sum.orders * 4)];
    let of_stream = |(stream, records): (&str, i64)| {
        row(
            json!({"window_start": at(minute * 60), "window_end": at(minute * 60 + 60), "stream": stream, "records": records}),
        )
    };
    streams.into_iter().map(of_stream).collect()
}

fn at(second: i64) -> String {
    Timestamp(second * SECOND).to_string()
}

fn row(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn batch(table: &str, rows: Vec<Map<String, Value>>) -> LiveBatch {
    LiveBatch { table: table.to_owned(), rows }
}
