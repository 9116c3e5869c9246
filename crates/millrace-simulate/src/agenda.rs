//! What is due when: a hierarchical timing wheel (Varghese and Lauck, 1987), because millions of visitors think at once
//! and a heap of them would miss the cache at every level.
//!
//! ```text
//!            now
//!   near ◀────┤ fine wheel: 4,096 slots of 16 ms (the rest of this 67 s block)
//!   (heap)    │ · · · · · · · ·┤ coarse wheel: 4,096 slots of 67 s ┤ far: beyond 76 h (heap)
//! ```
//!
//! A slot is a chain of nodes in one slab; when its turn comes it is sorted by (time, sequence), so the order is total
//! and does not depend on how callers cut the time. Costs a node of 32 bytes an entry, no other allocation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use millrace_model::Timestamp;

/// 2^14 µs = 16 ms a fine slot.
const FINE_BITS: u32 = 14;
/// 4,096 slots a wheel.
const WHEEL_BITS: u32 = 12;
const SLOTS: usize = 1 << WHEEL_BITS;
const NONE: u32 = u32::MAX;

/// Something that happens at a time. Indices are those of the owner's slab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// A product is counted for the first time.
    Opening(u32),
    /// A minute of event time is over: note the stock levels.
    Minute,
    /// All regular records of that minute have arrived: answer it.
    Close,
    /// Decide how many visitors the next second brings.
    Pace,
    /// A visitor arrives.
    Arrive,
    /// A visitor acts.
    Visit(u32),
    /// An order goes on: dispatch, refund …
    Order(u32),
    /// A held-back record arrives.
    Deliver(u32),
    /// The warehouse counts the next product.
    Round,
    /// An ordered shipment of a product arrives.
    Shipment(u32),
    /// What a restart left reserved leaves the shelf.
    Backlog(u32),
    /// A campaign may start.
    Campaign(u8),
    /// The crowd that a campaign drew to a product disperses.
    Disperse(u32),
}

#[derive(Clone, Copy)]
struct Node {
    at: i64,
    sequence: u64,
    due: Due,
    next: u32,
}

type Entry = (i64, u64, Due);

/// Entries by time, then by the order of their insertion.
pub(crate) struct Agenda {
    nodes: Vec<Node>,
    free: u32,
    fine: Vec<u32>,
    coarse: Vec<u32>,
    far: BinaryHeap<Reverse<Entry>>,
    /// Fine slot whose entries are in `current`; everything up to it goes to `near`.
    cursor: i64,
    /// Entries of the cursor's slot, last one first.
    current: Vec<Entry>,
    near: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    len: usize,
}

