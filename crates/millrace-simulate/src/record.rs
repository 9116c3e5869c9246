//! What the shop yields: one Kafka record, with the two times that matter.

use bytes::Bytes;
use millrace_model::Timestamp;

/// The topic a record belongs to; the name is the contract's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// What visitors do.
    UserEvents,
    /// Payments, orders, refunds.
    Transactions,
    /// What moves in the warehouse.
    InventoryUpdates,
    /// What the simulation knows to be true.
    AnswerKey,
}

impl Topic {
    /// All four, sources first.
    pub const ALL: [Topic; 4] = [Topic::UserEvents, Topic::Transactions, Topic::InventoryUpdates, Topic::AnswerKey];

    /// The name of the topic and of its contract.
    pub fn name(self) -> &'static str {
        match self {
            Topic::UserEvents => "user_events",
            Topic::Transactions => "transactions",
            Topic::InventoryUpdates => "inventory_updates",
            Topic::AnswerKey => "answer_key",
        }
    }
}

/// How a record travelled: what a consumer should find out by itself, and a test may look up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// Arrives the moment it happens.
    Regular,
    /// Arrives seconds after it happened; within the watermark delay.
    OutOfOrder,
    /// Carries an event time long past: too late for every window. In no `minute` and no `session` answer.
    Late,
    /// Second copy of a regular record: same bytes.
    Duplicate,
    /// Breaks its contract. An extra record: the one it was made from arrives as well.
    Malformed,
}

/// One record, ready to be produced.
///
/// Key and value are views into a chunk of up to 64 kB shared with their neighbours: to keep a few records for long,
/// copy them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it goes.
    pub topic: Topic,
    /// Text of the contract's key column.
    pub key: Bytes,
    /// JSON by the contract (unless malformed).
    pub value: Bytes,
    /// The event time inside the value. For a malformed record, that of the record it was made from.
    pub event_time: Timestamp,
    /// When it reaches the topic. Records come in this order.
    pub arrival: Timestamp,
    /// How it travelled.
    pub delivery: Delivery,
}
