//! The windows of `store_metrics`, `vitals` and `category_metrics`, added up over the chosen stores.
//!
//! Windows of `store_metrics` slide, so they overlap. What is added over time uses only the aligned ones:
//!
//! ```text
//! 12:00 ├────5 min────┤                      aligned (start is a multiple of the width): may be added
//! 12:01   ├───────────┼──┤                   overlapping: a moving sum, for lines
//! 12:05               ├─────────────┤        aligned
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use millrace_model::Timestamp;
use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS};

use crate::cache::Cache;
use crate::row::{Read, Row};

/// Counts and money of one window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) visitors: i64,
    pub(crate) page_views: i64,
    pub(crate) product_views: i64,
    pub(crate) cart_adds: i64,
    pub(crate) checkouts: i64,
    pub(crate) orders: i64,
    pub(crate) authorized: i64,
    pub(crate) declined: i64,
    pub(crate) gross: i64,
    pub(crate) net: i64,
    /// `vitals` only.
    pub(crate) events: i64,
}

impl Metrics {
    fn of(row: &Row) -> Self {
        Metrics {
            visitors: row.int("visitors"),
            page_views: row.int("page_views"),
            product_views: row.int("product_views"),
            cart_adds: row.int("cart_adds"),
            checkouts: row.int("checkouts"),
            orders: row.int("orders"),
            authorized: row.int("payments_authorized"),
            declined: row.int("payments_declined"),
            gross: row.int("gross_minor"),
            net: row.int("net_minor"),
            events: row.int("events"),
        }
    }
}

impl AddAssign for Metrics {
    fn add_assign(&mut self, other: Self) {
        self.visitors += other.visitors;
        self.page_views += other.page_views;
        self.product_views += other.product_views;
        self.cart_adds += other.cart_adds;
        self.checkouts += other.checkouts;
        self.orders += other.orders;
        self.authorized += other.authorized;
        self.declined += other.declined;
        self.gross += other.gross;
        self.net += other.net;
        self.events += other.events;
    }
}

/// Windows of one width by start, added over stores.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    by_start: BTreeMap<Timestamp, Metrics>,
    /// Width of the windows, microseconds; 0 when there are none.
    pub(crate) width: i64,
}

impl Windows {
    /// The windows of `table` for the chosen stores: all of the last `recent` microseconds, before that the aligned ones.
    pub(crate) fn of(cache: &Cache, table: &str, stores: &Stores, recent: i64) -> Self {
        let since = Timestamp(cache.clock(table).0.saturating_sub(recent));
        let mut windows = Windows::default();
        for (start, end, row) in cache.windows(table) {
            let width = end.0 - start.0;
            let needed = width > 0 && (start >= since || start.0.rem_euclid(width) == 0);
            if needed && stores.has(row) {
                windows.width = width;
                *windows.by_start.entry(start).or_default() += Metrics::of(row);
            }
        }
        windows
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Start of the first window held.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.by_start.first_key_value().map(|(start, _)| *start)
    }

    /// Start of the newest window.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.by_start.last_key_value().map(|(start, _)| *start)
    }

    /// The window that starts at `start`.
    pub(crate) fn at(&self, start: Timestamp) -> Option<&Metrics> {
        self.by_start.get(&start)
    }

    /// Windows that start in `from..to`, in order.
    pub(crate) fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, &Metrics)> {
        let to = to.max(from);
        self.by_start.range(from..to).map(|(start, metrics)| (*start, metrics))
    }

    /// Windows that start in `from..to` and do not overlap.
    pub(crate) fn aligned(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, &Metrics)> {
        let width = self.width.max(1);
        self.between(from, to).filter(move |(start, _)| start.0.rem_euclid(width) == 0)
    }

    /// The sum over `from..to`, without counting anything twice.
    pub(crate) fn sum(&self, from: Timestamp, to: Timestamp) -> Metrics {
        let mut sum = Metrics::default();
        self.aligned(from, to).for_each(|(_, metrics)| sum += *metrics);
        sum
    }

    /// The open window that ends soonest after `at`: nearly a whole window long. Else the newest.
    pub(crate) fn current(&self, at: Timestamp) -> Option<(Timestamp, &Metrics)> {
        let soonest = self.by_start.range(Timestamp(at.0 - self.width + 1)..).next();
        soonest.or_else(|| self.by_start.last_key_value()).map(|(start, metrics)| (*start, metrics))
    }
}

