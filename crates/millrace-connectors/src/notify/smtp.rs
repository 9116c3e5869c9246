//! SMTP submission (RFC 5321, STARTTLS by RFC 3207, AUTH by RFC 4954): one message over one connection.
//!
//! ```text
//!  connect ─(implicit: TLS)─▶ 220 ─▶ EHLO ─(starttls: STARTTLS, TLS, EHLO)─▶ AUTH ─▶ MAIL, RCPT …, DATA ─▶ QUIT
//! ```

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::ErrorKind;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::NotifyError;
use crate::secret::Secret;

/// Longest reply of a server, bytes: RFC 5321 has lines of 512.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// How the connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// It begins in the open and turns to TLS before anything is said (port 587).
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// None: for a server on this machine. No password goes this way.
    None,
}

/// A server and who we are there.
#[derive(Debug)]
pub(super) struct Smtp {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) mode: TlsMode,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) login: Option<(String, Secret)>,
}

/// Both kinds of stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A conversation.
struct Session {
    stream: BufReader<Box<dyn Stream>>,
    server: String,
}

/// What a server replied: its code and its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Smtp {
    /// Hands a message over.
    ///
    /// # Errors
    /// `Unavailable`: not now (no connection, a 4yz reply). `Invalid`: not with these settings. `Data`: not this message.
    pub(super) async fn deliver(&self, from: &str, to: &[String], message: &[u8]) -> Result<(), NotifyError> {
        let mut session = self.open().await?;
        if let Some((user, password)) = &self.login {
            session.log_in(user, password).await?;
        }
        session.ask(&format!("MAIL FROM:<{from}>"), 250, ErrorKind::Invalid).await?;
        for recipient in to {
            session.ask(&format!("RCPT TO:<{recipient}>"), 250, ErrorKind::Invalid).await?;
        }
        session.ask("DATA", 354, ErrorKind::Data).await?;
        session.write(&stuffed(message)).await?;
        session.expect("the message", 250, ErrorKind::Data).await?;
        // It is taken; how the server says goodbye changes nothing.
        let _ = session.ask("QUIT", 221, ErrorKind::Unavailable).await;
        Ok(())
    }

    async fn open(&self) -> Result<Session, NotifyError> {
        let server = format!("smtp {}:{}", self.host, self.port);
        let away = |error: std::io::Error| NotifyError::new(ErrorKind::Unavailable, format!("{server}: {error}"));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(away)?;
        let tls =
            || crate::tls::connector(self.ca_file.as_deref()).map_err(|e| NotifyError::new(ErrorKind::Invalid, e));
        let plain = |stream: TcpStream| Session {
            stream: BufReader::new(Box::new(stream) as Box<dyn Stream>),
            server: server.clone(),
        };
        let mut session = match self.mode {
            TlsMode::Implicit => plain(stream).protected(&tls()?, &self.host).await?,
            TlsMode::Starttls | TlsMode::None => plain(stream),
        };
        session.expect("the greeting", 220, ErrorKind::Unavailable).await?;
        session.ask("EHLO [127.0.0.1]", 250, ErrorKind::Invalid).await?;
        if self.mode == TlsMode::Starttls {
            session.ask("STARTTLS", 220, ErrorKind::Invalid).await?;
            session = session.protected(&tls()?, &self.host).await?;
            session.ask("EHLO [127.0.0.1]", 250, ErrorKind::Invalid).await?;
        }
        Ok(session)
    }
}

impl Session {
    /// Goes on under TLS. What the server sent too early, in the open, is not believed.
    async fn protected(self, tls: &TlsConnector, host: &str) -> Result<Session, NotifyError> {
        let server = self.server;
        let fault = |kind: ErrorKind, text: String| NotifyError::new(kind, format!("{server}: {text}"));
        if !self.stream.buffer().is_empty() {
            return Err(fault(ErrorKind::Invalid, "it talks in the open after STARTTLS".into()));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| fault(ErrorKind::Invalid, format!("`{host}` is no host name")))?;
        let stream = tls.connect(name, self.stream.into_inner()).await.map_err(|error| {
            let kind = if error.kind() == std::io::ErrorKind::InvalidData {
                ErrorKind::Invalid
            } else {
                ErrorKind::Unavailable
            };
            fault(kind, format!("tls: {error}"))
        })?;
        Ok(Session { stream: BufReader::new(Box::new(stream)), server })
    }

