//! Email: a message in text and in HTML, made by lettre and handed to an SMTP server.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use millrace_model::{ErrorKind, Timestamp};
use serde::Deserialize;

use super::NotifyError;
use super::message::{EntityAlerts, Message, escaped};
use super::smtp::{Smtp, TlsMode};
use crate::secret::SecretPlace;

/// Characters of a subject, at most: what is longer is cut.
const SUBJECT_CHARS_MAX: usize = 250;
/// Latest date of a message, seconds since 1970: a year has four digits there.
const DATE_SECONDS_MAX: u64 = 253_402_300_799;

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
    from: Address,
    to: Vec<Address>,
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
        let address = |text: &String| {
            // Names in other letters need SMTPUTF8, which few servers have.
            let found = text.parse::<Address>().ok().filter(|_| text.chars().all(|c| c.is_ascii_graphic()));
            found.ok_or_else(|| invalid(format!("email: `{text}` is not an address")))
        };
        let (from, to) = (address(&settings.from)?, settings.to.iter().map(address).collect::<Result<_, _>>()?);
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
        Ok(Email { smtp, from, to })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), NotifyError> {
        let mail = mail(message, &self.from, &self.to)?;
        self.smtp.deliver(&self.from, &self.to, &mail).await
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

/// The whole message, as SMTP wants it.
fn mail(message: &Message, from: &Address, to: &[Address]) -> Result<Vec<u8>, NotifyError> {
    let sender = Mailbox::new(Some("Millrace".into()), from.clone());
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
    let mut mail = lettre::Message::builder().from(sender);
    for recipient in to {
        mail = mail.to(Mailbox::new(None, recipient.clone()));
    }
    let mail = mail
        .subject(subject(message))
        .date(UNIX_EPOCH + date(message.time))
        .message_id(Some(format!("<{}@{}>", message.id, from.domain())))
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(plain(message), html(message)));
    let mail = mail.map_err(|error| NotifyError::new(ErrorKind::Internal, format!("email: {error}")))?;
    Ok(mail.formatted())
}

/// One line of readable characters.
fn subject(message: &Message) -> String {
    message.subject().chars().take(SUBJECT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Since 1970, within what a date can say.
fn date(time: Timestamp) -> Duration {
    Duration::from_micros(time.0.try_into().unwrap_or(0)).min(Duration::from_secs(DATE_SECONDS_MAX))
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

    /// The sample, changed, as it goes out.
    fn sent(change: impl Fn(&mut Message)) -> String {
        let mut message = sample(1, 1);
        change(&mut message);
        let email = Email::new(&settings()).expect("good");
        let mail = mail(&message, &email.from, &email.to).expect("a mail");
        String::from_utf8(mail).expect("text")
    }

    #[test]
    fn a_message_in_text_and_html() {
        let mail = sent(|_| ());
        let (head, body) = mail.split_once("\r\n\r\n").expect("a head");
        let headers: Vec<&str> = head.lines().collect();
        for header in [
            "From: Millrace <millrace@shop.example>",
            "To: ops@shop.example",
            "Subject: [HIGH] velocity <card_0>",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000",
            "Message-ID: <0123abcd@shop.example>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert!(headers.contains(&header), "{header} in {head}");
        }
        assert!(head.contains("multipart/alternative"), "{head}");
        assert!(body.contains("payments: 12") && body.contains("http://127.0.0.1:8080/fraud"), "{body}");
        assert!(body.contains("text/plain") && body.contains("text/html"), "{body}");
        assert!(mail.lines().all(|line| line.len() <= 998) && !mail.replace("\r\n", "").contains(['\r', '\n']));
        let html = html(&sample(20, 2));
        assert!(html.contains("velocity &lt;card_1&gt; (10 alerts)") && html.contains("a &amp; b"), "{html}");
    }

    #[test]
    fn no_value_leaves_its_header() {
        let mail = sent(|message| {
            message.entities[0].title = "x\r\nBcc: all@shop.example\r\n\r\nbody".into();
            message.time = Timestamp(i64::MAX);
        });
        let (head, _) = mail.split_once("\r\n\r\n").expect("a head");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Subject: [HIGH] x  Bcc: all@shop.example    body\r\n"), "{head}");
        assert!(head.contains("Date: Fri, 31 Dec 9999 23:59:59 +0000"), "{head}");
        // Neither a long word nor a long text in other letters makes a line that is too long.
        for title in ["x".repeat(2_000), "überfällig ".repeat(200), "注文".repeat(500)] {
            let mail = sent(|message| message.entities[0].title.clone_from(&title));
            let (head, _) = mail.split_once("\r\n\r\n").expect("a head");
            assert!(head.is_ascii() && head.lines().all(|line| line.len() <= 300), "{head}");
        }
    }
}
