//! What survives a restart: stock, open orders, sums of the open minute. Small, because people are numbers and the
//! catalogue follows from the seed.
//!
//! ```text
//!  shop ─finish─▶ state ─(kept by the caller)─▶ resume at a later time ─▶ shop, incarnation + 1
//! ```
//!
//! Exact after [`Shop::finish`]. Without it, visits under way have no answer, and what was sent after the state was
//! taken is not in it. Keep the state of a resumed shop at once: its incarnation is what makes its ids new.

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;

use crate::agenda::Due;
use crate::desk::DisorderTotals;
use crate::fulfilment::reserves;
use crate::ids::INCARNATION_MAX;
use crate::ledger::Ledger;
use crate::order::Order;
use crate::settings::{SettingsError, ShopSettings};
use crate::shop::Shop;

/// Open orders that are kept; what others have reserved is shipped without their names.
const ORDERS_MAX: usize = 250;

/// What must survive a restart; below 200 kB for up to a thousand products.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ShopState {
    seed: u64,
    start: Timestamp,
    cursor: Timestamp,
    incarnation: u16,
    totals: DisorderTotals,
    minutes: Ledger,
    /// On hand, reserved, incoming, by product.
    stock: Vec<(i32, i32, i32)>,
    orders: Vec<Order>,
}

impl ShopState {
    /// Event time the shop had come to.
    pub fn cursor(&self) -> Timestamp {
        self.cursor
    }

    /// How often the shop has been opened.
    pub fn incarnation(&self) -> u16 {
        self.incarnation
    }

    /// Event time of the shop's first record ever.
    pub fn start(&self) -> Timestamp {
        self.start
    }
}

impl Shop {
    /// What must survive a restart.
    pub fn state(&self) -> ShopState {
        let floor = &self.floor;
        let mut orders: Vec<Order> = floor.orders.iter().flatten().map(|order| Order::clone(order)).collect();
        // Refunds and chargebacks first: nobody else can do them.
        orders.sort_by_key(|order| (reserves(order), order.due, order.number));
        orders.truncate(ORDERS_MAX);
        let levels = floor.warehouse.levels();
        ShopState {
            seed: self.settings.seed,
            start: self.settings.start,
            cursor: self.cursor,
            incarnation: floor.incarnation,
            totals: floor.desk.totals,
            minutes: floor.desk.ledger.clone(),
            stock: levels
                .map(|(product, on_hand, reserved)| (on_hand, reserved, floor.warehouse.shelf(product).incoming))
                .collect(),
            orders,
        }
    }

    /// Opens a shop again at `at`, with the stock and the open orders of `state`. Catalogue and customers follow from
    /// the seed; ids do not repeat. `settings.start` is ignored: ramp and campaigns go on from the first start.
    ///
    /// # Errors
    /// A setting out of its range, a state of another seed or number of products, a time before the state's cursor, or
    /// more restarts than there are ids for.
    pub fn resume(mut settings: ShopSettings, state: ShopState, at: Timestamp) -> Result<Shop, SettingsError> {
        settings.start = state.start;
        settings.check()?;
        let foreign = |field, kept: u64, given: u64| {
            let (kept, given) = (kept.to_string(), given.to_string());
            if kept == given { Ok(()) } else { Err(SettingsError::ForeignState { field, kept, given }) }
        };
        foreign("seed", state.seed, settings.seed)?;
        foreign("products", state.stock.len() as u64, u64::from(settings.products))?;
        if at < state.cursor {
            return Err(SettingsError::StateFromTheFuture { kept: state.cursor, at });
        }
        if state.incarnation == INCARNATION_MAX {
            return Err(SettingsError::WornOut { times: state.incarnation });
        }
        let mut shop = Shop::empty(settings, state.incarnation + 1, at, state.minutes, state.totals);
        shop.open(at);
        shop.restock(&state.stock, &state.orders);
        for mut order in state.orders {
            // The run is over; its name stays.
            order.label.campaign = order.label.campaign.map(|(campaign, _)| (campaign, u32::MAX));
            let due = Timestamp(order.due).max(at);
            shop.floor.keep_order(Box::new(order), due);
        }
        Ok(shop)
    }

    /// Fills the shelves; what is reserved for orders that were not kept goes out within minutes.
    fn restock(&mut self, stock: &[(i32, i32, i32)], orders: &[Order]) {
        let floor = &mut self.floor;
        let mut promised = vec![0; stock.len()];
        for order in orders.iter().filter(|order| reserves(order)) {
            for line in &order.lines {
                promised[line.product as usize] += i32::from(line.quantity);
            }
        }
        for (product, (&(on_hand, reserved, incoming), promised)) in (0..).zip(stock.iter().zip(promised)) {
            floor.warehouse.book(product, on_hand, reserved);
            let shelf = floor.warehouse.shelf_mut(product);
            (shelf.incoming, shelf.backlog) = (incoming, reserved - promised);
            if shelf.backlog > 0 {
                let wait = floor.dice.between(MINUTE_MICROS, 5 * MINUTE_MICROS);
                floor.agenda.push(Timestamp(floor.now.0 + wait), Due::Backlog(product));
            }
            if incoming > 0 {
                let wait = floor.dice.between(MINUTE_MICROS, 10 * MINUTE_MICROS);
                floor.agenda.push(Timestamp(floor.now.0 + wait), Due::Shipment(product));
            }
        }
    }
}
