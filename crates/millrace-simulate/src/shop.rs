//! The shop itself: takes what is due from the agenda and lets it happen.

use std::collections::VecDeque;

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

use crate::agenda::{Agenda, Due};
use crate::arrivals;
use crate::campaigns::{Campaign, RETRY_MICROS, Raids};
use crate::catalogue::Catalogue;
use crate::desk::{Desk, DisorderTotals};
use crate::dice::Dice;
use crate::floor::Floor;
use crate::fulfilment;
use crate::funnel;
use crate::ids::Ids;
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::people::People;
use crate::record::Record;
use crate::settings::{SettingsError, ShopSettings};
use crate::visitor::{Next, Visitor};
use crate::warehouse::Warehouse;

/// The answer to a minute waits for its out-of-order records: at most 9 seconds late, see `Disorder`.
const CLOSE_MICROS: i64 = 10 * SECOND_MICROS;
/// Every product is counted once in this time.
const COUNT_MICROS: i64 = 40 * MINUTE_MICROS;

/// Stock levels at the end of a minute: product, on hand, reserved.
type Levels = Vec<(u32, i32, i32)>;

/// A simulated shop. See the crate's page for what it yields.
pub struct Shop {
    pub(crate) settings: ShopSettings,
    pub(crate) floor: Floor,
    /// Visitors by slot; a free slot holds who was there last.
    visitors: Vec<Visitor>,
    free_visitors: Vec<u32>,
    present: Vec<bool>,
    /// Visitors with an intent of their own.
    here: usize,
    arrived: u32,
    /// Source records made by campaigns' own visitors.
    campaign_records: u64,
    pace: Pace,
    /// Minutes whose answers wait for their last records.
    closing: VecDeque<(Timestamp, Levels)>,
    /// Units of each product when the shop opens.
    first_counts: Vec<i32>,
    closed: bool,
    /// How far the shop has been taken.
    pub(crate) cursor: Timestamp,
}

/// How much a shop holds at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShopLoad {
    /// Visitors in the shop.
    pub visitors: usize,
    /// Orders to which something is still to happen.
    pub orders: usize,
    /// Records on their way: out of order, or second copies.
    pub in_transit: usize,
    /// Entries of the agenda.
    pub agenda: usize,
    /// Guests remembered to come again.
    pub guests: usize,
}

impl Shop {
    /// Opens a shop at `settings.start`.
    ///
    /// # Errors
    /// A setting out of its range, by name.
    pub fn new(settings: ShopSettings) -> Result<Shop, SettingsError> {
        settings.check()?;
        let start = settings.start;
        let mut shop = Shop::empty(settings, 1, start, Ledger::default(), DisorderTotals::default());
        // Counted one after the other within the first half second, before anybody can order.
        let products = i64::from(shop.floor.catalogue.len());
        for product in 0..shop.floor.catalogue.len() {
            let at = Timestamp(start.0 + i64::from(product) * (SECOND_MICROS / 2) / products);
            shop.floor.agenda.push(at, Due::Opening(product));
        }
        shop.open(start);
        Ok(shop)
    }

    /// A shop with empty shelves and nothing due.
    pub(crate) fn empty(
        settings: ShopSettings,
        incarnation: u16,
        at: Timestamp,
        ledger: Ledger,
        totals: DisorderTotals,
    ) -> Shop {
        let seed = settings.seed;
        let catalogue = Catalogue::new(seed, settings.products);
        let (warehouse, first_counts) = Warehouse::new(seed, &catalogue, settings.rate_per_second);
        let floor = Floor {
            now: at,
            dice: Dice::new(seed, u64::from(incarnation) << 32),
            ids: Ids::new(seed, incarnation),
            incarnation,
            catalogue,
            people: People::new(seed, settings.customers, at),
            warehouse,
            agenda: Agenda::new(at),
            desk: Desk::new(settings.disorder, at, ledger, totals),
            orders: Vec::new(),
            free_orders: Vec::new(),
            crowds: Vec::new(),
            raids: Raids::default(),
            chargeback_delay: settings.chargeback_delay,
        };
        let pace = Pace::new(settings.rate_at(at));
        Shop {
            settings,
            floor,
            visitors: Vec::new(),
            free_visitors: Vec::new(),
            present: Vec::new(),
            here: 0,
            arrived: 0,
            campaign_records: 0,
            pace,
            closing: VecDeque::new(),
            first_counts,
            closed: false,
            cursor: at,
        }
    }

