//! The index: which sessions hold an item, what a session holds, what follows an item. A click costs the same however much is kept.
//!
//! ```text
//!  item    ─▶ ring of the newest sessions that hold it     [ 17, 31, 32, 40 ]   numbers of sessions, newest last
//!  session ─▶ its clicks, in order                          40: a b a c          slot = number modulo capacity
//!  item    ─▶ successors with weights (sequential rules)    a: b 1.0  c 0.83 …   at most `successors_max`
//! ```
//!
//! A session's number only grows; it is the slot and the slot's generation in one. A ring entry is alive while its number is
//! not below `first`: when a slot is used again or a session passes the horizon, `first` moves on, and the entries that named
//! it are dead without being looked for. Method: VMIS-kNN (Kersbergen et al., "Serenade", SIGMOD 2022), made incremental.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::Timestamp;

use super::settings::IndexSettings;
use super::stored::{Bytes, RestoreError, Stored, stored_fields};
use super::transitions::Successors;

/// Places back in a session that a return is counted by.
pub(crate) const RETURN_PLACES: usize = 16;

/// What a visitor did to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Looked at it.
    View,
    /// Put it into the cart.
    Cart,
    /// Bought it.
    Purchase,
}

const ACTION_SHIFT: u32 = 30;
const ITEM_MASK: u32 = (1 << ACTION_SHIFT) - 1;

/// An item with what was done to it, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step(pub(crate) u32);

impl Step {
    pub(crate) fn new(item: u32, action: Action) -> Self {
        let code = match action {
            Action::View => 0,
            Action::Cart => 1,
            Action::Purchase => 2,
        };
        Step((item & ITEM_MASK) | (code << ACTION_SHIFT))
    }

    /// The item's number.
    pub(crate) fn item(self) -> u32 {
        self.0 & ITEM_MASK
    }

    /// The same, of an item's other number.
    pub(crate) fn renumbered(self, item: u32) -> Self {
        Step((self.0 & !ITEM_MASK) | (item & ITEM_MASK))
    }

    /// More than a look.
    pub(crate) fn is_strong(self) -> bool {
        self.0 >> ACTION_SHIFT != 0
    }
}

impl Stored for Step {
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Step(u32::restore(from)?))
    }
}

/// A session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) steps: Vec<Step>,
    pub(crate) name: Arc<str>,
    pub(crate) began: Timestamp,
    pub(crate) last: Timestamp,
}
stored_fields!(Session { steps, name, began, last });

/// What is known of an item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// Newest sessions that hold it; `ring[head]` is the oldest once the ring is full.
    pub(crate) ring: Vec<u32>,
    pub(crate) head: u32,
    /// Sessions that held it since it is known.
    pub(crate) sessions: u32,
    pub(crate) successors: Successors,
    pub(crate) last: Timestamp,
}
stored_fields!(Item { ring, head, sessions, successors, last });

impl Item {
    fn push(&mut self, session: u32, sessions_max: usize) {
        self.sessions = self.sessions.saturating_add(1);
        if self.ring.len() < sessions_max {
            self.ring.push(session);
        } else if let Some(place) = self.ring.get_mut(self.head as usize) {
            *place = session;
            self.head = (self.head + 1) % sessions_max as u32;
        }
    }

    /// Sessions, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = u32> + '_ {
        let (newer, older) = self.ring.split_at(self.head as usize);
        newer.iter().rev().chain(older.iter().rev()).copied()
    }
}

/// The index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) settings: IndexSettings,
    pub(crate) items: Vec<Item>,
    /// Slots; a power of two once all are used.
    pub(crate) slots: Vec<Session>,
    /// Minutes since the epoch of each slot's last click, beside the slots: ages are compared without touching them.
    pub(crate) last_minutes: Vec<u32>,
    pub(crate) by_name: HashMap<Arc<str>, u32>,
    /// Number of the oldest session alive.
    pub(crate) first: u32,
    /// Number the next session gets.
    pub(crate) next: u32,
    /// Returns to an item n places back, and how often there was one to return to.
    pub(crate) returns: [(f32, f32); RETURN_PLACES],
    pub(crate) now: Timestamp,
}

