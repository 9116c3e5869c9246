//! The recent rows of every table, in memory and bounded: what tiles and pushes are made from.
//!
//! ```text
//! store, at start ─▶┐                     ┌─▶ views (pages, API)
//!                   ├─▶ Cache: table ─▶ key ─▶ latest row, with the version of its last change
//! LiveBatch ───────▶┘                     └─▶ "rows changed since version v" (pushes)
//! ```
//!
//! The row of a key that changed longest ago leaves first. Versions count changes over all tables, so that one number
//! says how far a page has come.

mod keep;

use std::collections::{BTreeMap, HashMap};

use millrace_model::{Contract, Timestamp};

pub(crate) use keep::{Keep, Policy};

use crate::row::{Read, Row, key_of, normalise};
use crate::settings::Limits;

/// One table's recent rows.
pub(crate) struct TableCache {
    pub(crate) contract: Contract,
    policy: Policy,
    text_bytes_max: usize,
    rows: HashMap<String, Held>,
    /// Version of the last change → key: the oldest leaves first, the newest are what a page has not seen.
    by_version: BTreeMap<u64, String>,
    /// Version of the last change of any row; 0 before the first.
    pub(crate) version: u64,
    /// Rows taken in since the start.
    pub(crate) received: u64,
    /// When the last live rows came, by the system's clock.
    pub(crate) updated: Option<Timestamp>,
    /// Start of the newest window seen.
    clock: Timestamp,
}

impl TableCache {
    fn new(contract: Contract, limits: &Limits) -> Self {
        let policy = Policy::of(&contract, limits);
        TableCache {
            contract,
            policy,
            text_bytes_max: limits.cached_text_bytes_max,
            rows: HashMap::new(),
            by_version: BTreeMap::new(),
            version: 0,
            received: 0,
            updated: None,
            clock: Timestamp(i64::MIN),
        }
    }

    /// The rows, in no particular order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|held| &held.row)
    }

    /// The rows that are of a window, with its start and end, in no particular order.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (Timestamp, Timestamp, &Row)> {
        self.rows.values().filter_map(|held| held.window.map(|(start, end)| (start, end, &held.row)))
    }

    /// Start of the newest window seen.
    pub(crate) fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The rows, most recently changed first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.by_version.values().rev().map(|key| (key.as_str(), &self.rows[key].row))
    }

    /// Rows changed after `version`, oldest change first.
    pub(crate) fn changed_since(&self, version: u64) -> impl Iterator<Item = &Row> {
        self.by_version.range(version.saturating_add(1)..).map(|(_, key)| &self.rows[key].row)
    }

    /// How many rows are held.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Row> {
        self.rows.get(key).map(|held| &held.row)
    }

    fn insert(&mut self, mut row: Row, version: u64) {
        normalise(&self.contract, &mut row, self.text_bytes_max);
        let key = key_of(&self.policy.key, &row).unwrap_or_else(|| version.to_string());
        let held = self.rows.get(&key);
        if !self.policy.keep.admits(held.map(|held| &held.row), &row, self.clock) {
            return;
        }
        let window = row.time("window_start").zip(row.time("window_end"));
        if let Some(old) = self.rows.insert(key.clone(), Held { version, window, row }) {
            self.by_version.remove(&old.version);
        }
        self.by_version.insert(version, key);
        self.version = version;
        while self.rows.len() > self.policy.rows_max
            && let Some((_, oldest)) = self.by_version.pop_first()
        {
            self.rows.remove(&oldest);
        }
    }
}

/// A row as it is held.
struct Held {
    /// Version of its last change.
    version: u64,
    /// Start and end of its window, read once: most views begin with them.
    window: Option<(Timestamp, Timestamp)>,
    row: Row,
}

/// All tables.
pub(crate) struct Cache {
    tables: BTreeMap<String, TableCache>,
    version: u64,
}

impl Cache {
    /// An empty cache of these tables.
    pub(crate) fn new(contracts: Vec<Contract>, limits: &Limits) -> Self {
        let tables = contracts.into_iter().map(|c| (c.name.clone(), TableCache::new(c, limits))).collect();
        Cache { tables, version: 0 }
    }

    /// Takes rows in. `now` marks them as live; rows of the store at start have none. Unknown tables are ignored:
    /// the command may tail more than we show. Returns whether anything was taken.
    pub(crate) fn apply(&mut self, table: &str, rows: Vec<Row>, now: Option<Timestamp>) -> bool {
        let Some(cache) = self.tables.get_mut(table) else { return false };
        let newest = rows.iter().filter_map(|row| row.time("window_start")).max();
        cache.clock = newest.map_or(cache.clock, |start| start.max(cache.clock));
        cache.received += rows.len() as u64;
        for row in rows {
            self.version += 1;
            cache.insert(row, self.version);
        }
        cache.updated = now.or(cache.updated);
        true
    }

    /// Takes in rows of the store whose key is not held, while there is room: what is held is newer.
    pub(crate) fn complete(&mut self, table: &str, rows: Vec<Row>) {
        let Some(cache) = self.tables.get_mut(table).filter(|cache| !cache.policy.key.is_empty()) else { return };
        for row in rows {
            let is_held = key_of(&cache.policy.key, &row).is_none_or(|key| cache.rows.contains_key(&key));
            if !is_held && cache.rows.len() < cache.policy.rows_max {
                self.version += 1;
                cache.insert(row, self.version);
            }
        }
    }

    /// Every table and how it is kept.
    pub(crate) fn policies(&self) -> Vec<(Contract, Policy)> {
        self.tables.values().map(|table| (table.contract.clone(), table.policy.clone())).collect()
    }

    /// The version of the last change of any table.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// A table by name.
    pub(crate) fn table(&self, name: &str) -> Option<&TableCache> {
        self.tables.get(name)
    }

    /// All tables, by name.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableCache> {
        self.tables.values()
    }

    /// The rows of a table; none when there is no such table.
    pub(crate) fn rows<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Row> + use<'a> {
        self.tables.get(name).into_iter().flat_map(TableCache::rows)
    }

    /// The rows of a table that are of a window, with its start and end.
    pub(crate) fn windows<'a>(&'a self, name: &str) -> impl Iterator<Item = (Timestamp, Timestamp, &'a Row)> + use<'a> {
        self.tables.get(name).into_iter().flat_map(TableCache::windows)
    }

    /// Start of the newest window of a table; the beginning of time when there is none.
    pub(crate) fn clock(&self, name: &str) -> Timestamp {
        self.tables.get(name).map_or(Timestamp(i64::MIN), TableCache::clock)
    }

    /// The watermark of a table as `job_progress` last told it: windows that end by then are final.
    pub(crate) fn watermark(&self, name: &str) -> Option<Timestamp> {
        let progress = self.tables.get("job_progress")?;
        progress.get(name)?.time("watermark")
    }
}

#[cfg(test)]
mod tests;