    /// Puts what recurs on the agenda.
    pub(crate) fn open(&mut self, at: Timestamp) {
        let agenda = &mut self.floor.agenda;
        agenda.push_first(Timestamp(at.floor(MINUTE_MICROS).0 + MINUTE_MICROS), Due::Minute);
        agenda.push(Timestamp(at.0 + SECOND_MICROS / 2), Due::Pace);
        agenda.push(Timestamp(at.0 + MINUTE_MICROS), Due::Round);
        let earliest = Timestamp(at.0 + MINUTE_MICROS / 2);
        for (index, campaign) in (0..).zip(Campaign::ALL) {
            if self.settings.campaigns.contains(campaign) {
                let run = self.next_run(campaign, earliest);
                self.floor.agenda.push(run, Due::Campaign(index));
            }
        }
    }

    /// Appends every record that arrives before `until` to `out`, in the order of arrival. How the time is cut into
    /// calls makes no difference.
    pub fn advance(&mut self, until: Timestamp, out: &mut Vec<Record>) {
        if self.closed {
            return;
        }
        while let Some((at, due)) = self.floor.agenda.pop(until) {
            self.floor.now = at;
            self.happen(due);
            if self.floor.desk.full() {
                self.floor.desk.flush(out);
            }
        }
        self.cursor = self.cursor.max(until);
        self.floor.now = self.cursor;
        self.floor.desk.flush(out);
    }

    /// Closes the shop: orders that are paid are placed, sessions in flight and the open minute are answered, records
    /// on their way are delivered, and every product's stock is answered. Nothing comes after.
    pub fn finish(&mut self, out: &mut Vec<Record>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for slot in 0..self.visitors.len() {
            if std::mem::replace(&mut self.present[slot], false) {
                let visitor = &mut self.visitors[slot];
                if visitor.has_paid() {
                    funnel::step(visitor, &mut self.floor);
                }
                visitor.leave(&mut self.floor);
            }
        }
        self.here = 0;
        self.floor.raids.end_all();
        self.answer_campaigns();
        let end = Timestamp(self.floor.now.0 + 1);
        self.floor.now = end;
        let last = self.floor.desk.deliver_all();
        self.floor.now = last.map_or(end, |last| last.max(end));
        while self.close_minute() {}
        let mut answers = self.floor.answers();
        for (minute, sums) in answers.desk.ledger.open_minutes() {
            answers.minute(minute, &sums);
        }
        let levels: Levels = self.floor.warehouse.levels().collect();
        let mut answers = self.floor.answers();
        for (product, on_hand, reserved) in levels {
            answers.stock(end, product, on_hand, reserved);
        }
        let totals = answers.desk.totals;
        answers.disorder(totals);
        self.floor.desk.flush(out);
    }

    /// How much the shop holds: bounded by the rate, see the crate's page.
    pub fn load(&self) -> ShopLoad {
        ShopLoad {
            visitors: self.visitors.len() - self.free_visitors.len(),
            orders: self.floor.orders.len() - self.floor.free_orders.len(),
            in_transit: self.floor.desk.in_transit(),
            agenda: self.floor.agenda.len(),
            guests: self.floor.people.guests(),
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Visit(slot) => self.visit(slot),
            Due::Arrive => {
                self.arrived += 1;
                self.here += 1;
                let visitor = arrivals::next(&mut self.floor);
                let slot = self.admit(visitor);
                self.visit(slot);
            }
            Due::Opening(product) => {
                fulfilment::first_count(&mut self.floor, product, self.first_counts[product as usize]);
            }
            Due::Order(slot) => fulfilment::order_step(&mut self.floor, slot),
            Due::Deliver(slot) => {
                let now = self.floor.now;
                self.floor.desk.deliver(slot, now);
            }
            Due::Pace => self.set_pace(),
            Due::Round => {
                fulfilment::round(&mut self.floor);
                let wait = COUNT_MICROS / i64::from(self.floor.catalogue.len());
                self.floor.agenda.push(Timestamp(self.floor.now.0 + wait), Due::Round);
            }
            Due::Shipment(product) => fulfilment::shipment_received(&mut self.floor, product),
            Due::Backlog(product) => fulfilment::backlog(&mut self.floor, product),
            Due::Campaign(index) => self.campaign(index),
            Due::Disperse(raid) => self.disperse(raid),
            Due::Minute => self.minute_over(),
            Due::Close => {
                self.close_minute();
                let totals = self.floor.desk.totals;
                self.floor.answers().disorder(totals);
            }
        }
        if !self.floor.raids.over.is_empty() {
            self.answer_campaigns();
        }
    }

