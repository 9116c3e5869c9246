//! What can go wrong, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the cluster; its text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the system is not installed.
    #[error("{what} is missing; install it: apt-get install {package}")]
    Missing {
        /// The program.
        what: String,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// A program ended with an error.
    #[error("{what} failed: {detail}")]
    Failed {
        /// What was tried.
        what: String,
        /// All it wrote.
        detail: String,
    },
    /// A file or folder.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another program listens on a port that is needed.
    #[error("port {port} of {node} is taken by another program; stop that, or let the cluster use free ports")]
    PortTaken {
        /// The node.
        node: String,
        /// The port on 127.0.0.1.
        port: u16,
    },
    /// A node did not become ready.
    #[error("{node} {what}; its log is {}:\n{tail}", log.display())]
    NotReady {
        /// The node.
        node: String,
        /// "has ended", "is not ready after 240 s".
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// There is no cluster in the folder.
    #[error("there is no cluster in {}; start one with `millrace cluster up`", .0.display())]
    NoCluster(PathBuf),
    /// `cluster.json` cannot be read.
    #[error("{} is damaged ({detail}); delete the folder and start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and why.
        detail: String,
    },
    /// The cluster has no such node.
    #[error("there is no node {name:?}; there are {known}")]
    UnknownNode {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// What is asked for does not go with what is there.
    #[error("{0}")]
    Conflict(String),
}

impl Error {
    /// For `map_err` on the file system.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    }

    pub(crate) fn failed(what: impl Into<String>, detail: impl ToString) -> Error {
        Error::Failed { what: what.into(), detail: detail.to_string() }
    }
}
