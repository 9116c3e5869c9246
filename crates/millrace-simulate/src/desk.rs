//! Where every record leaves the shop: decides how it travels, holds back what comes later, counts the minute.
//!
//! ```text
//!  write JSON ──▶ text (one buffer) ──▶ waiting (places in it) ──flush, each 64 kB──▶ Records sharing one chunk
//!                   │ out of order, duplicate                 ▲
//!                   └──▶ parcel (own copy) ──agenda──▶ deliver┘
//! ```

use std::ops::Range;

use bytes::Bytes;
use millrace_model::Timestamp;

use crate::agenda::{Agenda, Due};
use crate::dice::Dice;
use crate::json::Clockface;
use crate::ledger::{Ledger, Tally};
use crate::malformed;
use crate::record::{Delivery, Record, Topic};
use crate::settings::Disorder;

/// Text is handed out in chunks of about this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Younger than this, a shop sends nothing late: its consumers know no time yet to be late against.
const PUNCTUAL_MICROS: i64 = 60_000_000;

/// How a record is going to travel, thrown before it is written because its event time depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) event_time: Timestamp,
    delivery: Delivery,
}

impl Stamp {
    /// False for a record that no window counts.
    pub(crate) fn counts(self) -> bool {
        self.delivery != Delivery::Late
    }
}

/// What has been sent that a good network would not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct DisorderTotals {
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) malformed: u64,
}

#[derive(Clone)]
struct Waiting {
    topic: Topic,
    delivery: Delivery,
    span: Range<u32>,
    key: Range<u32>,
    event_time: Timestamp,
    arrival: Timestamp,
}

struct Parcel {
    topic: Topic,
    delivery: Delivery,
    value: Box<[u8]>,
    key: Range<u32>,
    event_time: Timestamp,
    tally: Tally,
    arrival: Timestamp,
}

/// The way out.
pub(crate) struct Desk {
    /// JSON of the records not flushed yet.
    pub(crate) text: Vec<u8>,
    pub(crate) clock: Clockface,
    pub(crate) ledger: Ledger,
    pub(crate) totals: DisorderTotals,
    /// Source records sent, ever: what the pace is set by.
    pub(crate) sent: u64,
    waiting: Vec<Waiting>,
    parcels: Vec<Option<Parcel>>,
    free: Vec<u32>,
    disorder: Disorder,
    late_from: Timestamp,
}

impl Desk {
    pub(crate) fn new(disorder: Disorder, opened: Timestamp, ledger: Ledger, totals: DisorderTotals) -> Self {
        Desk {
            text: Vec::with_capacity(CHUNK_BYTES + 8 * 1024),
            clock: Clockface::new(),
            ledger,
            totals,
            sent: 0,
            waiting: Vec::new(),
            parcels: Vec::new(),
            free: Vec::new(),
            disorder,
            late_from: Timestamp(opened.0 + PUNCTUAL_MICROS),
        }
    }

    /// Records held back.
    pub(crate) fn in_transit(&self) -> usize {
        self.parcels.len() - self.free.len()
    }

    /// Throws how the next record travels.
    pub(crate) fn stamp(&self, topic: Topic, now: Timestamp, dice: &mut Dice) -> Stamp {
        let disorder = &self.disorder;
        let throw = dice.unit();
        let late = if topic == Topic::InventoryUpdates || now < self.late_from { 0.0 } else { disorder.late };
        let (duplicate, out_of_order) =
            (late + disorder.duplicates, late + disorder.duplicates + disorder.out_of_order);
        if throw < late {
            let age = dice.between(disorder.late_min, disorder.late_max + 1);
            Stamp { event_time: Timestamp(now.0 - age), delivery: Delivery::Late }
        } else if throw < duplicate {
            Stamp { event_time: now, delivery: Delivery::Duplicate }
        } else if throw < out_of_order {
            Stamp { event_time: now, delivery: Delivery::OutOfOrder }
        } else {
            Stamp { event_time: now, delivery: Delivery::Regular }
        }
    }

