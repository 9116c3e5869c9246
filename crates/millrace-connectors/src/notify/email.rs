//! Email: a message as MIME (RFC 2045), in text and in HTML, handed to an SMTP server.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::DateTime;
use millrace_model::{ErrorKind, Timestamp};
use serde::Deserialize;

use super::NotifyError;
use super::message::{EntityAlerts, Message, escaped};
use super::smtp::{Smtp, TlsMode};
use crate::secret::SecretPlace;

/// Bytes of an encoded word of a header: RFC 2047 allows 75 characters with its frame.
const WORD_BYTES_MAX: usize = 42;
/// Characters of a line of base64.
const LINE_CHARS: usize = 76;

/// An SMTP server and the addresses.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    /// `HOST` or `HOST:PORT` (587 with STARTTLS, 465 with TLS from the start, else 25).
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: TlsMode,
    /// PEM file of certificates that are trusted besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Name at the server; none: it takes mail without.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the password is.
    #[serde(default)]
    pub password: Option<SecretPlace>,
    /// Sender's address.
    pub from: String,
    /// Recipients' addresses.
    pub to: Vec<String>,
}

/// An email channel.
#[derive(Debug)]
pub(super) struct Email {
    smtp: Smtp,
    from: String,
    to: Vec<String>,
}

impl Email {
    pub(super) fn new(settings: &EmailSettings) -> Result<Self, NotifyError> {
        let invalid = |text: String| NotifyError::new(ErrorKind::Invalid, text);
        let (host, port) = match settings.server.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => return Err(invalid(format!("email: `{}` is not HOST:PORT", settings.server))),
            },
            None => (settings.server.as_str(), settings.tls.port()),
        };
        if settings.to.is_empty() {
            return Err(invalid("email: `to` is empty".into()));
        }
        for address in settings.to.iter().chain([&settings.from]) {
            if !is_address(address) {
                return Err(invalid(format!("email: `{address}` is not an address")));
            }
        }
        let login = match (&settings.user, &settings.password) {
            (Some(_), Some(_)) if settings.tls == TlsMode::None => {
                return Err(invalid(
                    "email: no password goes out without tls; set tls = \"starttls\" or \"implicit\"".into(),
                ));
            }
            (Some(user), Some(password)) => Some((user.clone(), password.read().map_err(invalid)?)),
            (None, None) => None,
            _ => return Err(invalid("email: `user` and `password` belong together".into())),
        };
        let (mode, ca_file) = (settings.tls, settings.ca_file.clone());
        let smtp = Smtp { host: host.to_owned(), port, mode, ca_file, login };
        Ok(Email { smtp, from: settings.from.clone(), to: settings.to.clone() })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let bytes = mime(message, &self.from, &self.to);
        self.smtp.deliver(&self.from, &self.to, bytes.as_bytes()).await
    }
}

impl TlsMode {
    fn port(self) -> u16 {
        match self {
            TlsMode::Starttls => 587,
            TlsMode::Implicit => 465,
            TlsMode::None => 25,
        }
    }
}

/// Good enough to keep a header or a command from being broken out of; the server knows the rest.
fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',' | ';' | '\\');
    text.chars().all(plain) && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