    fn admit(&mut self, visitor: Visitor) -> u32 {
        let slot = self.free_visitors.pop().unwrap_or(self.visitors.len() as u32);
        if slot as usize == self.visitors.len() {
            self.visitors.push(visitor);
            self.present.push(true);
        } else {
            self.visitors[slot as usize] = visitor;
            self.present[slot as usize] = true;
        }
        slot
    }

    fn visit(&mut self, slot: u32) {
        let visitor = &mut self.visitors[slot as usize];
        let sent_before = self.floor.desk.sent;
        let scripted = visitor.script.is_some();
        let next = funnel::step(visitor, &mut self.floor);
        if scripted {
            self.campaign_records += self.floor.desk.sent - sent_before;
        }
        match next {
            Next::After(wait) => self.floor.agenda.push(Timestamp(self.floor.now.0 + wait), Due::Visit(slot)),
            Next::Leave => {
                visitor.leave(&mut self.floor);
                self.present[slot as usize] = false;
                self.free_visitors.push(slot);
                self.here -= usize::from(!scripted);
            }
        }
    }

    fn set_pace(&mut self) {
        let now = self.floor.now;
        let wanted = self.settings.rate_at(now);
        let arrived = std::mem::take(&mut self.arrived);
        let arrivals = self.pace.tick(wanted, self.here, arrived, self.floor.desk.sent, self.campaign_records);
        for _ in 0..self.floor.dice.round(arrivals) {
            let at = Timestamp(now.0 + self.floor.dice.between(0, SECOND_MICROS));
            self.floor.agenda.push(at, Due::Arrive);
        }
        self.floor.agenda.push(Timestamp(now.0 + SECOND_MICROS), Due::Pace);
    }

    fn next_run(&self, campaign: Campaign, from: Timestamp) -> Timestamp {
        campaign.next_run(from, self.settings.ramp_end(), self.settings.campaign_interval_scale)
    }

    fn campaign(&mut self, index: u8) {
        let campaign = Campaign::ALL[usize::from(index)];
        let now = self.floor.now;
        let slot = self.floor.raids.next_slot();
        let Some(plan) = campaign.plan(&mut self.floor, slot, self.settings.rate_at(now)) else {
            self.floor.agenda.push(Timestamp(now.0 + RETRY_MICROS), Due::Campaign(index));
            return;
        };
        let raid = self.floor.raids.begin(campaign, &plan);
        let incarnation = self.floor.incarnation;
        self.floor.answers().campaign(campaign, raid.run, incarnation, "started", raid.entity);
        for (wait, visitor) in plan.visitors {
            let visitor = self.admit(visitor);
            self.floor.agenda.push(Timestamp(now.0 + wait), Due::Visit(visitor));
        }
        if let Some((crowd, duration)) = plan.crowd {
            self.floor.crowds.push(crowd);
            self.floor.agenda.push(Timestamp(now.0 + duration), Due::Disperse(crowd.raid));
        }
        // A run that had to wait does not crowd the next one.
        let half = campaign.period(self.settings.campaign_interval_scale) / 2;
        let next = self.next_run(campaign, Timestamp(now.0 + half));
        self.floor.agenda.push(next, Due::Campaign(index));
    }

    fn disperse(&mut self, raid: u32) {
        let Some(at) = self.floor.crowds.iter().position(|crowd| crowd.raid == raid) else { return };
        let crowd = self.floor.crowds.swap_remove(at);
        self.floor.warehouse.shelf_mut(crowd.product).racing = false;
        self.floor.raids.release(raid);
    }

    fn answer_campaigns(&mut self) {
        let incarnation = self.floor.incarnation;
        for raid in std::mem::take(&mut self.floor.raids.over) {
            self.floor.answers().campaign(raid.campaign, raid.run, incarnation, "ended", raid.entity);
        }
    }

    /// A minute of event time is over: its levels are noted before anything of the next one happens.
    fn minute_over(&mut self) {
        let now = self.floor.now;
        let mut levels = Levels::new();
        self.floor.warehouse.take_changed(&mut levels);
        self.closing.push_back((now, levels));
        self.floor.agenda.push(Timestamp(now.0 + CLOSE_MICROS), Due::Close);
        self.floor.agenda.push_first(Timestamp(now.0 + MINUTE_MICROS), Due::Minute);
    }

    /// Answers the oldest minute that is over; false when there is none.
    fn close_minute(&mut self) -> bool {
        let Some((end, levels)) = self.closing.pop_front() else { return false };
        let mut answers = self.floor.answers();
        while let Some((minute, sums)) = answers.desk.ledger.close(end) {
            answers.minute(minute, &sums);
        }
        for (product, on_hand, reserved) in levels {
            answers.stock(end, product, on_hand, reserved);
        }
        true
    }
}