impl Agenda {
    pub(crate) fn new(start: Timestamp) -> Self {
        Agenda {
            nodes: Vec::new(),
            free: NONE,
            fine: vec![NONE; SLOTS],
            coarse: vec![NONE; SLOTS],
            far: BinaryHeap::new(),
            cursor: start.0 >> FINE_BITS,
            current: Vec::new(),
            near: BinaryHeap::new(),
            sequence: 0,
            len: 0,
        }
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry; at the same time, earlier ones come first.
    pub(crate) fn push(&mut self, at: Timestamp, due: Due) {
        self.sequence += 1;
        self.insert((at.0, self.sequence, due));
        self.len += 1;
    }

    /// Adds an entry that comes before all others of its time.
    pub(crate) fn push_first(&mut self, at: Timestamp, due: Due) {
        self.insert((at.0, 0, due));
        self.len += 1;
    }

    /// Takes the first entry before `until`.
    pub(crate) fn pop(&mut self, until: Timestamp) -> Option<(Timestamp, Due)> {
        loop {
            let from_current = self.current.last().copied();
            let from_near = self.near.peek().map(|Reverse(entry)| *entry);
            let entry = match (from_current, from_near) {
                (None, None) => {
                    if !self.turn(until.0) {
                        return None;
                    }
                    continue;
                }
                (Some(entry), None) | (None, Some(entry)) => entry,
                (Some(a), Some(b)) => a.min(b),
            };
            if entry.0 >= until.0 {
                return None;
            }
            if from_current == Some(entry) {
                self.current.pop();
            } else {
                self.near.pop();
            }
            self.len -= 1;
            return Some((Timestamp(entry.0), entry.2));
        }
    }

    fn insert(&mut self, entry: Entry) {
        let slot = entry.0 >> FINE_BITS;
        let block = slot >> WHEEL_BITS;
        let block_now = self.cursor >> WHEEL_BITS;
        if slot <= self.cursor {
            self.near.push(Reverse(entry));
        } else if block == block_now {
            self.chain(entry, false, slot as usize & (SLOTS - 1));
        } else if block - block_now < SLOTS as i64 {
            self.chain(entry, true, block as usize & (SLOTS - 1));
        } else {
            self.far.push(Reverse(entry));
        }
    }

    fn chain(&mut self, (at, sequence, due): Entry, coarse: bool, slot: usize) {
        let head = if coarse { &mut self.coarse[slot] } else { &mut self.fine[slot] };
        let node = Node { at, sequence, due, next: *head };
        if self.free == NONE {
            *head = u32::try_from(self.nodes.len()).expect("fewer than four billion entries");
            self.nodes.push(node);
        } else {
            *head = self.free;
            self.free = std::mem::replace(&mut self.nodes[*head as usize], node).next;
        }
    }

    /// Moves to the next slot that begins before `until` and holds something. False when there is none.
    fn turn(&mut self, until: i64) -> bool {
        let last = (until - 1) >> FINE_BITS;
        while self.cursor < last {
            let next = self.cursor + 1;
            if next & (SLOTS as i64 - 1) == 0 {
                self.open_block(next >> WHEEL_BITS);
            }
            self.cursor = next;
            let head = std::mem::replace(&mut self.fine[self.cursor as usize & (SLOTS - 1)], NONE);
            self.unchain(head, |agenda, entry| agenda.current.push(entry));
            if !self.current.is_empty() {
                self.current.sort_unstable_by(|a, b| b.cmp(a));
                return true;
            }
        }
        false
    }

    /// Spreads a coarse slot over the fine wheel, and takes from `far` what the coarse wheel now reaches.
    fn open_block(&mut self, block: i64) {
        let head = std::mem::replace(&mut self.coarse[block as usize & (SLOTS - 1)], NONE);
        self.unchain(head, |agenda, entry| {
            let slot = (entry.0 >> FINE_BITS) as usize & (SLOTS - 1);
            agenda.chain(entry, false, slot);
        });
        while let Some(Reverse(entry)) = self.far.peek().copied() {
            let far_block = entry.0 >> (FINE_BITS + WHEEL_BITS);
            if far_block - block >= SLOTS as i64 {
                break;
            }
            self.far.pop();
            self.chain(entry, true, far_block as usize & (SLOTS - 1));
        }
    }

    fn unchain(&mut self, mut head: u32, mut take: impl FnMut(&mut Self, Entry)) {
        while head != NONE {
            let node = self.nodes[head as usize];
            self.nodes[head as usize].next = self.free;
            self.free = head;
            take(self, (node.at, node.sequence, node.due));
            head = node.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn comes_out_as_a_sorted_list_would() {
        let mut dice = Dice::new(3, 0);
        let start = 1_795_355_760_000_000;
        let mut agenda = Agenda::new(Timestamp(start));
        let mut expected = BinaryHeap::new();
        let mut now = start;
        for round in 0..3_000_u32 {
            for visit in 0..dice.below(6) {
                // From the same microsecond to two weeks ahead: every wheel is used.
                let reach = [1, 1_000, 100_000, 30_000_000, 900_000_000, 1_200_000_000_000][dice.below(6) as usize];
                let at = now + dice.between(0, reach);
                agenda.push(Timestamp(at), Due::Visit(round * 6 + visit));
                expected.push(Reverse((at, round * 6 + visit)));
            }
            let until = now + dice.between(0, 200_000_000);
            while let Some((at, due)) = agenda.pop(Timestamp(until)) {
                let Reverse((wanted_at, wanted)) = expected.pop().expect("as many as were pushed");
                assert_eq!((at.0, due), (wanted_at, Due::Visit(wanted)));
                now = at.0;
            }
            assert!(expected.peek().is_none_or(|Reverse((at, _))| *at >= until));
            now = now.max(until - 1);
            assert_eq!(agenda.len(), expected.len());
        }
    }

    #[test]
    fn first_means_first() {
        let mut agenda = Agenda::new(Timestamp(0));
        agenda.push(Timestamp(60_000_000), Due::Pace);
        agenda.push_first(Timestamp(60_000_000), Due::Minute);
        assert_eq!(agenda.pop(Timestamp(60_000_000)), None);
        assert_eq!(agenda.pop(Timestamp(60_000_001)), Some((Timestamp(60_000_000), Due::Minute)));
        assert_eq!(agenda.pop(Timestamp(60_000_001)), Some((Timestamp(60_000_000), Due::Pace)));
    }
}
