//! The JSON of the answer key, in the order of its contract: what the simulation knows to be true.

use std::ops::Range;

use millrace_model::Timestamp;
use smallvec::SmallVec;

use crate::campaigns::{Campaign, Entity};
use crate::catalogue::Catalogue;
use crate::desk::{Desk, DisorderTotals};
use crate::ids::{Ids, Kind};
use crate::json;
use crate::ledger::MinuteSums;
use crate::order::Order;

/// What is true of a session: one visitor's user events with no gap of 30 minutes, and the orders between them. Late
/// records are left out, as though they had never been sent.
#[derive(Clone, Default, Debug)]
pub(crate) struct Truth {
    first: Timestamp,
    last: Timestamp,
    events: u64,
    orders: u64,
    gross_minor: i64,
    /// Units in the cart.
    in_cart: i64,
    viewed: SmallVec<[u32; 8]>,
    bought: SmallVec<[u32; 4]>,
}

impl Truth {
    /// A user event; `cart_change` in units.
    pub(crate) fn event(&mut self, now: Timestamp, viewed: Option<u32>, cart_change: i64) {
        if self.events == 0 {
            self.first = now;
        }
        self.last = now;
        self.events += 1;
        self.in_cart = (self.in_cart + cart_change).max(0);
        if let Some(product) = viewed
            && let Err(at) = self.viewed.binary_search(&product)
        {
            self.viewed.insert(at, product);
        }
    }

    /// Orders placed so far.
    pub(crate) fn orders(&self) -> u64 {
        self.orders
    }

    /// An order placed; it empties the cart.
    pub(crate) fn order(&mut self, order: &Order) {
        self.orders += 1;
        self.gross_minor += order.amount_minor;
        self.in_cart = 0;
        for line in &order.lines {
            if let Err(at) = self.bought.binary_search(&line.product) {
                self.bought.insert(at, line.product);
            }
        }
    }
}

/// Writes answers onto the desk.
pub(crate) struct Answers<'a> {
    pub(crate) desk: &'a mut Desk,
    pub(crate) ids: &'a Ids,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) now: Timestamp,
}

