//! How other commands find the running product: a small file in the data folder with its addresses.
//!
//! It is written when everything has started and removed at the end. After a crash it is left over: whoever reads it asks
//! the address it names, and believes the answer.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest wait for an answer of the address.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Where the product answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RuntimeFile {
    /// Process id.
    pub(crate) pid: u32,
    /// Kafka bootstrap servers.
    pub(crate) kafka: String,
    /// Address of the page.
    pub(crate) dashboard: Option<SocketAddr>,
    /// URL of the store; empty when it holds a password: then the reader's own settings say it.
    pub(crate) store: String,
    /// Folder of the lake.
    pub(crate) lake: Option<PathBuf>,
    /// Jobs it runs.
    #[serde(default)]
    pub(crate) jobs: Vec<String>,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("running.json")
}

impl RuntimeFile {
    /// Tells where this process answers.
    ///
    /// # Errors
    /// Writing.
    pub(crate) fn write(&self, data_dir: &Path) -> std::io::Result<()> {
        let unfinished = data_dir.join("running.json.tmp");
        std::fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(unfinished, path(data_dir))
    }

    /// The product that runs on this data folder now.
    pub(crate) fn find(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(path(data_dir)).ok()?;
        let found: RuntimeFile = serde_json::from_slice(&text).ok()?;
        let answers = |address: SocketAddr| TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok();
        let mut servers = found.kafka.split(',').filter_map(|server| server.to_socket_addrs().ok()).flatten();
        servers.any(answers).then_some(found)
    }

    /// Nothing runs any more.
    pub(crate) fn remove(data_dir: &Path) {
        // A file that is left says the same as one that names a silent address.
        let _ = std::fs::remove_file(path(data_dir));
    }
}
