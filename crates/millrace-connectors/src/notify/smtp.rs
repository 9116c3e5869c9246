//! Submission of one message to an SMTP server over one connection, with lettre's client.
//!
//! ```text
//!  connect ─(implicit: TLS)─▶ EHLO ─(starttls: STARTTLS, TLS, EHLO)─▶ AUTH ─▶ MAIL, RCPT …, DATA ─▶ QUIT
//! ```
//!
//! Step by step, not by lettre's transport: that does not say which step was refused, and a refused recipient is a setting to
//! mend where a refused message is one message.

mod reluctant;

use std::error::Error as _;
use std::path::PathBuf;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use millrace_model::ErrorKind;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::{NotifyError, SEND_MAX};
use crate::secret::Secret;
use crate::tls::{cause, own_certificates};
use reluctant::Reluctant;

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

impl Smtp {
    /// Hands a message over.
    ///
    /// # Errors
    /// `Unavailable`: not now (no connection, a 4yz reply). `Invalid`: not with these settings. `Data`: not this message.
    pub(super) async fn deliver(&self, from: &Address, to: &[Address], message: &[u8]) -> Result<(), NotifyError> {
        let invalid = |what: &'static str| move |error: Error| self.refused(what, ErrorKind::Invalid, &error);
        let data = |error: Error| self.refused("the message", ErrorKind::Data, &error);
        let mut connection = self.open().await?;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(invalid("AUTH"))?;
        }
        connection.command(Mail::new(Some(from.clone()), Vec::new())).await.map_err(invalid("the sender"))?;
        for recipient in to {
            let asked = connection.command(Rcpt::new(recipient.clone(), Vec::new())).await;
            asked.map_err(|error| self.refused(&format!("recipient {recipient}"), ErrorKind::Invalid, &error))?;
        }
        connection.command(Data).await.map_err(data)?;
        connection.message(message).await.map_err(data)?;
        // It is taken; how the server says goodbye changes nothing.
        let _ = connection.quit().await;
        Ok(())
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, NotifyError> {
        let (hello, server) = (ClientId::default(), (self.host.as_str(), self.port));
        // A server that greets with 5yz may greet otherwise tomorrow.
        let away = |error: Error| self.refused("the connection", ErrorKind::Unavailable, &error);
        match self.mode {
            TlsMode::None => {
                AsyncSmtpConnection::connect_tokio1(server, Some(SEND_MAX), &hello, None, None).await.map_err(away)
            }
            TlsMode::Implicit => {
                let tls = Some(self.tls()?);
                AsyncSmtpConnection::connect_tokio1(server, Some(SEND_MAX), &hello, tls, None).await.map_err(away)
            }
            TlsMode::Starttls => {
                let tls = self.tls()?;
                let stream = TcpStream::connect(server).await;
                let stream = stream.map_err(|error| self.fault(ErrorKind::Unavailable, &error.to_string()))?;
                let stream = Box::new(Reluctant::new(stream));
                let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(away)?;
                let turned = connection.starttls(tls, &hello).await;
                turned.map_err(|error| self.refused("STARTTLS", ErrorKind::Invalid, &error))?;
                Ok(connection)
            }
        }
    }