/// Whole minutes since the epoch.
pub(crate) fn minutes(time: Timestamp) -> u32 {
    time.0.div_euclid(60_000_000).clamp(0, i64::from(u32::MAX)) as u32
}

impl Index {
    pub(crate) fn new(settings: IndexSettings) -> Self {
        Index {
            settings,
            items: Vec::new(),
            slots: Vec::new(),
            last_minutes: Vec::new(),
            by_name: HashMap::new(),
            first: 0,
            next: 0,
            returns: [(0.0, 0.0); RETURN_PLACES],
            now: Timestamp(i64::MIN),
        }
    }

    fn capacity(&self) -> u32 {
        self.settings.sessions_max.clamp(1, 1 << 30).next_power_of_two() as u32
    }

    /// The slot of a session's number.
    pub(crate) fn slot(&self, session: u32) -> usize {
        (session & (self.capacity() - 1)) as usize
    }

    pub(crate) fn session(&self, session: u32) -> &Session {
        &self.slots[self.slot(session)]
    }

    pub(crate) fn is_alive(&self, session: u32) -> bool {
        session >= self.first
    }

    /// Sessions alive.
    pub(crate) fn sessions(&self) -> u32 {
        self.next - self.first
    }

    /// The session of a name, if it is alive.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied().filter(|session| self.is_alive(*session))
    }

    /// Takes a click in. Clicks come in the order of their event time, or nearly.
    pub(crate) fn click(&mut self, name: &str, item: u32, action: Action, time: Timestamp) {
        self.advance(time);
        if self.items.len() <= item as usize {
            self.items.resize_with(item as usize + 1, Item::default);
        }
        let gap = self.settings.session_gap_micros;
        let open = self.find(name).filter(|open| gap == 0 || time.0 - self.session(*open).last.0 <= gap);
        let session = open.unwrap_or_else(|| self.begin(name, time));
        self.append(session, Step::new(item, action), time);
    }

    /// Event time goes on: what lies beyond the horizon is forgotten.
    pub(crate) fn advance(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
        while self.first < self.next {
            let slot = self.slot(self.first);
            if self.now.0.saturating_sub(self.slots[slot].began.0) <= self.settings.horizon_micros {
                break;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let slot = self.slot(self.first);
        let session = std::mem::take(&mut self.slots[slot]);
        if self.by_name.get(&session.name) == Some(&self.first) {
            self.by_name.remove(&session.name);
        }
        self.first += 1;
    }

    fn begin(&mut self, name: &str, time: Timestamp) -> u32 {
        if self.next == u32::MAX {
            self.renumber();
        }
        if self.sessions() == self.capacity() {
            self.forget_first();
        }
        let number = self.next;
        self.next += 1;
        let slot = self.slot(number);
        let name: Arc<str> = Arc::from(name);
        let session = Session { steps: Vec::with_capacity(4), name: name.clone(), began: time, last: time };
        if slot < self.slots.len() {
            self.slots[slot] = session;
            self.last_minutes[slot] = minutes(time);
        } else {
            self.slots.push(session);
            self.last_minutes.push(minutes(time));
        }
        self.by_name.insert(name, number);
        number
    }

    fn append(&mut self, session: u32, step: Step, time: Timestamp) {
        let slot = self.slot(session);
        let item = step.item();
        let place = &mut self.slots[slot];
        place.last = place.last.max(time);
        self.last_minutes[slot] = minutes(place.last);
        let before = place.steps.len();
        self.items[item as usize].last = time;
        // A cart or a purchase of what this session looked at says more of it, not that something follows it.
        if step.is_strong()
            && let Some(held) = place.steps.iter_mut().rev().find(|held| held.item() == item)
        {
            held.0 = held.0.max(step.0);
            return;
        }
        count_returns(&mut self.returns, &place.steps, item);
        if place.steps.last().is_some_and(|last| last.item() == item) {
            return;
        }
        for distance in 1..=self.settings.successor_steps.min(before) {
            let from = place.steps[before - distance].item();
            if from != item {
                let row = &mut self.items[from as usize].successors;
                row.add(item, 1.0 / distance as f32, self.settings.successors_max);
            }
        }
        let known = place.steps.iter().any(|known| known.item() == item);
        if before >= self.settings.clicks_of_session_max.max(1) {
            place.steps.remove(0);
        }
        place.steps.push(step);
        if !known {
            self.items[item as usize].push(session, self.settings.sessions_of_item_max.max(1));
        }
    }

    /// Items get other numbers, all from 0 without a gap and in the old order; what has none is forgotten.
    pub(crate) fn renumber_items(&mut self, numbers: &[Option<u32>]) {
        let items = std::mem::take(&mut self.items);
        self.items =
            items.into_iter().zip(numbers).filter(|(_, number)| number.is_some()).map(|(item, _)| item).collect();
        self.items.iter_mut().for_each(|item| item.successors.renumber(numbers));
        for session in &mut self.slots {
            session.steps.retain_mut(|step| match numbers[step.item() as usize] {
                Some(number) => {
                    *step = step.renumbered(number);
                    true
                }
                None => false,
            });
        }
    }

    /// After four thousand million sessions the numbers begin again.
    fn renumber(&mut self) {
        // A multiple of the capacity is taken off, so that every session keeps its slot.
        let capacity = self.capacity();
        let shift = self.first - self.first % capacity;
        for item in &mut self.items {
            let alive: Vec<u32> = item.newest().filter(|session| *session >= self.first).map(|s| s - shift).collect();
            item.ring = alive.into_iter().rev().collect();
            item.head = 0;
        }
        self.by_name.retain(|_, session| *session >= self.first);
        self.by_name.values_mut().for_each(|session| *session -= shift);
        self.first -= shift;
        self.next -= shift;
    }
}

impl Index {
    /// Appends all but the settings.
    pub(crate) fn store(&self, out: &mut Vec<u8>) {
        self.items.store(out);
        (self.first, self.next).store(out);
        for session in self.first..self.next {
            self.session(session).store(out);
        }
        self.returns.to_vec().store(out);
        self.now.store(out);
    }

    /// Reads back what an index of the same settings stored.
    pub(crate) fn restore(settings: IndexSettings, from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let mut index = Index::new(settings);
        index.items = Stored::restore(from)?;
        (index.first, index.next) = Stored::restore(from)?;
        if index.next < index.first || index.next - index.first > index.capacity() {
            return Err(RestoreError::Unreadable("the number of sessions"));
        }
        let slots = index.next.min(index.capacity()) as usize;
        index.slots.resize_with(slots, Session::default);
        index.last_minutes.resize(slots, 0);
        for number in index.first..index.next {
            let session = Session::restore(from)?;
            if session.steps.iter().any(|step| step.item() as usize >= index.items.len()) {
                return Err(RestoreError::Unreadable("an item of a session"));
            }
            let slot = index.slot(number);
            index.last_minutes[slot] = minutes(session.last);
            // A later session of the same name is the one that goes on.
            index.by_name.insert(session.name.clone(), number);
            index.slots[slot] = session;
        }
        let returns = Vec::<(f32, f32)>::restore(from)?;
        index.returns = returns.try_into().map_err(|_| RestoreError::Unreadable("the returns"))?;
        index.now = Stored::restore(from)?;
        Ok(index)
    }
}

/// How often visitors come back to what they saw n places back.
fn count_returns(returns: &mut [(f32, f32); RETURN_PLACES], steps: &[Step], item: u32) {
    let mut places = 0;
    for (at, step) in steps.iter().enumerate().rev() {
        if places == RETURN_PLACES {
            break;
        }
        if steps[at + 1..].iter().any(|later| later.item() == step.item()) {
            continue;
        }
        let (back, there) = &mut returns[places];
        *there += 1.0;
        if step.item() == item {
            *back += 1.0;
        }
        if *there > 1e6 {
            *there *= 0.5;
            *back *= 0.5;
        }
        places += 1;
    }
}
