//! The shop floor: everything an actor may touch, and the three ways to make something known.

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;

use crate::agenda::{Agenda, Due};
use crate::answers::Answers;
use crate::campaigns::Raids;
use crate::catalogue::Catalogue;
use crate::desk::Desk;
use crate::dice::Dice;
use crate::ids::Ids;
use crate::ledger::Tally;
use crate::order::Order;
use crate::people::{People, Who};
use crate::record::Topic;
use crate::stock_update::{self, StockUpdate};
use crate::transaction::{self, Transaction};
use crate::user_event::{self, UserEvent};
use crate::warehouse::Warehouse;

/// A product that draws visitors for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) product: u32,
    /// Share of the arriving visitors that come for it.
    pub(crate) share: f64,
    /// Slot of the campaign behind it.
    pub(crate) raid: u32,
}

/// Everything but the visitors.
pub(crate) struct Floor {
    pub(crate) now: Timestamp,
    pub(crate) dice: Dice,
    pub(crate) ids: Ids,
    pub(crate) incarnation: u16,
    pub(crate) catalogue: Catalogue,
    pub(crate) people: People,
    pub(crate) warehouse: Warehouse,
    pub(crate) agenda: Agenda,
    pub(crate) desk: Desk,
    /// Placed orders to which something is still to happen.
    pub(crate) orders: Vec<Option<Box<Order>>>,
    pub(crate) free_orders: Vec<u32>,
    pub(crate) crowds: Vec<Crowd>,
    pub(crate) raids: Raids,
    pub(crate) chargeback_delay: i64,
}

impl Floor {
    /// A user event of `who`, now. True unless it travels so late that nothing counts it.
    pub(crate) fn user_event(&mut self, who: &Who, session: u64, event: &UserEvent) -> bool {
        let event_id = self.ids.next();
        let stamp = self.desk.stamp(Topic::UserEvents, self.now, &mut self.dice);
        let desk = &mut self.desk;
        let start = desk.text.len();
        let key = user_event::write(
            &mut desk.text,
            &self.ids,
            &mut desk.clock,
            &self.catalogue,
            event_id,
            stamp.event_time,
            who,
            session,
            event,
        );
        desk.post(Topic::UserEvents, start, key, stamp, self.now, Tally::Event, &mut self.agenda, &mut self.dice);
        stamp.counts()
    }

    /// A transaction of an order, now. True unless nothing counts it.
    pub(crate) fn transaction(&mut self, order: &Order, transaction: &Transaction<'_>, tally: Tally) -> bool {
        let event_id = self.ids.next();
        let stamp = self.desk.stamp(Topic::Transactions, self.now, &mut self.dice);
        let desk = &mut self.desk;
        let start = desk.text.len();
        let key = transaction::write(
            &mut desk.text,
            &self.ids,
            &mut desk.clock,
            &self.people,
            &self.catalogue,
            event_id,
            stamp.event_time,
            order,
            transaction,
        );
        desk.post(Topic::Transactions, start, key, stamp, self.now, tally, &mut self.agenda, &mut self.dice);
        stamp.counts()
    }

    /// Moves stock, now: books it, makes it known and orders more if that is due.
    pub(crate) fn move_stock(&mut self, product: u32, update: &StockUpdate) {
        self.warehouse.book(product, update.on_hand_change, update.reserved_change);
        let event_id = self.ids.next();
        let stamp = self.desk.stamp(Topic::InventoryUpdates, self.now, &mut self.dice);
        let desk = &mut self.desk;
        let start = desk.text.len();
        let key = stock_update::write(
            &mut desk.text,
            &self.ids,
            &mut desk.clock,
            event_id,
            stamp.event_time,
            self.catalogue.product(product),
            self.warehouse.shelf(product),
            update,
        );
        let (agenda, dice) = (&mut self.agenda, &mut self.dice);
        desk.post(Topic::InventoryUpdates, start, key, stamp, self.now, Tally::Nothing, agenda, dice);
        if self.warehouse.reorder(product) {
            let lead = self.dice.between(5 * MINUTE_MICROS, 13 * MINUTE_MICROS);
            self.agenda.push(Timestamp(self.now.0 + lead), Due::Shipment(product));
        }
    }

    /// The answer key.
    pub(crate) fn answers(&mut self) -> Answers<'_> {
        Answers { desk: &mut self.desk, ids: &self.ids, catalogue: &self.catalogue, now: self.now }
    }

    /// Keeps a placed order until its next step.
    pub(crate) fn keep_order(&mut self, mut order: Box<Order>, at: Timestamp) {
        order.due = at.0;
        let slot = self.free_orders.pop().unwrap_or_else(|| {
            self.orders.push(None);
            (self.orders.len() - 1) as u32
        });
        self.orders[slot as usize] = Some(order);
        self.agenda.push(at, Due::Order(slot));
    }

    /// Somebody nobody has seen before.
    pub(crate) fn stranger(&mut self) -> Who {
        let number = self.ids.next();
        self.people.stranger(number)
    }

    /// A product of about this price of which so many can be sold; the last one looked at if none of a few can.
    pub(crate) fn in_stock_near(&mut self, price_minor: i64, quantity: u16) -> u32 {
        let mut product = 0;
        for tries in 0..24 {
            product = self.catalogue.priced(&mut self.dice, price_minor - price_minor * tries / 60);
            if self.warehouse.sells(product, quantity) {
                break;
            }
        }
        product
    }
}
