//! What keeps the dashboard from starting.

use std::net::SocketAddr;

use millrace_model::{Classified, ErrorKind};

use crate::store::StoreError;

/// The dashboard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The address cannot be listened on.
    #[error("dashboard: cannot listen on {address}: {source}; is another program using the port?")]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store does not answer.
    #[error("dashboard: cannot read table `{table}`: {source}")]
    Store {
        /// The table asked for.
        table: String,
        /// What the store said.
        source: StoreError,
    },
    /// A limit that leaves no room to work.
    #[error("dashboard: limit `{name}` must be at least {least}")]
    Limit {
        /// Name of the limit.
        name: &'static str,
        /// Its smallest useful value.
        least: u64,
    },
}

impl Classified for DashboardError {
    fn kind(&self) -> ErrorKind {
        match self {
            DashboardError::Listen { source, .. } => match source.kind() {
                std::io::ErrorKind::AddrInUse => ErrorKind::Unavailable,
                _ => ErrorKind::Invalid,
            },
            DashboardError::Store { source, .. } => source.kind(),
            DashboardError::Limit { .. } => ErrorKind::Invalid,
        }
    }
}
