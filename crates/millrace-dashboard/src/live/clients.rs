//! The pages that follow events: how many there may be, and what was sent to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;

/// Counts and seats.
pub(crate) struct Clients {
    seats_max: usize,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    seated: AtomicUsize,
    entered: AtomicU64,
    refused: AtomicU64,
    snapshots: AtomicU64,
    deltas: AtomicU64,
    heartbeats: AtomicU64,
    bytes: AtomicU64,
    delay_micros: AtomicU64,
}

/// A page's right to follow; given back when dropped.
pub(crate) struct Seat(Arc<Tally>);

/// What was delivered since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Pages that follow now.
    pub(crate) clients: usize,
    /// Pages that ever did.
    pub(crate) entered: u64,
    /// Pages turned away at the limit.
    pub(crate) refused: u64,
    /// Snapshots sent.
    pub(crate) snapshots: u64,
    /// Changes sent.
    pub(crate) deltas: u64,
    /// Heartbeats sent.
    pub(crate) heartbeats: u64,
    /// Bytes of all events.
    pub(crate) bytes: u64,
    /// From a row's arrival to the last change sent, microseconds.
    pub(crate) delay_micros: u64,
}

/// What an event is, for the count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Snapshot,
    Delta,
    Heartbeat,
}

impl Clients {
    /// Nobody yet, and room for so many.
    pub(crate) fn new(seats_max: usize) -> Self {
        Clients { seats_max, tally: Arc::default() }
    }

    /// A seat, unless all are taken.
    pub(crate) fn enter(&self) -> Option<Seat> {
        let take = |seated: usize| (seated < self.seats_max).then_some(seated + 1);
        if self.tally.seated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.tally.entered.fetch_add(1, Ordering::Relaxed);
        Some(Seat(self.tally.clone()))
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        let tally = &self.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            clients: tally.seated.load(Ordering::Relaxed),
            entered: read(&tally.entered),
            refused: read(&tally.refused),
            snapshots: read(&tally.snapshots),
            deltas: read(&tally.deltas),
            heartbeats: read(&tally.heartbeats),
            bytes: read(&tally.bytes),
            delay_micros: read(&tally.delay_micros),
        }
    }
}

impl Seat {
    /// Counts an event.
    pub(super) fn sent(&self, kind: Kind, bytes: usize) {
        let count = match kind {
            Kind::Snapshot => &self.0.snapshots,
            Kind::Delta => &self.0.deltas,
            Kind::Heartbeat => &self.0.heartbeats,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes how old the newest row of a change was when it was sent.
    pub(super) fn delayed(&self, micros: u64) {
        self.0.delay_micros.store(micros, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seated.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_back() {
        let clients = Clients::new(2);
        let first = clients.enter().expect("a seat");
        let second = clients.enter().expect("a seat");
        assert!(clients.enter().is_none());
        drop(first);
        let third = clients.enter().expect("a seat");
        assert_eq!(clients.counts(), Counts { clients: 2, entered: 3, refused: 1, ..Counts::default() });
        drop((second, third));
        assert_eq!(clients.counts().clients, 0);
    }
}
