//! A payment as numbers: names become hashes, so that what is remembered of it is small and says nothing about people.

use super::entity::{Touch, Whereabouts};
use super::event::{Transaction, hash, named};
use super::lists;
use super::memory::{KINDS, Kind};
use super::visit::visitor;

/// A payment that is to be scored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Payment {
    pub(super) time: i64,
    pub(super) touch: Touch,
    /// Its entities by [`Kind`]; 0 where there is none.
    pub(super) ids: [u64; KINDS],
    /// Its storefront; 0 where none is said.
    pub(super) terminal: u64,
    pub(super) visitor: u64,
    pub(super) place: Option<Whereabouts>,
    pub(super) ip_country: u64,
    pub(super) card_country: u64,
    pub(super) shipping_country: u64,
}

/// The network of an address: its first three bytes, or the first four groups of an IPv6 one.
pub(super) fn network(ip: &str) -> &str {
    let (mark, groups) = if ip.contains(':') { (':', 4) } else { ('.', 3) };
    ip.match_indices(mark).nth(groups - 1).map_or(ip, |(at, _)| &ip[..at])
}

impl Payment {
    /// Reads a transaction, at a time in microseconds.
    pub(super) fn of(transaction: &Transaction, time: i64) -> Self {
        let id = |kind: Kind, text: &Option<String>| named(text).map_or(0, |text| hash(kind as u8, text));
        let country = |text: &Option<String>| named(text).map_or(0, |text| hash(b'c', text));
        let ids = [
            id(Kind::Card, &transaction.card_token),
            id(Kind::Account, &transaction.user_id),
            id(Kind::Device, &transaction.device_id),
            id(Kind::Ip, &transaction.ip),
            named(&transaction.ip).map_or(0, |ip| hash(Kind::Network as u8, network(ip))),
            id(Kind::Bin, &transaction.card_bin),
            id(Kind::Email, &transaction.email_hash),
            id(Kind::Address, &transaction.shipping_address_hash),
            id(Kind::Order, &transaction.order_id),
            1,
        ];
        let small = |kind: Kind| (ids[kind as usize] >> 32) as u32;
        let touch = Touch {
            time,
            number: 0,
            amount: transaction.amount_minor.unwrap_or(0) as f32 / 100.0,
            card: small(Kind::Card),
            person: small(Kind::Email),
            device: small(Kind::Device),
            declined: transaction.event_type == "payment_declined",
            promo: named(&transaction.promo_code).is_some(),
        };
        let place = transaction.ip_latitude.zip(transaction.ip_longitude).map(|(latitude, longitude)| Whereabouts {
            latitude,
            longitude,
            time,
        });
        Payment {
            time,
            touch,
            ids,
            terminal: named(&transaction.store_id).map_or(0, lists::terminal),
            visitor: named(&transaction.anonymous_id).map_or(0, visitor),
            place,
            ip_country: country(&transaction.ip_country),
            card_country: country(&transaction.card_country),
            shipping_country: country(&transaction.shipping_country),
        }
    }

    pub(super) fn address(&self) -> u32 {
        (self.ids[Kind::Address as usize] >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_the_first_part_of_an_address() {
        for (ip, expected) in
            [("10.1.2.3", "10.1.2"), ("2001:db8:1:2:3::5", "2001:db8:1:2"), ("::1", "::1"), ("x", "x")]
        {
            assert_eq!(network(ip), expected);
        }
    }

    #[test]
    fn what_is_not_said_is_no_entity() {
        let payment = Payment::of(
            &Transaction { card_token: Some("c".into()), ip: Some(String::new()), ..Transaction::default() },
            5,
        );
        let known: Vec<usize> = (0..KINDS).filter(|at| payment.ids[*at] != 0).collect();
        assert_eq!(known, [Kind::Card as usize, Kind::Shop as usize]);
        assert_eq!(payment.place, None);
    }
}
