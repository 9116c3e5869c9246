//! What a start is waiting for, to be shown to whoever waits.

use std::fmt;
use std::time::Duration;

/// One step of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something is fetched, which takes minutes, once.
    Fetching {
        /// What.
        what: String,
    },
    /// Kafka's or PostgreSQL's storage is made, once.
    Formatting {
        /// Whose.
        what: String,
    },
    /// A node was started and is waited for.
    Waiting {
        /// The node.
        node: String,
        /// Its port.
        port: u16,
    },
    /// A node is ready.
    Ready {
        /// The node.
        node: String,
        /// Its port.
        port: u16,
        /// Since its start.
        took: Duration,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Fetching { what } => write!(f, "fetching {what} …"),
            Step::Formatting { what } => write!(f, "making the storage of {what} …"),
            Step::Waiting { node, port } => write!(f, "waiting for {node} (port {port}) …"),
            Step::Ready { node, port, took } => {
                write!(f, "{node} is ready (port {port}) after {:.1} s", took.as_secs_f64())
            }
        }
    }
}
