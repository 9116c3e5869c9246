//! Which sessions are open: by key, and by the time they may close.
//!
//! ```text
//!  key        first            sessions of a key, by start, each with the slot of the one after it
//!   0 ann      2 ─▶ slot 2 [10:00, 10:40) ─▶ slot 5 [11:02, 11:32)
//!   1 bob      0 ─▶ slot 0 [10:07, 10:37)
//!
//!  second     slots            a session is in the list of the second in which it would have closed when it was entered;
//!   10:30:00   2 …             found there it closes, or moves to the list of the second in which it would now
//!   10:37:12   0 …
//! ```
//!
//! So an event that makes a session longer costs no more than finding the session.

use std::collections::BTreeMap;

use datafusion::common::Result;
use millrace_model::time::SECOND_MICROS;

/// An open session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The number of its key; [`NONE`] when it has become a part of another session.
    pub(crate) key: u32,
    /// Its place here, and its group in the states.
    pub(crate) slot: u32,
    /// The next session of the key.
    next: u32,
}

/// No slot, or no key.
const NONE: u32 = u32::MAX;

/// Open sessions.
#[derive(Default)]
pub(crate) struct OpenSessions {
    /// By slot: open ones, those that became a part of another and have not been met in `ends` since, and free ones.
    sessions: Vec<Session>,
    /// First session of each key, by the number of the key.
    first: Vec<u32>,
    free: Vec<u32>,
    open: usize,
    /// Every session that is not free is in one list: that of a second in which it ends, or before.
    ends: BTreeMap<i64, Vec<u32>>,
}

fn second_of(time: i64) -> i64 {
    time.div_euclid(SECOND_MICROS)
}

impl OpenSessions {
    /// Slots given out so far, in use or free.
    pub(crate) fn slots(&self) -> usize {
        self.sessions.len()
    }

    /// Open sessions.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Has this key an open session?
    pub(crate) fn has(&self, key: u32) -> bool {
        self.first[key as usize] != NONE
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        let slots = self.first.capacity() + self.free.capacity() + self.sessions.len() - self.free.len();
        self.sessions.capacity() * size_of::<Session>() + slots * size_of::<u32>() + self.ends.len() * 48
    }

    /// Puts a window `[start, end)` among the sessions of its key; gives the slot of the session it belongs to. Sessions it
    /// joins become parts of the first of them: `join(from, into, slots)` is told for each, `slots` being how many there are.
    ///
    /// # Errors
    /// What `join` says.
    pub(crate) fn place(
        &mut self,
        key: u32,
        start: i64,
        end: i64,
        mut join: impl FnMut(u32, u32, usize) -> Result<()>,
    ) -> Result<u32> {
        if self.first.len() <= key as usize {
            self.first.resize(key as usize + 1, NONE);
        }
        let (mut before, mut at) = (NONE, self.first[key as usize]);
        while at != NONE && self.sessions[at as usize].end < start {
            (before, at) = (at, self.sessions[at as usize].next);
        }
        if at == NONE || self.sessions[at as usize].start > end {
            let slot = self.enter(Session { start, end, key, slot: NONE, next: at });
            match before {
                NONE => self.first[key as usize] = slot,
                before => self.sessions[before as usize].next = slot,
            }
            return Ok(slot);
        }
        let slots = self.slots();
        let mut joined = self.sessions[at as usize];
        (joined.start, joined.end) = (joined.start.min(start), joined.end.max(end));
        while joined.next != NONE && self.sessions[joined.next as usize].start <= end {
            let other = &mut self.sessions[joined.next as usize];
            joined.end = joined.end.max(other.end);
            joined.next = other.next;
            other.key = NONE;
            self.open -= 1;
            join(other.slot, at, slots)?;
        }
        self.sessions[at as usize] = joined;
        Ok(at)
    }

    /// Gives a session a slot, and enters it where it will be met when it may close.
    fn enter(&mut self, mut session: Session) -> u32 {
        self.open += 1;
        let list = self.ends.entry(second_of(session.end)).or_default();
        match self.free.pop() {
            Some(slot) => {
                session.slot = slot;
                self.sessions[slot as usize] = session;
            }
            None => {
                session.slot = u32::try_from(self.sessions.len()).expect("groups_max is far below 2^32");
                self.sessions.push(session);
            }
        }
        list.push(session.slot);
        session.slot
    }