    fn tls(&self) -> Result<TlsParameters, NotifyError> {
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let pem = own_certificates(path).map_err(|why| self.fault(ErrorKind::Invalid, &why))?;
            let own = Certificate::from_pem(&pem).map_err(|error| self.refused("tls", ErrorKind::Invalid, &error))?;
            parameters = parameters.add_root_certificate(own);
        }
        parameters.build().map_err(|error| self.refused("tls", ErrorKind::Invalid, &error))
    }

    /// What went wrong at this step; a 5yz reply is of `kind`, a 4yz reply is `Unavailable`.
    fn refused(&self, step: &str, kind: ErrorKind, error: &Error) -> NotifyError {
        let cause = error.source().map(cause);
        let (text, is_untrusted) =
            cause.map_or_else(|| (error.to_string(), false), |cause| (cause.text, cause.refused));
        if let Some(code) = error.status() {
            let kind = if error.is_permanent() { kind } else { ErrorKind::Unavailable };
            return self.fault(kind, &format!("{step} is answered {code} {text}"));
        }
        // The server cannot what the settings want of it, or nobody trusts it.
        let kind = if error.is_client() || error.is_tls() || is_untrusted {
            ErrorKind::Invalid
        } else {
            ErrorKind::Unavailable
        };
        self.fault(kind, &format!("{step}: {text}"))
    }

    fn fault(&self, kind: ErrorKind, why: &str) -> NotifyError {
        NotifyError::new(kind, format!("smtp {}:{}: {why}", self.host, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::{acceptor, file};
    use millrace_model::Classified;
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    const EHLO: &str = "250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";

    /// What a server answers to commands that begin so; the first that fits.
    type Script = Vec<(&'static str, &'static str)>;

    /// A conversation by the script, and everything the client said. It ends when the script has no answer.
    async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) -> String {
        let mut stream = BufReader::new(stream);
        let mut heard = String::new();
        let mut in_message = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return heard;
            }
            heard.push_str(&line);
            in_message &= line != ".\r\n";
            if in_message {
                continue;
            }
            let Some((command, said)) = script.iter().find(|(command, _)| line.starts_with(command)) else {
                return heard;
            };
            in_message = *command == "DATA" && said.starts_with('3');
            if stream.write_all(said.as_bytes()).await.is_err() || *command == "STARTTLS" {
                return heard;
            }
        }
    }

    /// The script of a server that takes everything, but for this.
    fn but(command: &'static str, said: &'static str) -> Script {
        let good = [
            ("(greeting)", "220 here\r\n"),
            ("EHLO", EHLO),
            ("STARTTLS", "220 go\r\n"),
            ("AUTH", "235 hello\r\n"),
            ("MAIL", "250 ok\r\n"),
            ("RCPT", "250 ok\r\n"),
            ("DATA", "354 go\r\n"),
            (".", "250 kept\r\n"),
            ("QUIT", "221 bye\r\n"),
        ];
        [(command, said)].into_iter().chain(good).collect()
    }

    /// Delivers to a server that talks by the script; what it heard, and what came of it.
    async fn deliver(mode: TlsMode, trusted: bool, script: Script) -> (String, Result<(), NotifyError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut heard = String::new();
            let greeting = script.iter().find(|(command, _)| *command == "(greeting)").map_or("", |(_, said)| *said);
            if greeting.is_empty() {
                return heard;
            }
            if mode != TlsMode::Implicit {
                stream.write_all(greeting.as_bytes()).await.expect("greeted");
                heard = talk(&mut stream, &script).await;
            }
            if mode != TlsMode::None
                && let Ok(mut stream) = acceptor(&[]).accept(stream).await
            {
                if mode == TlsMode::Implicit {
                    stream.write_all(greeting.as_bytes()).await.expect("greeted");
                }
                heard.push_str("(tls)\r\n");
                heard.push_str(&talk(stream, &script).await);
            }
            heard
        });
        let login = (mode != TlsMode::None).then(|| ("me".to_owned(), Secret::new("hunter2")));
        let ca_file = trusted.then(|| file("ca.pem"));
        let smtp = Smtp { host: "127.0.0.1".into(), port, mode, ca_file, login };
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let to = [address("ops@shop.example"), address("night@shop.example")];
        let sent = smtp.deliver(&address("millrace@shop.example"), &to, b"a: b\r\n\r\n.c\r\n").await;
        (server.await.expect("served"), sent)
    }

    #[tokio::test]
    async fn a_message_goes_over_in_every_mode() {
        let after = "MAIL FROM:<millrace@shop.example>\r\nRCPT TO:<ops@shop.example>\r\nRCPT TO:<night@shop.example>\r\n\
                     DATA\r\na: b\r\n\r\n..c\r\n\r\n.\r\nQUIT\r\n";
        let hello = "EHLO [127.0.0.1]\r\n";
        let auth = "AUTH PLAIN AG1lAGh1bnRlcjI=\r\n";
        for (mode, expected) in [
            (TlsMode::None, format!("{hello}{after}")),
            (TlsMode::Implicit, format!("(tls)\r\n{hello}{auth}{after}")),
            (TlsMode::Starttls, format!("{hello}STARTTLS\r\n(tls)\r\n{hello}{auth}{after}")),
        ] {
            let (heard, sent) = deliver(mode, true, but("-", "")).await;
            assert_eq!((sent, heard), (Ok(()), expected), "{mode:?}");
        }
    }

    #[tokio::test]
    async fn each_step_may_be_refused() {
        use ErrorKind::{Data, Invalid, Unavailable};
        let (none, tls) = (TlsMode::None, TlsMode::Starttls);
        let injected = "220 go\r\n250 AUTH PLAIN\r\n235 hello\r\n";
        for (mode, command, said, kind, text) in [
            (none, "MAIL", "550-who\r\n550 are you\r\n", Invalid, "the sender is answered 550 who are you"),
            (none, "RCPT TO:<n", "550 no such user\r\n", Invalid, "recipient night@shop.example is answered 550 no"),
            (none, "RCPT", "450 busy\r\n", Unavailable, "450 busy"),
            (none, "DATA", "451 later\r\n", Unavailable, "451 later"),
            (none, ".", "554 spam\r\n", Data, "the message is answered 554 spam"),
            (none, ".", "452 full\r\n", Unavailable, "452 full"),
            (none, "(greeting)", "554 not here\r\n", Unavailable, "554 not here"),
            (none, "(greeting)", "HTTP/1.1 400\r\n", Unavailable, "the connection: "),
            (none, "(greeting)", "", Unavailable, "the connection: "),
            (tls, "AUTH", "535 wrong\r\n", Invalid, "AUTH is answered 535 wrong"),
            (tls, "STARTTLS", "454 not now\r\n", Unavailable, "STARTTLS is answered 454"),
            // No password goes where TLS is not to be had, or where somebody talks into it.
            (tls, "EHLO", "250 here\r\n", Invalid, "STARTTLS is not supported"),
            (tls, "STARTTLS", injected, Invalid, "STARTTLS: "),
        ] {
            let (heard, sent) = deliver(mode, true, but(command, said)).await;
            let error = sent.expect_err(text);
            let told = error.to_string();
            assert!(error.kind() == kind && told.contains(text), "{kind:?} {text}, not {:?} {told}", error.kind());
            assert!(told.starts_with("smtp 127.0.0.1:") && !told.contains("hunter2"), "{told}");
            assert!(heard.contains("(tls)") || !heard.contains("AUTH"), "{heard}");
        }
    }

    #[tokio::test]
    async fn only_who_is_trusted_is_told() {
        for mode in [TlsMode::Implicit, TlsMode::Starttls] {
            let (heard, sent) = deliver(mode, false, but("-", "")).await;
            let error = sent.expect_err("not trusted");
            assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("certificate"), "{error}");
            assert!(!heard.contains("(tls)"), "{heard}");
        }
    }
}
