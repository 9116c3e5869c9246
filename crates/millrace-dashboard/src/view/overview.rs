//! The overview: what the shop does now, these five minutes, today, and over the chosen range.
//!
//! Everything is relative to `as_of`, the newest second of event time, not to the wall clock: a replay of last year's
//! orders shows last year's "today".

mod kpis;
mod range;

use millrace_model::Timestamp;
use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS};
use serde::Serialize;
use serde_json::json;

pub(crate) use kpis::Kpi;
pub(crate) use range::Range;

use super::windows::{Stores, Windows};
use super::{Series, Unit, change};
use crate::cache::Cache;
use crate::row::Read;

/// How far back windows that overlap are looked at: the longest range that draws them, and the one before it.
const SLIDING_MICROS: i64 = 2 * HOUR_MICROS + 10 * MINUTE_MICROS;
/// Seconds of the pulse.
const PULSE_SECONDS: i64 = 150;

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OverviewParams {
    /// One store, or all.
    pub(crate) store: Option<String>,
    /// How far back charts and sums go.
    pub(crate) range: Range,
}

/// The overview, as the API gives it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Overview {
    /// End of the newest second seen, in event time. None: nothing has come yet.
    pub(crate) as_of: Option<Timestamp>,
    /// Stores to choose from.
    pub(crate) stores: Vec<String>,
    /// The store shown; none for all.
    pub(crate) store: Option<String>,
    /// Stores have different currencies, so one must be chosen.
    pub(crate) mixed_currencies: bool,
    /// Currency of all money here.
    pub(crate) currency: String,
    /// The range of charts and sums.
    pub(crate) range: Range,
    /// The tiles.
    pub(crate) kpis: Vec<Kpi>,
    /// Revenue and orders of the range, with the period before.
    pub(crate) total: Total,
    /// Revenue and orders by window.
    pub(crate) revenue: Series,
    /// Events, orders and revenue by second.
    pub(crate) pulse: Series,
    /// From a page view to an order.
    pub(crate) funnel: Vec<FunnelStep>,
    /// What sells.
    pub(crate) categories: Vec<Category>,
}

/// Sums over the range.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Total {
    /// Gross revenue, minor units, with the open window.
    pub(crate) gross_minor: i64,
    /// Orders, with the open window.
    pub(crate) orders: i64,
    /// Change of gross revenue to the period before, over complete windows.
    pub(crate) gross_change: Option<f64>,
    /// Change of orders to the period before, over complete windows.
    pub(crate) orders_change: Option<f64>,
}

/// One step of the funnel.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct FunnelStep {
    /// For programs.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) label: &'static str,
    /// Times it was reached.
    pub(crate) count: i64,
    /// As a part of the first step.
    pub(crate) of_first: Option<f64>,
    /// As a part of the step before.
    pub(crate) of_previous: Option<f64>,
    /// The same, in the period before.
    pub(crate) of_previous_before: Option<f64>,
}

/// One category over the range.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Category {
    /// Its name.
    pub(crate) category: String,
    /// Times a product was viewed.
    pub(crate) product_views: i64,
    /// Times one was put in a cart.
    pub(crate) cart_adds: i64,
    /// Units sold.
    pub(crate) units: i64,
    /// Revenue of its order lines, minor units.
    pub(crate) gross_minor: i64,
    /// Part of all categories' revenue.
    pub(crate) share: Option<f64>,
    /// Change of revenue to the period before.
    pub(crate) change: Option<f64>,
}

/// Computes the overview.
pub(crate) fn overview(cache: &Cache, params: &OverviewParams) -> Overview {
    let stores = Stores::of(cache, params.store.as_deref());
    let minutes = Windows::of(cache, "store_metrics", &stores, SLIDING_MICROS);
    let seconds = Windows::of(cache, "vitals", &stores, SLIDING_MICROS);
    let as_of = seconds.last().map(|start| Timestamp(start.0 + seconds.width)).or(minutes.last());
    let at = as_of.unwrap_or_default();
    let money = Unit::money(&stores.currency);
    Overview {
        as_of,
        kpis: kpis::kpis(cache, &stores, &minutes, &seconds, at),
        total: total(&minutes, at, params.range),
        revenue: revenue(cache, &minutes, at, params.range, money.clone()),
        pulse: pulse(&seconds, at, money),
        funnel: funnel(&minutes, at, params.range),
        categories: categories(cache, at, params.range),
        mixed_currencies: stores.mixed,
        stores: stores.all.iter().cloned().collect(),
        store: stores.chosen.clone(),
        currency: stores.currency,
        range: params.range,
    }
}

/// Starts of the first aligned window of the range, and of the one that is still open.
fn bounds(at: Timestamp, range: Range, width: i64) -> (Timestamp, Timestamp) {
    let width = width.max(1);
    let open = Timestamp(at.0 - 1).floor(width);
    (Timestamp(open.0 - range.micros() + width), open)
}

fn total(windows: &Windows, at: Timestamp, range: Range) -> Total {
    let (from, open) = bounds(at, range, windows.width);
    let shift = |time: Timestamp| Timestamp(time.0 - range.micros());
    let all = windows.sum(from, Timestamp(open.0 + 1));
    // The open window has not had its time yet; comparing it would always show a loss.
    let complete = windows.sum(from, open);
    let covered = windows.first().is_some_and(|first| first <= shift(from));
    let before = covered.then(|| windows.sum(shift(from), shift(open)));
    Total {
        gross_minor: all.gross,
        orders: all.orders,
        gross_change: change(complete.gross as f64, before.map(|m| m.gross as f64)),
        orders_change: change(complete.orders as f64, before.map(|m| m.orders as f64)),
    }
}