    /// Sends the source record whose text begins at `start`; `key` is a part of that text.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call site a topic; a struct of these would only be unpacked again"
    )]
    pub(crate) fn post(
        &mut self,
        topic: Topic,
        start: usize,
        key: Range<usize>,
        stamp: Stamp,
        now: Timestamp,
        tally: Tally,
        agenda: &mut Agenda,
        dice: &mut Dice,
    ) {
        let key = (key.start - start) as u32..(key.end - start) as u32;
        let event_time = stamp.event_time;
        match stamp.delivery {
            Delivery::OutOfOrder => {
                let at = Timestamp(
                    now.0 + dice.between(self.disorder.out_of_order_max / 20, self.disorder.out_of_order_max),
                );
                self.hold(topic, stamp.delivery, start, key, event_time, tally, at, agenda);
                self.text.truncate(start);
                return;
            }
            Delivery::Duplicate => {
                let at = Timestamp(now.0 + dice.between(1, self.disorder.duplicate_within));
                self.hold(topic, stamp.delivery, start, key.clone(), event_time, Tally::Nothing, at, agenda);
                self.wait(topic, Delivery::Regular, start, &key, event_time, now);
                self.ledger.count(event_time, tally);
            }
            Delivery::Late => {
                self.totals.late += 1;
                self.wait(topic, Delivery::Late, start, &key, event_time, now);
                return;
            }
            Delivery::Regular | Delivery::Malformed => {
                self.wait(topic, Delivery::Regular, start, &key, event_time, now);
                self.ledger.count(event_time, tally);
            }
        }
        if self.disorder.malformed > 0.0 && dice.chance(self.disorder.malformed) {
            self.break_copy(topic, start, &key, event_time, now, dice);
        }
    }

    /// Sends an answer; answers always travel well.
    pub(crate) fn answer(&mut self, start: usize, key: Range<usize>, event_time: Timestamp, now: Timestamp) {
        let key = (key.start - start) as u32..(key.end - start) as u32;
        self.wait(Topic::AnswerKey, Delivery::Regular, start, &key, event_time, now);
        self.sent -= 1;
    }

    /// A held-back record arrives.
    pub(crate) fn deliver(&mut self, at: u32, now: Timestamp) {
        let Some(parcel) = self.parcels[at as usize].take() else { return };
        self.free.push(at);
        let start = self.text.len();
        self.text.extend_from_slice(&parcel.value);
        self.wait(parcel.topic, parcel.delivery, start, &parcel.key, parcel.event_time, now);
        if parcel.delivery == Delivery::Duplicate {
            self.totals.duplicates += 1;
        } else {
            self.ledger.count(parcel.event_time, parcel.tally);
        }
    }

    /// Delivers all that is held back, in the order of arrival; gives the time of the last.
    pub(crate) fn deliver_all(&mut self) -> Option<Timestamp> {
        let held = (0..).zip(&self.parcels).filter_map(|(at, parcel)| Some((parcel.as_ref()?.arrival, at)));
        let mut arrivals: Vec<(Timestamp, u32)> = held.collect();
        arrivals.sort_unstable();
        for (arrival, at) in &arrivals {
            self.deliver(*at, *arrival);
        }
        arrivals.last().map(|(arrival, _)| *arrival)
    }

    /// True when it is time to flush.
    pub(crate) fn full(&self) -> bool {
        self.text.len() >= CHUNK_BYTES
    }

    /// Hands out what waits.
    pub(crate) fn flush(&mut self, out: &mut Vec<Record>) {
        if self.waiting.is_empty() {
            return;
        }
        let chunk = Bytes::copy_from_slice(&self.text);
        self.text.clear();
        let slice = |range: &Range<u32>| chunk.slice(range.start as usize..range.end as usize);
        out.extend(self.waiting.drain(..).map(|waiting| Record {
            topic: waiting.topic,
            key: slice(&waiting.key),
            value: slice(&waiting.span),
            event_time: waiting.event_time,
            arrival: waiting.arrival,
            delivery: waiting.delivery,
        }));
    }

    fn wait(
        &mut self,
        topic: Topic,
        delivery: Delivery,
        start: usize,
        key: &Range<u32>,
        event_time: Timestamp,
        now: Timestamp,
    ) {
        let from = start as u32;
        let span = from..self.text.len() as u32;
        let key = from + key.start..from + key.end;
        self.waiting.push(Waiting { topic, delivery, span, key, event_time, arrival: now });
        self.sent += 1;
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a parcel")]
    fn hold(
        &mut self,
        topic: Topic,
        delivery: Delivery,
        start: usize,
        key: Range<u32>,
        event_time: Timestamp,
        tally: Tally,
        at: Timestamp,
        agenda: &mut Agenda,
    ) {
        let value = self.text[start..].into();
        let parcel = Some(Parcel { topic, delivery, value, key, event_time, tally, arrival: at });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.parcels.push(None);
            (self.parcels.len() - 1) as u32
        });
        self.parcels[slot as usize] = parcel;
        agenda.push(at, Due::Deliver(slot));
    }

    /// A broken copy of the record at `start` goes out behind it, with the same key.
    fn break_copy(
        &mut self,
        topic: Topic,
        start: usize,
        key: &Range<u32>,
        event_time: Timestamp,
        now: Timestamp,
        dice: &mut Dice,
    ) {
        let original = self.text[start..].to_vec();
        let copy_start = self.text.len();
        malformed::write(&mut self.text, &original, event_time, dice);
        let span = copy_start as u32..self.text.len() as u32;
        let from = start as u32;
        let key = from + key.start..from + key.end;
        let delivery = Delivery::Malformed;
        self.waiting.push(Waiting { topic, delivery, span, key, event_time, arrival: now });
        self.sent += 1;
        self.totals.malformed += 1;
    }
}
