//! The tiles of the overview.
//!
//! Sums over "the last 5 minutes" are exact to the second (from `vitals`). Ratios and distinct counts cannot be added
//! up from seconds; they come from the open window of `store_metrics` that ends soonest.

use millrace_model::Timestamp;
use millrace_model::time::{DAY_MICROS, MINUTE_MICROS};
use serde::Serialize;

use super::state;
use crate::cache::Cache;
use crate::row::Read;
use crate::view::windows::{Metrics, Stores, Windows};
use crate::view::{Unit, change, share};

/// "Recent": the last five minutes.
const RECENT_MICROS: i64 = 5 * MINUTE_MICROS;
/// Points of a tile's small line.
const SPARK_POINTS: usize = 30;

/// One tile.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Kpi {
    /// For programs.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) label: &'static str,
    /// The number; none while there is nothing to divide by, or no data.
    pub(crate) value: Option<f64>,
    /// What it is.
    #[serde(flatten)]
    pub(crate) unit: Unit,
    /// The change to the period before, as a part of it.
    pub(crate) change: Option<f64>,
    /// What the change is measured against.
    pub(crate) against: &'static str,
    /// More is better; none when neither is.
    pub(crate) up_is_good: Option<bool>,
    /// `final` or `provisional`.
    pub(crate) state: &'static str,
    /// Table the number comes from.
    pub(crate) table: &'static str,
    /// The recent course.
    pub(crate) spark: Vec<f64>,
}

/// All tiles, in order.
pub(super) fn kpis(cache: &Cache, stores: &Stores, minutes: &Windows, seconds: &Windows, at: Timestamp) -> Vec<Kpi> {
    let mut kpis = today(cache, stores, minutes, at);
    kpis.extend(recent(cache, stores, minutes, seconds, at));
    kpis.extend(ratios(cache, stores, minutes, at));
    kpis
}

fn today(cache: &Cache, stores: &Stores, minutes: &Windows, at: Timestamp) -> Vec<Kpi> {
    let midnight = Timestamp(at.0 - 1).floor(DAY_MICROS);
    let (mut gross, mut net, mut any) = (0, 0, false);
    for (start, _, row) in cache.windows("revenue_daily").filter(|(.., row)| stores.has(row)) {
        // A store may take a foreign currency now and then; it is not added to its own.
        if start == midnight && row.text("currency") == stores.currency {
            gross += row.int("gross_minor");
            net += row.int("net_minor");
            any = true;
        }
    }
    // Yesterday up to this time of day, if the windows reach that far back.
    let yesterday = Timestamp(midnight.0 - DAY_MICROS);
    let covered = minutes.first().is_some_and(|first| first <= yesterday);
    let before = covered.then(|| minutes.sum(yesterday, Timestamp(at.0 - DAY_MICROS)));
    let state = state(cache.watermark("revenue_daily"), Timestamp(midnight.0 + DAY_MICROS));
    let course = |value: fn(&Metrics) -> i64| {
        let mut sum = 0;
        let sums: Vec<f64> = minutes
            .aligned(midnight, at)
            .map(|(_, metrics)| {
                sum += value(metrics);
                sum as f64
            })
            .collect();
        thinned(&sums)
    };
    let kpi = |name, label, value: i64, before: Option<i64>, spark| Kpi {
        name,
        label,
        value: any.then_some(value as f64),
        unit: Unit::money(&stores.currency),
        change: change(value as f64, before.map(|before| before as f64)),
        against: "yesterday by now",
        up_is_good: Some(true),
        state,
        table: "revenue_daily",
        spark,
    };
    vec![
        kpi("net_today", "Net revenue today", net, before.map(|m| m.net), course(|m| m.net)),
        kpi("gross_today", "Gross revenue today", gross, before.map(|m| m.gross), course(|m| m.gross)),
    ]
}

fn recent(cache: &Cache, stores: &Stores, minutes: &Windows, seconds: &Windows, at: Timestamp) -> Vec<Kpi> {
    let back = |micros: i64| Timestamp(at.0 - micros);
    let exact = !seconds.is_empty();
    let (now, before, table) = if exact {
        let covered = seconds.first().is_some_and(|first| first <= back(2 * RECENT_MICROS - seconds.width));
        let before = covered.then(|| seconds.sum(back(2 * RECENT_MICROS), back(RECENT_MICROS)));
        (Some(seconds.sum(back(RECENT_MICROS), at)), before, "vitals")
    } else {
        let current = minutes.current(at);
        let before = current.and_then(|(start, _)| minutes.at(Timestamp(start.0 - minutes.width))).copied();
        (current.map(|(_, metrics)| *metrics), before, "store_metrics")
    };
    let state = state(cache.watermark(table), at);
    let kpi = |name, label, value: fn(&Metrics) -> Option<f64>, unit: Unit| Kpi {
        name,
        label,
        value: now.as_ref().and_then(value),
        unit,
        change: now.as_ref().and_then(value).and_then(|now| change(now, before.as_ref().and_then(value))),
        against: "5 min before",
        up_is_good: Some(true),
        state,
        table,
        spark: course(minutes, at, value),
    };
    let money = || Unit::money(&stores.currency);
    vec![
        kpi("gross_recent", "Revenue, last 5 min", |m| Some(m.gross as f64), money()),
        kpi("orders_recent", "Orders, last 5 min", |m| Some(m.orders as f64), Unit::Count),
        kpi("average_order", "Average order value", |m| share(m.gross, m.orders), money()),
    ]
}

fn ratios(cache: &Cache, _stores: &Stores, minutes: &Windows, at: Timestamp) -> Vec<Kpi> {
    let current = minutes.current(at);
    let now = current.map(|(_, metrics)| *metrics);
    let before = current.and_then(|(start, _)| minutes.at(Timestamp(start.0 - minutes.width))).copied();
    let end = current.map_or(at, |(start, _)| Timestamp(start.0 + minutes.width));
    let state = state(cache.watermark("store_metrics"), end);
    let kpi = |name, label, value: fn(&Metrics) -> Option<f64>, unit, up_is_good| Kpi {
        name,
        label,
        value: now.as_ref().and_then(value),
        unit,
        change: now.as_ref().and_then(value).and_then(|now| change(now, before.as_ref().and_then(value))),
        against: "5 min before",
        up_is_good,
        state,
        table: "store_metrics",
        spark: course(minutes, at, value),
    };
    vec![
        kpi("conversion", "Conversion", |m| share(m.orders, m.visitors), Unit::Share, Some(true)),
        kpi("visitors", "Visitors now", |m| Some(m.visitors as f64), Unit::Count, Some(true)),
        kpi(
            "decline_rate",
            "Payments declined",
            |m| share(m.declined, m.declined + m.authorized),
            Unit::Share,
            Some(false),
        ),
    ]
}

/// The value of the last windows that are complete in time, oldest first.
fn course(minutes: &Windows, at: Timestamp, value: fn(&Metrics) -> Option<f64>) -> Vec<f64> {
    let from = Timestamp(at.0 - minutes.width - 30 * MINUTE_MICROS);
    let complete = Timestamp(at.0 - minutes.width + 1);
    let values: Vec<f64> = minutes.between(from, complete).map(|(_, m)| value(m).unwrap_or(0.0)).collect();
    thinned(&values)
}

/// At most [`SPARK_POINTS`] of the values, the last always among them.
fn thinned(values: &[f64]) -> Vec<f64> {
    let step = values.len().div_ceil(SPARK_POINTS).max(1);
    let mut kept: Vec<f64> = values.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    kept
}
