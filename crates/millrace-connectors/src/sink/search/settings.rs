//! What the search sink is told, and its limits.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::{Classified, ErrorKind};
use serde::Deserialize;

use super::server::Server;
use crate::http::HttpClient;
use crate::kafka::ClientSettings;
use crate::secret::{Secret, SecretPlace};
use crate::sink::SinkError;

/// Consumer group whose offsets say how far the indices are.
pub const SEARCH_GROUP: &str = "millrace-search";
/// Documents of one request, at most.
pub(super) const BULK_DOCUMENTS_MAX: usize = 2_000;
/// Bytes of their records, at most: servers like requests of 5 to 15 MB.
pub(super) const BULK_BYTES_MAX: usize = 5 << 20;
/// Longest wait of a record for others, milliseconds.
pub(super) const BULK_WAIT_MS_MAX: u64 = 500;
/// Longest wait for the answer to a request, milliseconds.
pub(super) const ANSWER_MS_MAX: u64 = 60_000;
/// How often indices and documents that are past their retention are looked for, milliseconds.
pub(super) const RETENTION_MS: u64 = 3_600_000;
/// Documents of one table that are deleted at once, at most; meanwhile nothing is written.
pub(super) const DELETE_DOCUMENTS_MAX: u64 = 20_000;

/// A server, as the settings file has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// `http://HOST:PORT` or `https://…`; empty: no search sink.
    pub url: String,
    /// Name for basic authentication.
    pub user: Option<String>,
    /// Where its password is.
    pub password: Option<SecretPlace>,
    /// Where an API key is (as the server gives it, in base64), instead of a name.
    pub api_key: Option<SecretPlace>,
    /// PEM file of certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What index names begin with; empty: `millrace-`.
    #[serde(deserialize_with = "prefix")]
    pub index_prefix: String,
    /// Tables that are written; none: every result table.
    pub tables: Vec<String>,
    /// Copies of each shard besides the first; none: as the server has it.
    pub replicas: Option<u32>,
}

impl SearchSettings {
    /// What index names begin with.
    pub fn prefix(&self) -> &str {
        if self.index_prefix.is_empty() { PREFIX } else { &self.index_prefix }
    }
}

/// What index names begin with, unless the settings say.
pub(super) const PREFIX: &str = "millrace-";

fn prefix<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let begins = text.chars().next().is_none_or(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && text.chars().all(plain) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!(
        "`{text}` begins no index name: small letters, digits, - _ and ., a letter first"
    )))
}

/// What the sink is told.
#[derive(Clone, Debug)]
pub struct SearchSinkSettings {
    /// The cluster.
    pub client: ClientSettings,
    /// The server.
    pub search: SearchSettings,
}

impl SearchSinkSettings {
    /// The sink of this cluster into this server.
    pub fn new(client: ClientSettings, search: SearchSettings) -> Self {
        let search = SearchSettings { index_prefix: search.prefix().to_owned(), ..search };
        SearchSinkSettings { client, search }
    }

    pub(super) fn server(&self) -> Result<Server, SinkError> {
        let invalid = |text: String| SinkError::new(ErrorKind::Invalid, format!("sink.elasticsearch: {text}"));
        let search = &self.search;
        let http = HttpClient::new(&search.url, search.ca_file.as_deref())
            .map_err(|error| SinkError::new(error.kind(), format!("sink.elasticsearch.url: {error}")))?;
        let authorization = match (&search.user, &search.password, &search.api_key) {
            (None, None, None) => None,
            (None, None, Some(key)) => Some(format!("ApiKey {}", key.read().map_err(invalid)?.reveal())),
            (Some(user), Some(password), None) => {
                let password = password.read().map_err(invalid)?;
                Some(format!("Basic {}", BASE64.encode(format!("{user}:{}", password.reveal()))))
            }
            _ => return Err(invalid("write `user` and `password`, or `api_key`".into())),
        };
        Ok(Server { http, authorization: authorization.map(Secret::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<SearchSettings, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn who_we_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\n").expect("written");
        let secret = format!("file:{}", file.display());
        for (more, expected) in [
            (String::new(), Ok(None)),
            (format!(r#","api_key":"{secret}""#), Ok(Some("ApiKey open sesame"))),
            (format!(r#","user":"a","password":"{secret}""#), Ok(Some("Basic YTpvcGVuIHNlc2FtZQ=="))),
            (r#","user":"a""#.to_owned(), Err("`user` and `password`")),
            (format!(r#","user":"a","password":"{secret}","api_key":"{secret}""#), Err("`user` and `password`")),
        ] {
            let search = settings(&format!(r#"{{"url":"http://127.0.0.1:1"{more}}}"#)).expect("settings");
            let sink = SearchSinkSettings::new(ClientSettings::new("127.0.0.1:1"), search);
            assert_eq!(sink.search.index_prefix, PREFIX);
            let found = sink.server().map(|server| server.authorization.map(|secret| secret.reveal().to_owned()));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
        assert!(settings(r#"{"index_prefix":"Shop-"}"#).expect_err("capital").contains("small letters"));
        assert!(settings(r#"{"index_prefix":"_shop-"}"#).is_err());
    }
}
