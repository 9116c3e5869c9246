//! Ids: numbers inside, opaque texts outside; none is given twice, not even after a restart.
//!
//! ```text
//!  63        60          44                          0
//!  ┌──────────┬───────────┬──────────────────────────┐
//!  │ customer │incarnation│ counter, or customer·256 │   ──scatter──▶  16 hexadecimal digits
//!  └──────────┴───────────┴──────────────────────────┘
//! ```
//!
//! Scattering is a bijection, so texts are as unique as numbers; seed and kind go into it, so the ids of two seeds, or
//! the session and the cart of one visitor, do not look alike.

use crate::dice::scatter;

/// Marks numbers that belong to a customer of the settings' seed: they outlive restarts.
pub(crate) const CUSTOMER: u64 = 1 << 63;

/// The number of a customer's person.
pub(crate) fn person_of(customer: u32) -> u64 {
    CUSTOMER | u64::from(customer) << 8
}

/// The customer a person is.
pub(crate) fn customer_of(person: u64) -> u32 {
    ((person & !CUSTOMER) >> 8) as u32
}

/// Times a shop can be resumed.
pub(crate) const INCARNATION_MAX: u16 = u16::MAX;

/// What an id is the id of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Event,
    Anonymous,
    Session,
    User,
    Device,
    Cart,
    Order,
    Payment,
    Refund,
    Card,
    Shipment,
}

impl Kind {
    /// Letters without a separator: no id can be taken for a number.
    fn prefix(self) -> &'static [u8] {
        match self {
            Kind::Event => b"e",
            Kind::Anonymous => b"a",
            Kind::Session => b"s",
            Kind::User => b"u",
            Kind::Device => b"d",
            Kind::Cart => b"c",
            Kind::Order => b"o",
            Kind::Payment => b"pay",
            Kind::Refund => b"ref",
            Kind::Card => b"tok",
            Kind::Shipment => b"shp",
        }
    }
}

/// Gives numbers and writes them as text.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    key: u64,
    incarnation: u16,
    next: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64, incarnation: u16) -> Self {
        Ids { key: scatter(seed ^ 0x1d5), incarnation, next: 0 }
    }

    /// A number nothing else has.
    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.mark() | self.next
    }

    /// The incarnation, in its bits.
    pub(crate) fn mark(&self) -> u64 {
        u64::from(self.incarnation) << 44
    }

    /// Appends the text of `number`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, kind: Kind, number: u64) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let scattered = scatter(number ^ self.key ^ ((kind as u64) << 61).rotate_right(7));
        let mut text = [0_u8; 16];
        for (at, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(scattered >> (60 - 4 * at)) as usize & 15];
        }
        out.extend_from_slice(kind.prefix());
        out.extend_from_slice(&text);
    }

    /// The text of `number`.
    #[cfg(test)]
    pub(crate) fn text(&self, kind: Kind, number: u64) -> String {
        let mut out = Vec::with_capacity(20);
        self.write(&mut out, kind, number);
        String::from_utf8(out).expect("prefix and digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_text_twice() {
        let mut seen = HashSet::new();
        for incarnation in 1..4 {
            let mut ids = Ids::new(7, incarnation);
            for _ in 0..10_000 {
                let number = ids.next();
                assert!(seen.insert(ids.text(Kind::Order, number)));
            }
        }
        let ids = Ids::new(7, 1);
        assert_ne!(&ids.text(Kind::Session, 5)[1..], &ids.text(Kind::Cart, 5)[1..]);
        assert_ne!(ids.text(Kind::Session, 5), Ids::new(8, 1).text(Kind::Session, 5));
    }
}
