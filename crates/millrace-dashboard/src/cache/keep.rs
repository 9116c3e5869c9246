//! Which rows of a table the cache keeps: a pure decision, by table.
//!
//! Sliding windows overlap, so one event changes many rows of which a page needs one:
//!
//! ```text
//! time ───────────────────▶ now
//!   ├──── over ────┤         │
//!        ├──── ends soonest ─┼─┤   ◀ SoonestEnding keeps this one: open, and nearly a whole window long
//!             ├──────────────┼──────┤
//! ```

use millrace_model::time::DAY_MICROS;
use millrace_model::{Contract, Timestamp};

use crate::row::{Read, Row};
use crate::settings::Limits;

/// How a table is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Policy {
    /// Columns that tell rows apart in the cache.
    pub(crate) key: Vec<String>,
    /// Which row of a key wins.
    pub(crate) keep: Keep,
    /// Rows held.
    pub(crate) rows_max: usize,
    /// How far before the newest window rows are loaded at the start, microseconds.
    pub(crate) history_micros: i64,
}

/// Which of two rows of one key is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// The one that came last.
    Latest,
    /// Only windows whose start is a multiple of their width: they do not overlap, so they can be added up.
    Aligned,
    /// Of the open windows the one that ends soonest.
    SoonestEnding,
}

impl Policy {
    /// The policy for this table.
    pub(crate) fn of(contract: &Contract, limits: &Limits) -> Self {
        let rows = limits.cached_rows_max;
        let (keep, rows_max) = match contract.name.as_str() {
            "category_metrics" => (Keep::Aligned, rows),
            "stock_cover" => (Keep::SoonestEnding, rows),
            // Six windows are open at a time, and a product that rests is in the later ones by its last row only.
            "trending" => (Keep::Latest, 2 * rows),
            "vitals" => (Keep::Latest, rows / 2),
            // A row holds a whole journey.
            "sessions" => (Keep::Latest, rows / 6),
            "abandoned_carts" | "dead_letters" | "ledger" | "fraud_alerts" => (Keep::Latest, rows / 6),
            // Asked of the store by product; the cache only overlays what came since.
            "seen_together" | "bought_together" => (Keep::Latest, rows / 3),
            _ => (Keep::Latest, rows),
        };
        let key = match keep {
            Keep::SoonestEnding => contract.key.iter().filter(|column| *column != "window_start").cloned().collect(),
            _ => contract.key.clone(),
        };
        // Windows of the slow fraud rules are a week wide: theirs began long before the newest.
        let history_micros = if contract.name == "fraud_signals" { 9 * DAY_MICROS } else { 2 * DAY_MICROS };
        Policy { key, keep, rows_max: rows_max.max(1), history_micros }
    }
}

impl Keep {
    /// Whether `row` takes the place of `held`. `clock` is the start of the newest window of the table.
    pub(super) fn admits(self, held: Option<&Row>, row: &Row, clock: Timestamp) -> bool {
        let (Some(start), Some(end)) = (row.time("window_start"), row.time("window_end")) else {
            return self == Keep::Latest;
        };
        match self {
            Keep::Latest => true,
            Keep::Aligned => {
                let width = end.0 - start.0;
                width > 0 && start.0.rem_euclid(width) == 0
            }
            Keep::SoonestEnding => {
                let Some(held_end) = held.and_then(|held| held.time("window_end")) else { return true };
                let (open, held_open) = (end > clock, held_end > clock);
                match (open, held_open) {
                    (true, true) => end <= held_end,
                    (true, false) => true,
                    (false, true) => false,
                    (false, false) => end >= held_end,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn window(start_minute: i64, width_minutes: i64) -> Row {
        let at = |minute: i64| Timestamp(minute * 60_000_000).to_string();
        let row = json!({"window_start": at(start_minute), "window_end": at(start_minute + width_minutes)});
        row.as_object().expect("an object").clone()
    }

    #[test]
    fn soonest_ending() {
        // (held start, candidate start, start of the newest window) of one-hour windows, in minutes.
        for (held, candidate, clock, admitted) in [
            (None, 5, 5, true),
            // Both open: the one that ends sooner.
            (Some(10), 5, 60, true),
            (Some(5), 10, 60, false),
            (Some(5), 5, 60, true),
            // The held one is over.
            (Some(5), 10, 65, true),
            // A late change of a window that is over does not displace an open one.
            (Some(10), 5, 65, false),
            // Both over: the later.
            (Some(5), 10, 500, true),
            (Some(10), 5, 500, false),
        ] {
            let held = held.map(|start| window(start, 60));
            let clock = Timestamp(clock * 60_000_000);
            let got = Keep::SoonestEnding.admits(held.as_ref(), &window(candidate, 60), clock);
            assert_eq!(got, admitted, "{held:?} {candidate} {clock}");
        }
    }

    #[test]
    fn aligned_windows_do_not_overlap() {
        let clock = Timestamp(0);
        for (start, width, admitted) in [(0, 5, true), (5, 5, true), (6, 5, false), (20, 10, true), (25, 10, false)] {
            assert_eq!(Keep::Aligned.admits(None, &window(start, width), clock), admitted, "{start} {width}");
        }
    }
}
