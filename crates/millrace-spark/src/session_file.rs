//! The session's id on disk: what a restart needs to find the queries that still run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millrace_model::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::error::SparkError;

/// A job's session as it was last used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SessionFile {
    /// The server's address, without parameters.
    pub(crate) server: String,
    /// The session's id.
    pub(crate) session: String,
    /// What each table's query was made of, as a number.
    pub(crate) queries: BTreeMap<String, u64>,
}

/// A URL without what stands behind its host: that may hold a token.
pub(crate) fn server_of(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', ';', '?']).map_or(url.len(), |at| start + at);
    url[..end].to_owned()
}

fn path(folder: &Path, job: &str) -> PathBuf {
    folder.join(format!("{job}.json"))
}

impl SessionFile {
    /// The file of a job; `None` when there is none for this server, or it is not readable: then a new session is opened.
    pub(crate) fn load(folder: &Path, job: &str, server: &str) -> Option<Self> {
        let text = std::fs::read(path(folder, job)).ok()?;
        let file: SessionFile = serde_json::from_slice(&text).ok()?;
        (file.server == server && !file.session.is_empty()).then_some(file)
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// `Invalid` when the folder cannot be written.
    pub(crate) fn save(&self, folder: &Path, job: &str) -> Result<(), SparkError> {
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let new = folder.join(format!("{job}.json.new"));
            std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
            std::fs::rename(new, path(folder, job))
        };
        write().map_err(|error| {
            let text = format!("cannot keep the session in {}: {error}", path(folder, job).display());
            SparkError::new(ErrorKind::Invalid, text)
        })
    }

    /// Forgets a session that has ended.
    pub(crate) fn remove(folder: &Path, job: &str) {
        let _ = std::fs::remove_file(path(folder, job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_for_one_server() {
        let folder = std::env::temp_dir().join(format!("millrace-session-{}", std::process::id()));
        let server = server_of("sc://spark:15002/;token=secret");
        assert_eq!(server, "sc://spark:15002");
        let file = SessionFile { server: server.clone(), session: "s".into(), queries: [("t".to_owned(), 7)].into() };
        file.save(&folder, "job").expect("written");
        assert_eq!(SessionFile::load(&folder, "job", &server), Some(file));
        assert_eq!(SessionFile::load(&folder, "job", "sc://other:15002"), None);
        SessionFile::remove(&folder, "job");
        assert_eq!(SessionFile::load(&folder, "job", &server), None);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
