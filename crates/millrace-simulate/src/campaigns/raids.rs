//! The runs of campaigns that are under way.

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;

use super::Campaign;
use crate::floor::Crowd;
use crate::visitor::Visitor;

/// Whom a campaign is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entity {
    Card(u64),
    Device(u64),
    User(u64),
    Product(u32),
}

impl Entity {
    /// The name of the field that holds it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Entity::Card(_) => "card_token",
            Entity::Device(_) => "device_id",
            Entity::User(_) => "user_id",
            Entity::Product(_) => "product_id",
        }
    }
}

/// What a run is going to do.
pub(crate) struct Plan {
    pub(crate) entity: Entity,
    /// Who comes, and after how many microseconds.
    pub(crate) visitors: Vec<(i64, Visitor)>,
    /// A product that draws the public, and for how many microseconds.
    pub(crate) crowd: Option<(Crowd, i64)>,
}

/// A run under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raid {
    pub(crate) campaign: Campaign,
    pub(crate) run: u32,
    pub(crate) entity: Entity,
    /// Visitors, crowds and refunds that keep it going.
    open: u32,
}

/// All runs under way, by slot.
#[derive(Default)]
pub(crate) struct Raids {
    slots: Vec<Option<Raid>>,
    runs: u32,
    /// Runs that have ended since they were last taken.
    pub(crate) over: Vec<Raid>,
    /// Customers who have bought often lately, and when.
    habitual: Vec<(u32, Timestamp)>,
}

/// Customers with habits that are remembered.
const HABITUAL_MAX: usize = 64;
/// A habit this old is forgotten: its customer may have gone.
const HABIT_MICROS: i64 = 20 * MINUTE_MICROS;

impl Raids {
    /// The slot the next run will take.
    pub(crate) fn next_slot(&self) -> u32 {
        self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len()) as u32
    }

    /// Begins a run in the next slot.
    pub(crate) fn begin(&mut self, campaign: Campaign, plan: &Plan) -> Raid {
        self.runs += 1;
        let open = plan.visitors.len() as u32 + u32::from(plan.crowd.is_some());
        let raid = Raid { campaign, run: self.runs, entity: plan.entity, open };
        let slot = self.next_slot() as usize;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(raid);
        raid
    }

    /// One more thing keeps a run going.
    pub(crate) fn hold(&mut self, slot: u32) {
        if let Some(Some(raid)) = self.slots.get_mut(slot as usize) {
            raid.open += 1;
        }
    }

    /// One thing less does; the last one ends it. Slots that hold no run are ignored: it belonged to an earlier
    /// incarnation.
    pub(crate) fn release(&mut self, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(raid) = place else { return };
        raid.open -= 1;
        if raid.open == 0 {
            self.over.push(*raid);
            *place = None;
        }
    }

    /// Ends every run.
    pub(crate) fn end_all(&mut self) {
        self.over.extend(self.slots.drain(..).flatten());
    }

    /// A customer has just shown a habit of buying.
    pub(crate) fn note_habit(&mut self, customer: u32, now: Timestamp) {
        if self.habitual.len() == HABITUAL_MAX {
            self.habitual.remove(0);
        }
        self.habitual.push((customer, now));
    }

    /// Takes the customer who has shown a habit most recently.
    pub(crate) fn take_habitual(&mut self, now: Timestamp) -> Option<u32> {
        self.habitual.retain(|(_, at)| now.0 - at.0 < HABIT_MICROS);
        self.habitual.pop().map(|(customer, _)| customer)
    }
}
