//! The groups of one pane: their keys by number, and their states.
//!
//! ```text
//!  operator   keys    0 ann   1 bob   2 cid           each key once, whatever the number of panes it is in
//!             panes     2       1       2             in how many: with the last of them a key goes
//!
//!  pane 10:00 groups  0 → 0   1 → 2                   4 bytes a group, and about 8 in the index
//!  pane 10:01 groups  0 → 2   1 → 0   2 → 1
//! ```

use datafusion::common::Result;
use hashbrown::HashTable;

use super::calls::{Evaluated, Grouping, States};
use super::keys::KeyTable;

/// The keys of all panes.
#[derive(Default)]
pub(crate) struct SharedKeys {
    pub(crate) table: KeyTable,
    /// In how many panes each key is.
    panes: Vec<u32>,
}

impl SharedKeys {
    /// The number of a key that is about to be entered into a pane.
    fn intern(&mut self, key: &[u8]) -> u32 {
        let number = self.table.intern(key);
        if self.panes.len() <= number as usize {
            self.panes.resize(number as usize + 1, 0);
        }
        number
    }

    /// Forgets the keys that were in this pane only.
    pub(crate) fn leave(&mut self, pane: &Pane) {
        for key in &pane.keys {
            let panes = &mut self.panes[*key as usize];
            *panes -= 1;
            if *panes == 0 {
                self.table.remove(*key);
            }
        }
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.panes.capacity() * size_of::<u32>()
    }
}

/// Groups of one pane.
pub(crate) struct Pane {
    /// Groups by the number of their key.
    index: HashTable<u32>,
    /// The number of each group's key.
    pub(crate) keys: Vec<u32>,
    pub(crate) states: States,
    /// Groups changed in this epoch, each once.
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
}

/// Spreads the numbers of keys: its upper bits, which tell entries apart, depend on all of the number.
fn spread(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Pane {
    pub(crate) fn new(grouping: &Grouping) -> Self {
        let states = States::new(grouping);
        Pane { index: HashTable::new(), keys: Vec::new(), states, dirty: Vec::new(), is_dirty: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The group of a key.
    pub(crate) fn find(&self, key: u32) -> Option<u32> {
        self.index.find(spread(key), |group| self.keys[*group as usize] == key).copied()
    }

    fn enter(&mut self, key: u32, shared: &mut SharedKeys) -> u32 {
        if let Some(group) = self.find(key) {
            return group;
        }
        let group = self.keys.len() as u32;
        self.keys.push(key);
        let keys = &self.keys;
        self.index.insert_unique(spread(key), group, |group| spread(keys[*group as usize]));
        shared.panes[key as usize] += 1;
        group
    }

    /// Adds rows of a batch; gives the group of each.
    pub(crate) fn add(&mut self, shared: &mut SharedKeys, batch: &Evaluated, rows: &[u32]) -> Result<Vec<u32>> {
        let mut groups = Vec::with_capacity(rows.len());
        for row in rows {
            let key = shared.intern(batch.keys.key(*row as usize).as_ref());
            groups.push(self.enter(key, shared));
        }
        self.states.resize(self.keys.len());
        self.states.update(batch, rows, &groups)?;
        Ok(groups)
    }

    /// Adds saved groups with these keys.
    pub(crate) fn restore<'a>(&mut self, shared: &mut SharedKeys, keys: impl Iterator<Item = &'a [u8]>) -> Vec<u32> {
        let mut groups = Vec::new();
        for key in keys {
            let key = shared.intern(key);
            groups.push(self.enter(key, shared));
        }
        self.states.resize(self.keys.len());
        groups
    }

    /// Notes that these groups have changed.
    pub(crate) fn touch(&mut self, groups: &[u32]) {
        self.is_dirty.resize(self.keys.len(), false);
        for group in groups {
            if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                self.dirty.push(*group);
            }
        }
    }

    /// What has changed has been told.
    pub(crate) fn settle(&mut self) {
        for group in self.dirty.drain(..) {
            self.is_dirty[group as usize] = false;
        }
    }

    /// All groups, or those that have changed.
    pub(crate) fn groups(&self, only_dirty: bool) -> Vec<u32> {
        if only_dirty { self.dirty.clone() } else { (0..self.keys.len() as u32).collect() }
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = (self.keys.capacity() + self.dirty.capacity()) * size_of::<u32>();
        self.index.allocation_size() + numbers + self.is_dirty.capacity() + self.states.bytes()
    }
}
