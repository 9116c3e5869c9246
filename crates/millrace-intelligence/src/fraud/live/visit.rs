//! What somebody did in the shop before they pay: how long they looked, and what happened to the account.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::entity::{HOUR, MINUTE};
use super::event::{Origin, UserEvent, hash};
use crate::recommend::stored::{Bytes, RestoreError, Stored, stored_fields};

/// A visit ends after this long without an event.
const GAP: i64 = 30 * MINUTE;
/// A visit is forgotten after this long.
const KEEP: i64 = HOUR;
/// Events of a visit that may become evidence.
const MARKS_MAX: usize = 12;

/// An event that may become evidence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) event_id: Arc<str>,
    pub(super) event_type: Arc<str>,
    pub(super) time: i64,
    pub(super) partition: i64,
    pub(super) offset: i64,
}
stored_fields!(Mark { event_id, event_type, time, partition, offset });

/// One visit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Visit {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) events: u32,
    pub(super) products: u32,
    pub(super) failed_sign_ins: u32,
    pub(super) password_changed: Option<i64>,
    pub(super) address_changed: Option<i64>,
    pub(super) signed_up: Option<i64>,
    pub(super) marks: VecDeque<Mark>,
}
stored_fields!(Visit {
    first,
    last,
    events,
    products,
    failed_sign_ins,
    password_changed,
    address_changed,
    signed_up,
    marks
});

/// The visits under way, by visitor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Visits {
    of: HashMap<u64, Visit>,
    still: BTreeSet<(i64, u64)>,
}

/// The number of a visitor.
pub(super) fn visitor(anonymous_id: &str) -> u64 {
    hash(b'v', anonymous_id)
}

impl Visits {
    pub(super) fn get(&self, visitor: u64, now: i64) -> Option<&Visit> {
        self.of.get(&visitor).filter(|visit| now - visit.last < GAP)
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn add(&mut self, event: &UserEvent, time: i64, origin: Origin<'_>, most: usize) {
        let id = visitor(&event.anonymous_id);
        let visit = self.of.entry(id).or_insert_with(|| Visit { first: time, last: time, ..Visit::default() });
        self.still.remove(&(visit.last, id));
        if time - visit.last >= GAP {
            *visit = Visit { first: time, last: time, ..Visit::default() };
        }
        visit.last = visit.last.max(time);
        visit.events += 1;
        let kind = event.event_type.as_str();
        match kind {
            "product_viewed" => visit.products += 1,
            "sign_in_failed" => visit.failed_sign_ins += 1,
            "password_changed" => visit.password_changed = Some(time),
            "address_changed" => visit.address_changed = Some(time),
            "signed_up" => visit.signed_up = Some(time),
            _ => {}
        }
        if matches!(kind, "sign_in_failed" | "password_changed" | "address_changed" | "signed_up") {
            visit.marks.push_back(Mark {
                event_id: Arc::from(event.event_id.as_str()),
                event_type: Arc::from(kind),
                time,
                partition: i64::from(origin.partition),
                offset: origin.offset,
            });
            if visit.marks.len() > MARKS_MAX {
                visit.marks.pop_front();
            }
        }
        let newest = visit.last;
        self.still.insert((newest, id));
        while let Some((last, oldest)) = self.still.first().copied()
            && (self.of.len() > most || last < newest - KEEP)
        {
            self.still.pop_first();
            self.of.remove(&oldest);
        }
    }
}

impl Stored for Visits {
    fn store(&self, out: &mut Vec<u8>) {
        self.of.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let of = HashMap::<u64, Visit>::restore(from)?;
        let still = of.iter().map(|(id, visit)| (visit.last, *id)).collect();
        Ok(Visits { of, still })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_ends_with_a_pause_and_the_oldest_go_first() {
        let mut visits = Visits::default();
        let origin = Origin { topic: "user_events", partition: 1, offset: 5 };
        let event = |kind: &str, who: &str| UserEvent {
            event_id: "e".into(),
            event_type: kind.into(),
            anonymous_id: who.into(),
            ..UserEvent::default()
        };
        for kind in ["sign_in_failed", "sign_in_failed", "password_changed", "product_viewed"] {
            visits.add(&event(kind, "a"), MINUTE, origin, 10);
        }
        let visit = visits.get(visitor("a"), 2 * MINUTE).expect("a visit");
        assert_eq!((visit.events, visit.failed_sign_ins, visit.products, visit.marks.len()), (4, 2, 1, 3));
        assert!(visits.get(visitor("a"), 40 * MINUTE).is_none(), "over");
        visits.add(&event("product_viewed", "a"), 40 * MINUTE, origin, 10);
        assert_eq!(visits.get(visitor("a"), 40 * MINUTE).map(|visit| visit.failed_sign_ins), Some(0));
        for who in ["b", "c", "d"] {
            visits.add(&event("page_viewed", who), 41 * MINUTE, origin, 2);
        }
        assert_eq!(visits.len(), 2);
    }
}