impl Answers<'_> {
    /// A campaign begins or ends.
    pub(crate) fn campaign(&mut self, campaign: Campaign, run: u32, incarnation: u16, phase: &str, entity: Entity) {
        let now = self.now;
        let answer = self.begin("campaign", now, |out, _| {
            out.extend_from_slice(format!("{}/{incarnation}-{run}/{phase}", campaign.name()).as_bytes());
        });
        let out = &mut self.desk.text;
        json::text(out, b",\"campaign\":\"", campaign.name().as_bytes());
        json::text(out, b",\"phase\":\"", phase.as_bytes());
        json::text(out, b",\"entity_kind\":\"", entity.kind().as_bytes());
        out.extend_from_slice(b",\"entity\":\"");
        match entity {
            Entity::Card(number) => self.ids.write(out, Kind::Card, number),
            Entity::Device(number) => self.ids.write(out, Kind::Device, number),
            Entity::User(number) => self.ids.write(out, Kind::User, number),
            Entity::Product(at) => out.extend_from_slice(self.catalogue.product(at).id.as_bytes()),
        }
        out.push(b'"');
        self.end(answer);
    }

    /// A payment attempt.
    pub(crate) fn payment(&mut self, order: &Order) {
        let now = self.now;
        let answer = self.begin("payment", now, |out, ids| ids.write(out, Kind::Payment, order.payment));
        let out = &mut self.desk.text;
        if let Some((campaign, _)) = order.label.campaign {
            json::text(out, b",\"campaign\":\"", campaign.name().as_bytes());
        }
        out.extend_from_slice(b",\"payment_id\":\"");
        self.ids.write(out, Kind::Payment, order.payment);
        out.extend_from_slice(b"\",\"order_id\":\"");
        self.ids.write(out, Kind::Order, order.number);
        json::word(out, b"\",\"fraud\":", order.label.fraud);
        self.end(answer);
    }

    /// A session that is over.
    pub(crate) fn session(&mut self, anonymous: u64, session: u64, truth: &Truth) {
        if truth.events == 0 {
            return;
        }
        let answer = self.begin("session", truth.first, |out, ids| ids.write(out, Kind::Session, session));
        let (out, clock) = (&mut self.desk.text, &mut self.desk.clock);
        out.extend_from_slice(b",\"visitor_id\":\"");
        self.ids.write(out, Kind::Anonymous, anonymous);
        out.extend_from_slice(b"\",\"session_start\":\"");
        clock.write(out, truth.first);
        out.extend_from_slice(b"\",\"session_end\":\"");
        clock.write(out, truth.last);
        json::integer(out, b"\",\"events\":", truth.events.cast_signed());
        json::integer(out, b",\"orders\":", truth.orders.cast_signed());
        json::integer(out, b",\"gross_minor\":", truth.gross_minor);
        let abandoned = truth.orders == 0 && truth.in_cart > 0;
        json::word(out, b",\"cart_abandoned\":", abandoned);
        for (name, products) in [
            (b",\"products_viewed\":[".as_slice(), truth.viewed.as_slice()),
            (b",\"products_bought\":[", &truth.bought),
        ] {
            out.extend_from_slice(name);
            // Numbers are in the order of the ids they stand for.
            for (at, product) in products.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"\"".as_slice() } else { b",\"" });
                out.extend_from_slice(self.catalogue.product(*product).id.as_bytes());
                out.push(b'"');
            }
            out.push(b']');
        }
        self.end(answer);
    }

    /// A minute that no regular record can change any more.
    pub(crate) fn minute(&mut self, minute: Timestamp, sums: &MinuteSums) {
        let answer = self.begin("minute", minute, |out, _| minute.write_to(out));
        let out = &mut self.desk.text;
        json::integer(out, b",\"events\":", sums.events.cast_signed());
        json::integer(out, b",\"orders\":", sums.orders.cast_signed());
        json::integer(out, b",\"gross_minor\":", sums.gross_minor);
        json::integer(out, b",\"refunds\":", sums.refunds.cast_signed());
        json::integer(out, b",\"refunded_minor\":", sums.refunded_minor);
        json::integer(out, b",\"declines\":", sums.declines.cast_signed());
        self.end(answer);
    }

    /// The levels of a product before `at`.
    pub(crate) fn stock(&mut self, at: Timestamp, product: u32, on_hand: i32, reserved: i32) {
        let id = &self.catalogue.product(product).id;
        let answer = self.begin("stock", at, |out, _| {
            out.extend_from_slice(id.as_bytes());
            out.push(b'/');
            at.write_to(out);
        });
        let out = &mut self.desk.text;
        json::text(out, b",\"product_id\":\"", id.as_bytes());
        json::integer(out, b",\"on_hand\":", i64::from(on_hand));
        json::integer(out, b",\"reserved\":", i64::from(reserved));
        self.end(answer);
    }

    /// What has gone wrong on the way so far.
    pub(crate) fn disorder(&mut self, totals: DisorderTotals) {
        let now = self.now;
        let answer = self.begin("disorder", now, |out, _| out.extend_from_slice(b"totals"));
        let out = &mut self.desk.text;
        json::integer(out, b",\"late\":", totals.late.cast_signed());
        json::integer(out, b",\"duplicates\":", totals.duplicates.cast_signed());
        json::integer(out, b",\"malformed\":", totals.malformed.cast_signed());
        self.end(answer);
    }

    /// Writes id (`kind/subject`), kind and time; gives start, key and time.
    fn begin(
        &mut self,
        kind: &str,
        time: Timestamp,
        subject: impl FnOnce(&mut Vec<u8>, &Ids),
    ) -> (usize, Range<usize>, Timestamp) {
        let out = &mut self.desk.text;
        let start = out.len();
        out.extend_from_slice(b"{\"answer_id\":\"");
        let key_start = out.len();
        out.extend_from_slice(kind.as_bytes());
        out.push(b'/');
        subject(out, self.ids);
        let key = key_start..out.len();
        json::text(out, b"\",\"kind\":\"", kind.as_bytes());
        out.extend_from_slice(b",\"event_time\":\"");
        self.desk.clock.write(out, time);
        out.push(b'"');
        (start, key, time)
    }

    fn end(&mut self, (start, key, time): (usize, Range<usize>, Timestamp)) {
        self.desk.text.push(b'}');
        self.desk.answer(start, key, time, self.now);
    }
}