/// The whole message, with lines that end as SMTP wants.
fn mime(message: &Message, from: &str, to: &[String]) -> String {
    let boundary = format!("=_millrace_{}", message.id);
    let host = from.rsplit_once('@').map_or("millrace", |(_, host)| host);
    let mut text = String::new();
    for (name, value) in [
        ("From", format!("Millrace <{from}>")),
        ("To", to.join(", ")),
        ("Subject", encoded(&message.subject())),
        ("Date", date(message.time)),
        ("Message-ID", format!("<{}@{host}>", message.id)),
        ("Auto-Submitted", "auto-generated".into()),
        ("MIME-Version", "1.0".into()),
        ("Content-Type", format!("multipart/alternative; boundary=\"{boundary}\"")),
    ] {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    for (kind, part) in [("plain", plain(message)), ("html", html(message))] {
        text.push_str(&format!(
            "\r\n--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        ));
        let base64 = BASE64.encode(part);
        for line in base64.as_bytes().chunks(LINE_CHARS) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push_str("\r\n");
        }
    }
    text.push_str(&format!("\r\n--{boundary}--\r\n"));
    text
}

/// A header's text: as it is, or as encoded words. Line breaks become spaces.
fn encoded(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_ascii() && text.len() <= 900 {
        return text;
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD_BYTES_MAX => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words = words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64.encode(word)));
    words.collect::<Vec<_>>().join("\r\n ")
}

/// As RFC 5322 wants it.
fn date(time: Timestamp) -> String {
    DateTime::from_timestamp_micros(time.0)
        .map_or_else(String::new, |time| time.format("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

fn plain(message: &Message) -> String {
    let mut lines = vec![message.introduction()];
    for entity in &message.entities {
        lines.push(format!("\n{} [{}]", entity.heading(), entity.severity.name()));
        lines.extend(entity.evidence.iter().map(|(name, value)| format!("  {name}: {value}")));
        lines.extend(entity.alert_ids.first().map(|id| format!("  millrace alerts ack {id}")));
    }
    lines.extend(message.link.as_ref().map(|link| format!("\n{link}")));
    lines.join("\n").trim_start().to_owned() + "\n"
}

fn html(message: &Message) -> String {
    let section = |entity: &EntityAlerts| {
        let row = |(name, value): &(String, String)| {
            let cell = "padding:2px 12px 2px 0;vertical-align:top";
            format!(
                "<tr><td style=\"{cell};color:#5b7083\">{}</td><td style=\"{cell}\">{}</td></tr>",
                escaped(name),
                escaped(value)
            )
        };
        let rows: String = entity.evidence.iter().map(row).collect();
        format!(
            "<h3 style=\"margin:16px 0 4px;border-left:4px solid {};padding-left:8px\">{} · {}</h3><table>{rows}</table>",
            entity.severity.colour(),
            escaped(&entity.heading()),
            entity.severity.name()
        )
    };
    let sections: String = message.entities.iter().map(section).collect();
    let link = message.link.as_ref().map(|link| format!("<p><a href=\"{0}\">{0}</a></p>", escaped(link)));
    format!(
        "<!doctype html><html><body style=\"font-family:sans-serif\"><p>{}</p>{sections}{}</body></html>\n",
        escaped(&message.introduction()),
        link.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::sample;

    fn settings() -> EmailSettings {
        EmailSettings {
            server: "mail.example".into(),
            tls: TlsMode::Starttls,
            ca_file: None,
            user: None,
            password: None,
            from: "millrace@shop.example".into(),
            to: vec!["ops@shop.example".into()],
        }
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(Email::new(&settings()).expect("good").smtp.port, 587);
        let wrong = [
            (EmailSettings { to: vec![], ..settings() }, "`to` is empty"),
            (EmailSettings { to: vec!["a@b>\r\nDATA".into()], ..settings() }, "is not an address"),
            (EmailSettings { from: "nobody".into(), ..settings() }, "is not an address"),
            (EmailSettings { server: "mail:smtp".into(), ..settings() }, "HOST:PORT"),
            (EmailSettings { user: Some("me".into()), ..settings() }, "belong together"),
        ];
        for (settings, text) in wrong {
            let error = Email::new(&settings).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_message_in_text_and_html() {
        let mail = mime(&sample(1, 1), "millrace@shop.example", &["ops@shop.example".into()]);
        assert!(mail.starts_with("From: Millrace <millrace@shop.example>\r\nTo: ops@shop.example\r\n"));
        assert!(
            mail.contains("Subject: [HIGH] velocity <card_0>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n"),
            "{mail}"
        );
        assert!(mail.contains("Message-ID: <0123abcd@shop.example>\r\n"));
        assert!(mail.lines().all(|line| line.len() <= 998) && !mail.replace("\r\n", "").contains('\n'));
        let part = mail.split("\r\n\r\n").nth(2).expect("the first part").split("\r\n\r\n--").next().expect("its text");
        let text = BASE64.decode(part.replace("\r\n", "").split("--").next().expect("base64")).expect("base64");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("payments: 12") && text.contains("http://127.0.0.1:8080/fraud"), "{text}");
        let html = html(&sample(20, 2));
        assert!(html.contains("velocity &lt;card_1&gt; (10 alerts)") && html.contains("a &amp; b"), "{html}");
    }

    #[test]
    fn subjects_in_any_language() {
        assert_eq!(encoded("plain\r\nBcc: x"), "plain  Bcc: x");
        let long = encoded(&"überfällig ".repeat(10));
        assert!(long.split("\r\n ").all(|word| word.len() <= 75 && word.starts_with("=?UTF-8?B?")), "{long}");
    }
}
