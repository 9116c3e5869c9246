//! Channels alerts go through: Slack (an incoming webhook or a bot), email (SMTP), and any webhook, signed.
//!
//! ```text
//!  ChannelSettings ──(secrets read)──▶ Channel ──send(Message)──▶ Slack: Block Kit · email: HTML and text · webhook: JSON, HMAC
//! ```
//!
//! A [`Message`] has an id that follows from what it tells; a message sent again after a lost answer has the same: as the email's
//! `Message-ID`, and as the webhook's `Idempotency-Key`. Slack knows no such thing: there a lost answer can show a message twice.
//!
//! Reading order: `message` (what is told) → `slack`, `webhook`, `email` (its forms) → `smtp` (the protocol).

mod email;
mod message;
mod slack;
mod smtp;
mod webhook;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use millrace_model::{Classified, ErrorKind};
use serde::Deserialize;

pub use email::EmailSettings;
pub use message::{ENTITIES_MAX, EVIDENCE_MAX, EntityAlerts, Message, Severity};
pub use smtp::TlsMode;
pub use webhook::SIGNATURE_HEADER;

use crate::http::{Answer, HttpClient, HttpError, kind_of_status};
use crate::secret::SecretPlace;

/// Longest wait for a channel to take a message.
pub const SEND_MAX: Duration = Duration::from_secs(20);

/// A channel as the settings file has it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChannelSettings {
    /// Slack: an incoming webhook, whose address is the secret, or a bot and the conversation it writes into.
    Slack {
        /// The webhook's address.
        #[serde(default)]
        url: Option<SecretPlace>,
        /// The bot's token (`xoxb-…`), with scope `chat:write`.
        #[serde(default)]
        token: Option<SecretPlace>,
        /// The conversation a bot writes into: its id (`C0123456789`), or `#name` of a public one.
        #[serde(default)]
        channel: Option<String>,
        /// Where a bot's messages go [default: Slack's own address].
        #[serde(default)]
        api_url: Option<String>,
        /// PEM file of certificates that are trusted besides the system's.
        #[serde(default)]
        ca_file: Option<PathBuf>,
    },
    /// Email.
    Email(EmailSettings),
    /// A webhook that gets JSON with an HMAC-SHA256 signature.
    Webhook {
        /// Its address.
        url: String,
        /// Key of the signature.
        secret: SecretPlace,
        /// PEM file of certificates that are trusted besides the system's.
        #[serde(default)]
        ca_file: Option<PathBuf>,
    },
}

/// Why a message was not taken. The text holds no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifyError {
    kind: ErrorKind,
    text: String,
    /// How long the channel asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl NotifyError {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        NotifyError { kind, text: text.into(), retry_after: None }
    }
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NotifyError {}

impl Classified for NotifyError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<HttpError> for NotifyError {
    fn from(error: HttpError) -> Self {
        NotifyError::new(error.kind(), error.to_string())
    }
}

/// A channel that can send.
#[derive(Debug)]
pub struct Channel(Transport);

#[derive(Debug)]
enum Transport {
    Slack(slack::Slack),
    Email(Box<email::Email>),
    Webhook(webhook::Webhook),
}

impl Channel {
    /// Reads the channel's secrets; nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid`: a secret that is missing, an address that is none.
    pub fn open(settings: &ChannelSettings) -> Result<Self, NotifyError> {
        let invalid = |text: String| NotifyError::new(ErrorKind::Invalid, text);
        Ok(Channel(match settings {
            ChannelSettings::Slack { url, token, channel, api_url, ca_file } => {
                let ca_file = ca_file.as_deref();
                Transport::Slack(match (url, token, channel, api_url) {
                    (Some(url), None, None, None) => {
                        let url = url.read().map_err(invalid)?;
                        slack::Slack::webhook(HttpClient::new(url.reveal(), ca_file)?)
                    }
                    (None, Some(token), Some(channel), api_url) => {
                        let api_url = api_url.as_deref().unwrap_or(slack::API_URL);
                        slack::Slack::bot(api_url, ca_file, token.read().map_err(invalid)?, channel)?
                    }
                    _ => {
                        let text =
                            "slack: give `url`, the address of an incoming webhook, or `token` and `channel` of a bot";
                        return Err(invalid(text.into()));
                    }
                })
            }
            ChannelSettings::Email(settings) => Transport::Email(Box::new(email::Email::new(settings)?)),
            ChannelSettings::Webhook { url, secret, ca_file } => {
                let client = HttpClient::new(url, ca_file.as_deref())?;
                Transport::Webhook(webhook::Webhook::new(client, secret.read().map_err(invalid)?))
            }
        }))
    }

    /// Sends one message and waits until it is taken.
    ///
    /// # Errors
    /// `Unavailable`: try again later. `Data`: this message is refused. `Invalid`: every message is (credentials, address).
    pub async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        match &self.0 {
            Transport::Slack(slack) => slack.send(message).await,
            Transport::Email(email) => match tokio::time::timeout(SEND_MAX, email.send(message)).await {
                Ok(sent) => sent,
                Err(_) => {
                    Err(NotifyError::new(ErrorKind::Unavailable, format!("email: not taken within {SEND_MAX:?}")))
                }
            },
            Transport::Webhook(webhook) => webhook.send(message).await,
        }
    }
}

/// An answer as success or error. Only Slack's words are short and ours to show.
fn taken(channel: &str, client: &HttpClient, answer: &Answer) -> Result<(), NotifyError> {
    let Some(kind) = kind_of_status(answer.status) else { return Ok(()) };
    let body = String::from_utf8_lossy(&answer.body);
    let said: String = body.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    let text = format!("{channel} {} answers {}: {said}", client.server(), answer.status);
    Err(NotifyError { retry_after: answer.retry_after, ..NotifyError::new(kind, text) })
}