fn revenue(cache: &Cache, windows: &Windows, at: Timestamp, range: Range, money: Unit) -> Series {
    let mut series = Series::new(vec![
        ("window_start", "Window from", Unit::Time),
        ("window_end", "to", Unit::Time),
        ("gross_minor", "Revenue", money.clone()),
        ("orders", "Orders", Unit::Count),
        ("gross_minor_before", "Revenue, period before", money),
        ("final", "State", Unit::Text),
    ]);
    let watermark = cache.watermark("store_metrics");
    let (from, open) = bounds(at, range, windows.width);
    let points: Vec<_> = if range.slides() {
        // Windows that began later than the one that ends soonest are open for longer: they would only show a fall.
        let end = windows.current(at).map_or(open, |(start, _)| start);
        windows.between(from, Timestamp(end.0 + 1)).collect()
    } else {
        windows.aligned(from, Timestamp(open.0 + 1)).collect()
    };
    for (start, metrics) in points {
        let window_end = Timestamp(start.0 + windows.width);
        let before = windows.at(Timestamp(start.0 - range.micros()));
        series.rows.push(vec![
            json!(start),
            json!(window_end),
            json!(metrics.gross),
            json!(metrics.orders),
            json!(before.map(|m| m.gross)),
            json!(state(watermark, window_end)),
        ]);
    }
    series
}

/// "final" once the watermark has passed the window's end.
pub(crate) fn state(watermark: Option<Timestamp>, window_end: Timestamp) -> &'static str {
    if watermark.is_some_and(|watermark| watermark >= window_end) { "final" } else { "provisional" }
}

fn pulse(seconds: &Windows, at: Timestamp, money: Unit) -> Series {
    let mut series = Series::new(vec![
        ("second", "Second", Unit::Time),
        ("events", "Events", Unit::Count),
        ("orders", "Orders", Unit::Count),
        ("gross_minor", "Revenue", money),
        ("payments_declined", "Declines", Unit::Count),
    ]);
    if seconds.is_empty() {
        return series;
    }
    // Every second has a point: silence is a zero, not a gap.
    for second in (1..=PULSE_SECONDS).rev() {
        let start = Timestamp(at.0 - second * SECOND_MICROS);
        let m = seconds.at(start).copied().unwrap_or_default();
        series.rows.push(vec![json!(start), json!(m.events), json!(m.orders), json!(m.gross), json!(m.declined)]);
    }
    series
}

fn funnel(windows: &Windows, at: Timestamp, range: Range) -> Vec<FunnelStep> {
    let (from, open) = bounds(at, range, windows.width);
    let now = windows.sum(from, Timestamp(open.0 + 1));
    let earlier = Timestamp(from.0 - range.micros());
    let covered = windows.first().is_some_and(|first| first <= earlier);
    let before = windows.sum(earlier, from);
    // It begins with products: a product's page is no `page_viewed`, so that pages are no step before it.
    let steps = [
        ("product_views", "Product views", now.product_views, before.product_views),
        ("cart_adds", "Cart adds", now.cart_adds, before.cart_adds),
        ("checkouts", "Checkouts", now.checkouts, before.checkouts),
        ("orders", "Orders", now.orders, before.orders),
    ];
    let mut previous: Option<(i64, i64)> = None;
    let mut funnel = Vec::with_capacity(steps.len());
    for (name, label, count, count_before) in steps {
        funnel.push(FunnelStep {
            name,
            label,
            count,
            of_first: super::share(count, now.product_views),
            of_previous: previous.and_then(|(now, _)| super::share(count, now)),
            of_previous_before: previous.filter(|_| covered).and_then(|(_, before)| super::share(count_before, before)),
        });
        previous = Some((count, count_before));
    }
    funnel
}

fn categories(cache: &Cache, at: Timestamp, range: Range) -> Vec<Category> {
    let mut sums: std::collections::BTreeMap<String, (Category, i64)> = std::collections::BTreeMap::new();
    let mut covered = false;
    for (start, end, row) in cache.windows("category_metrics") {
        let (from, open) = bounds(at, range, end.0 - start.0);
        covered |= start.0 <= from.0 - range.micros();
        if start.0 < from.0 - range.micros() {
            continue;
        }
        let name = row.text("category");
        let (sum, before) = sums.entry(name.to_owned()).or_insert_with(|| (Category::named(name), 0));
        if start >= from && start <= open {
            sum.product_views += row.int("product_views");
            sum.cart_adds += row.int("cart_adds");
            sum.units += row.int("units");
            sum.gross_minor += row.int("gross_minor");
        } else if start < from {
            *before += row.int("gross_minor");
        }
    }
    let whole: i64 = sums.values().map(|(category, _)| category.gross_minor).sum();
    let mut categories: Vec<Category> = sums
        .into_values()
        .map(|(category, before)| Category {
            share: super::share(category.gross_minor, whole),
            change: change(category.gross_minor as f64, covered.then_some(before as f64)),
            ..category
        })
        .filter(|category| category.gross_minor > 0 || category.product_views > 0)
        .collect();
    categories.sort_by(|a, b| b.gross_minor.cmp(&a.gross_minor).then_with(|| a.category.cmp(&b.category)));
    categories
}

impl Category {
    fn named(name: &str) -> Self {
        Category {
            category: name.to_owned(),
            product_views: 0,
            cart_adds: 0,
            units: 0,
            gross_minor: 0,
            share: None,
            change: None,
        }
    }
}

#[cfg(test)]
mod tests;