/// Which stores are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stores {
    /// All stores seen, by name.
    pub(crate) all: BTreeSet<String>,
    /// The one chosen; none for all together.
    pub(crate) chosen: Option<String>,
    /// Currency of what is shown.
    pub(crate) currency: String,
    /// Several currencies: there is no sum over all stores.
    pub(crate) mixed: bool,
}

impl Stores {
    /// The stores in the tables, and the wanted one if it exists. Money of two currencies is never added: when stores
    /// differ in currency and none is chosen, the first is.
    pub(crate) fn of(cache: &Cache, wanted: Option<&str>) -> Self {
        let mut currencies: BTreeMap<String, String> = BTreeMap::new();
        // A store that has sold within two days is in the days; a new one at least in the newest windows.
        for (table, recent) in [("revenue_daily", i64::MAX), ("store_metrics", HOUR_MICROS), ("vitals", MINUTE_MICROS)]
        {
            let since = cache.clock(table).0.saturating_sub(recent);
            for (_, _, row) in cache.windows(table).filter(|(start, ..)| start.0 >= since) {
                let currency = currencies.entry(row.text("store_id").to_owned()).or_default();
                if currency.is_empty() {
                    currency.push_str(row.text("currency"));
                }
            }
        }
        currencies.remove("");
        let distinct: BTreeSet<&String> = currencies.values().filter(|currency| !currency.is_empty()).collect();
        let mixed = distinct.len() > 1;
        let chosen = wanted
            .filter(|wanted| currencies.contains_key(*wanted))
            .map(str::to_owned)
            .or_else(|| currencies.keys().next().filter(|_| mixed).cloned());
        let currency = match &chosen {
            Some(store) => currencies.get(store).cloned(),
            None => distinct.first().map(|currency| (*currency).clone()),
        };
        Stores { currency: currency.unwrap_or_default(), mixed, chosen, all: currencies.into_keys().collect() }
    }

    /// Whether a row is of a chosen store.
    pub(crate) fn has(&self, row: &Row) -> bool {
        self.chosen.as_deref().is_none_or(|store| row.text("store_id") == store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};

    fn five_minute(start_minute: i64, store: &str, currency: &str, gross: i64) -> serde_json::Value {
        serde_json::json!({
            "window_start": at(start_minute * 60), "window_end": at(start_minute * 60 + 300),
            "store_id": store, "currency": currency, "orders": 1, "gross_minor": gross
        })
    }

    #[test]
    fn sums_do_not_count_twice() {
        let rows = (0..12).map(|minute| five_minute(minute, "main", "EUR", 100)).collect();
        let cache = cache_of(vec![("store_metrics", json_rows(rows))]);
        let windows = Windows::of(&cache, "store_metrics", &Stores::of(&cache, None), HOUR_MICROS);
        assert_eq!(windows.sum(Timestamp(0), Timestamp(i64::MAX)).gross, 300);
        // At 00:07:30 the windows from 00:03 to 00:07 are open; the one from 00:03 ends soonest.
        let (start, _) = windows.current(Timestamp(450_000_000)).expect("a window");
        assert_eq!(start.0, 180_000_000);
        // A window that ends at this very moment is over.
        let (start, _) = windows.current(Timestamp(480_000_000)).expect("a window");
        assert_eq!(start.0, 240_000_000);
    }

    #[test]
    fn currencies_are_not_added() {
        let rows = vec![five_minute(0, "de", "EUR", 1), five_minute(0, "uk", "GBP", 2), five_minute(0, "fr", "EUR", 4)];
        let cache = cache_of(vec![("store_metrics", json_rows(rows))]);
        for (wanted, chosen, currency, gross) in
            [(None, Some("de"), "EUR", 1), (Some("uk"), Some("uk"), "GBP", 2), (Some("nowhere"), Some("de"), "EUR", 1)]
        {
            let stores = Stores::of(&cache, wanted);
            assert_eq!((stores.chosen.as_deref(), stores.currency.as_str()), (chosen, currency));
            assert_eq!(
                Windows::of(&cache, "store_metrics", &stores, HOUR_MICROS).sum(Timestamp(0), Timestamp(1)).gross,
                gross,
                "{wanted:?}"
            );
        }
        let rows = vec![five_minute(0, "de", "EUR", 1), five_minute(0, "fr", "EUR", 4)];
        let cache = cache_of(vec![("store_metrics", json_rows(rows))]);
        let stores = Stores::of(&cache, None);
        assert_eq!((stores.chosen.clone(), stores.all.len(), stores.mixed), (None, 2, false));
        assert_eq!(Windows::of(&cache, "store_metrics", &stores, HOUR_MICROS).sum(Timestamp(0), Timestamp(1)).gross, 5);
    }
}