    async fn log_in(&mut self, user: &str, password: &Secret) -> Result<(), NotifyError> {
        let proof = BASE64.encode(format!("\0{user}\0{}", password.reveal()));
        self.write(format!("AUTH PLAIN {proof}\r\n").as_bytes()).await?;
        self.expect("AUTH", 235, ErrorKind::Invalid).await
    }

    /// Sends a line and wants this code; a 5yz reply is of `kind`, a 4yz reply is `Unavailable`.
    async fn ask(&mut self, line: &str, code: u16, kind: ErrorKind) -> Result<(), NotifyError> {
        if line.contains(['\r', '\n']) {
            return Err(NotifyError::new(
                ErrorKind::Invalid,
                format!("{}: an address holds a line break", self.server),
            ));
        }
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.expect(line, code, kind).await
    }

    async fn expect(&mut self, what: &str, code: u16, kind: ErrorKind) -> Result<(), NotifyError> {
        let reply = self.reply().await?;
        if reply.code == code {
            return Ok(());
        }
        let kind = if (500..600).contains(&reply.code) { kind } else { ErrorKind::Unavailable };
        let text = format!("{}: {what} is answered {} {}", self.server, reply.code, reply.lines.join(" "));
        Err(NotifyError::new(kind, text))
    }

    async fn reply(&mut self) -> Result<Reply, NotifyError> {
        let away = |server: &str, why: &str| NotifyError::new(ErrorKind::Unavailable, format!("{server}: {why}"));
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            let read =
                self.stream.read_line(&mut line).await.map_err(|error| away(&self.server, &error.to_string()))?;
            bytes += read;
            if read == 0 {
                return Err(away(&self.server, "it hung up"));
            }
            if bytes > REPLY_BYTES_MAX {
                return Err(away(&self.server, "its reply does not end"));
            }
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let code = code.ok_or_else(|| away(&self.server, "it does not talk SMTP"))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), NotifyError> {
        let away = |error: std::io::Error| NotifyError::new(ErrorKind::Unavailable, format!("smtp: {error}"));
        self.stream.write_all(bytes).await.map_err(away)?;
        self.stream.flush().await.map_err(away)
    }
}

/// A line that begins with a dot gets another; the end is a dot alone.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 16);
    let mut at_start = true;
    for byte in message {
        if at_start && *byte == b'.' {
            bytes.push(b'.');
        }
        bytes.push(*byte);
        at_start = *byte == b'\n';
    }
    if !bytes.ends_with(b"\r\n") {
        bytes.extend(b"\r\n");
    }
    bytes.extend(b".\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Classified;
    use tokio::io::{AsyncReadExt, duplex};

    #[test]
    fn dots() {
        assert_eq!(stuffed(b".a\r\n..b\r\nc."), b"..a\r\n...b\r\nc.\r\n.\r\n");
        assert_eq!(stuffed(b"a\r\n"), b"a\r\n.\r\n");
    }

    #[tokio::test]
    async fn replies() {
        for (said, code, expected) in [
            ("250-one\r\n250 two\r\n", 250, None),
            ("451 later\r\n", 250, Some(ErrorKind::Unavailable)),
            ("550 no such user\r\n", 250, Some(ErrorKind::Invalid)),
            ("HTTP/1.1 400\r\n", 250, Some(ErrorKind::Unavailable)),
            ("", 250, Some(ErrorKind::Unavailable)),
        ] {
            let (ours, mut theirs) = duplex(1024);
            let mut session = Session { stream: BufReader::new(Box::new(ours)), server: "smtp test".into() };
            theirs.write_all(said.as_bytes()).await.expect("said");
            let mut heard = vec![0; 6];
            let asked = async {
                theirs.read_exact(&mut heard).await.expect("heard");
                theirs.shutdown().await.expect("hung up");
            };
            let (answer, ()) = tokio::join!(session.ask("NOOP", code, ErrorKind::Invalid), asked);
            assert_eq!(answer.as_ref().err().map(Classified::kind), expected, "{said}: {answer:?}");
        }
        let (ours, _theirs) = duplex(64);
        let mut session = Session { stream: BufReader::new(Box::new(ours)), server: "smtp test".into() };
        let injected = session.ask("RCPT TO:<a>\r\nDATA", 250, ErrorKind::Invalid).await.expect_err("two lines");
        assert!(injected.to_string().contains("line break"));
    }
}
