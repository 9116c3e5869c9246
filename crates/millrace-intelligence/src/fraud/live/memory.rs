//! All entities and visits that are remembered, each kind bounded in number and age.
//!
//! | what | kept | at most |
//! |---|---|---|
//! | card, account, device, address, network, issuer, e-mail, delivery address | 30 days after the last payment | [`Limits::entities_max`] each |
//! | order | 1 day | the same |
//! | visit | 1 hour | [`Limits::visits_max`] |
//!
//! Who has been still for longest goes first. An entity takes some 200 bytes and 40 for each of its newest 32 payments.

use super::entity::{DAY, Entities, Entity, Whereabouts};
use super::payment::Payment;
use super::settings::Limits;
use super::visit::Visits;
use crate::recommend::stored::stored_fields;

/// Kinds of entities.
pub(super) const KINDS: usize = 10;
const KEEP: i64 = 30 * DAY;
const KEEP_ORDERS: i64 = DAY;
/// Faster than planes fly: such a place is not where somebody is.
const SPEED_MAX: f32 = 900.0;

/// What a payment has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Card,
    Account,
    Device,
    Ip,
    Network,
    Bin,
    Email,
    Address,
    Order,
    Shop,
}

/// Those that come to be known by the fraud that was done with them.
const MARKED: [Kind; 6] = [Kind::Card, Kind::Account, Kind::Device, Kind::Ip, Kind::Email, Kind::Address];

/// The memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    kinds: Vec<Entities>,
    pub(super) visits: Visits,
}
stored_fields!(Memory { kinds, visits });

impl Memory {
    pub(super) fn new() -> Self {
        Memory { kinds: vec![Entities::default(); KINDS], visits: Visits::default() }
    }

    pub(super) fn entity(&self, kind: Kind, id: u64) -> Option<&Entity> {
        self.kinds.get(kind as usize)?.get(id)
    }

    /// Entities of all kinds.
    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(Entities::len).sum()
    }

    /// Remembers a payment; one that is taken for fraud says nothing about where somebody is.
    pub(super) fn add(&mut self, payment: &Payment, number: u64, limits: &Limits) {
        let mut touch = payment.touch;
        touch.number = number;
        for (kind, (entities, id)) in self.kinds.iter_mut().zip(payment.ids).enumerate() {
            let keep = if kind == Kind::Order as usize { KEEP_ORDERS } else { KEEP };
            let is_placed = kind == Kind::Card as usize || kind == Kind::Account as usize;
            entities.change(id, payment.time, keep, limits.entities_max, |entity| {
                entity.add(touch, payment.address());
                let is_newer = |here: &Whereabouts| entity.place.is_none_or(|known| known.time <= here.time);
                let is_there = |here: &Whereabouts| entity.place.is_none() || entity.speed(here) <= SPEED_MAX;
                if let Some(here) = payment.place.as_ref().filter(|here| is_placed && is_newer(here) && is_there(here))
                {
                    entity.place = Some(*here);
                }
            });
        }
    }

    /// Remembers a refund to an account.
    pub(super) fn add_refund(&mut self, payment: &Payment, number: u64, limits: &Limits) {
        let mut touch = payment.touch;
        touch.number = number;
        let id = payment.ids[Kind::Account as usize];
        if let Some(accounts) = self.kinds.get_mut(Kind::Account as usize) {
            accounts.change(id, payment.time, KEEP, limits.entities_max, |account| account.add_refund(touch));
        }
    }

    /// Notes that a payment with these entities was fraudulent.
    pub(super) fn mark(&mut self, ids: &[u64; KINDS]) {
        for kind in MARKED {
            if let Some(entities) = self.kinds.get_mut(kind as usize) {
                entities.note(ids[kind as usize], |entity| entity.known_fraud += 1);
            }
        }
    }
}
