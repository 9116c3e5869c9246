//! Why a broker does not start or stop as it should.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

/// What starting or stopping a broker can end in. Requests never see it: they get protocol errors.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Another process has the data directory.
    #[error("the data directory {} belongs to a running broker; stop that one or choose another directory", .0.display())]
    DataDirInUse(PathBuf),
    /// The listen address leaves this machine and nobody said it may.
    #[error(
        "refusing to listen on {0}, which is not loopback: the broker has no authentication; set listen_beyond_loopback if that is wanted"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; is another broker running there?")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Stored data that cannot be read.
    #[error("the stored data is not usable: {0}")]
    Stored(String),
    /// A setting makes no sense.
    #[error("setting {name} is not usable: {reason}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Why not.
        reason: String,
    },
}

impl From<crate::storage::error::LogError> for BrokerError {
    fn from(error: crate::storage::error::LogError) -> Self {
        use crate::storage::error::LogError;
        match error {
            LogError::Io { action, path, source } => Self::Io { action, path, source },
            failed @ LogError::Failed(_) => Self::Stored(failed.to_string()),
        }
    }
}