    /// Takes out the sessions that end by this time. Their slots may be given out again from the next [`place`](Self::place).
    pub(crate) fn close(&mut self, until: i64) -> Vec<Session> {
        let mut closed = Vec::new();
        let mut waiting = Vec::new();
        while let Some(entry) = self.ends.first_entry()
            && *entry.key() <= second_of(until)
        {
            for slot in entry.remove() {
                let session = self.sessions[slot as usize];
                if session.key == NONE {
                    self.free.push(slot);
                } else if session.end <= until {
                    self.take_out(session);
                    closed.push(session);
                } else if second_of(session.end) > second_of(until) {
                    self.ends.entry(second_of(session.end)).or_default().push(slot);
                } else {
                    waiting.push(slot);
                }
            }
        }
        if !waiting.is_empty() {
            self.ends.insert(second_of(until), waiting);
        }
        closed
    }

    fn take_out(&mut self, session: Session) {
        let first = &mut self.first[session.key as usize];
        if *first == session.slot {
            *first = session.next;
        } else {
            let mut before = *first;
            while self.sessions[before as usize].next != session.slot {
                before = self.sessions[before as usize].next;
            }
            self.sessions[before as usize].next = session.next;
        }
        self.free.push(session.slot);
        self.open -= 1;
    }

    /// All of them, by the number of their key and start.
    pub(crate) fn all(&self) -> Vec<Session> {
        let mut all = Vec::with_capacity(self.open);
        for first in &self.first {
            let mut at = *first;
            while at != NONE {
                all.push(self.sessions[at as usize]);
                at = self.sessions[at as usize].next;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions of a few keys by the slow way: windows of one key that touch are one session.
    #[derive(Default)]
    struct Slow(Vec<(u32, i64, i64)>);

    impl Slow {
        fn place(&mut self, key: u32, mut start: i64, mut end: i64) {
            self.0.retain(|(k, s, e)| {
                let touches = *k == key && *s <= end && *e >= start;
                if touches {
                    (start, end) = (start.min(*s), end.max(*e));
                }
                !touches
            });
            self.0.push((key, start, end));
        }

        fn close(&mut self, until: i64) -> Vec<(u32, i64, i64)> {
            let (closed, open) = self.0.iter().partition(|(_, _, end)| *end <= until);
            self.0 = open;
            closed
        }
    }

    fn sorted(sessions: Vec<Session>) -> Vec<(u32, i64, i64)> {
        let mut plain: Vec<_> = sessions.iter().map(|session| (session.key, session.start, session.end)).collect();
        plain.sort_unstable();
        plain
    }

    #[test]
    fn sessions_are_those_of_the_slow_way_and_slots_are_not_shared() {
        // A generator of its own: the same steps each time.
        let mut dice = 1_u64;
        let mut roll = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((dice >> 33) % below).expect("small")
        };
        let (mut fast, mut slow, mut until) = (OpenSessions::default(), Slow::default(), 0);
        let mut joins = 0;
        for step in 0..200_000 {
            let key = roll(7) as u32;
            let start = until + roll(40_000_000) - 5_000_000;
            let end = start + 1 + roll(4_000_000);
            if end > until {
                slow.place(key, start, end);
                fast.place(key, start, end, |from, into, slots| {
                    assert!(from != into && (from.max(into) as usize) < slots);
                    joins += 1;
                    Ok(())
                })
                .expect("joined");
            }
            if step % 13 == 0 {
                until += roll(9_000_000);
                let mut expected = slow.close(until);
                expected.sort_unstable();
                assert_eq!(sorted(fast.close(until)), expected, "step {step}");
            }
            if step % 1_000 == 0 {
                let mut expected = slow.0.clone();
                expected.sort_unstable();
                let all = fast.all();
                let mut slots: Vec<u32> = all.iter().map(|session| session.slot).collect();
                slots.sort_unstable();
                slots.dedup();
                assert_eq!((slots.len(), fast.len()), (all.len(), all.len()), "step {step}");
                assert_eq!(sorted(all), expected, "step {step}");
            }
        }
        assert!(joins > 1_000, "{joins} joins");
        assert!(fast.slots() < 1_000, "{} slots for few open sessions", fast.slots());
    }
}
