//! An HTTP/1.1 client for one server: what alert channels and the search sink need of it, on hyper and rustls.
//!
//! One connection, kept while the server keeps it. No redirects: a target that moved is a setting to change.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use millrace_model::{Classified, ErrorKind};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub use hyper::Method;

/// Longest answer that is read, bytes.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest `Retry-After` that is obeyed, seconds.
const RETRY_AFTER_SECONDS_MAX: u64 = 300;

/// Why there is no answer. The text names host and reason, never path or headers: they may be secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpError {
    kind: ErrorKind,
    text: String,
}

impl HttpError {
    fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        HttpError { kind, text: text.into() }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for HttpError {}

impl Classified for HttpError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Body.
    pub body: Vec<u8>,
}

/// A client of one server.
pub struct HttpClient {
    host: String,
    port: u16,
    /// Path and query of the URL it was made with.
    path: String,
    tls: Option<TlsConnector>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({}:{})", self.host, self.port)
    }
}

impl HttpClient {
    /// A client of the server of this URL; it connects when it has something to send. `ca_file` is trusted besides the
    /// system's roots.
    ///
    /// # Errors
    /// `Invalid`: not the address of a server, a password in it, or certificates that cannot be read.
    pub fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, HttpError> {
        let invalid = |text: String| HttpError::new(ErrorKind::Invalid, text);
        let wrong = || invalid("not the address of a server; write http://HOST:PORT/PATH or https://…".into());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(invalid("the address of a server must hold no name or password".into()));
        }
        let (tls, port) = match scheme {
            "http" => (None, 80),
            "https" => (Some(crate::tls::connector(ca_file).map_err(invalid)?), 443),
            _ => return Err(wrong()),
        };
        Ok(HttpClient {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(port),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            tls,
            connection: Mutex::new(None),
        })
    }

    /// Path and query of the URL it was made with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, for a log.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The `Host` header it sends: with the port, unless it is the scheme's own.
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls.is_some() { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }

    /// Sends one request and reads the answer, whatever its status. Not repeated here: who asks knows whether that is safe.
    ///
    /// # Errors
    /// `Unavailable`: no connection, no answer within `wait`. `Invalid`: a certificate that is not trusted, a header or
    /// path that cannot be sent.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Answer, HttpError> {
        let request = self.request(method, path, headers, body)?;
        let mut connection = self.connection.lock().await;
        let asked = tokio::time::timeout(wait, self.ask(&mut connection, request)).await;
        let answer = asked.unwrap_or_else(|_| Err(self.away(format_args!("no answer within {wait:?}"))));
        if answer.is_err() {
            *connection = None;
        }
        answer
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let invalid =
            |what: &str| HttpError::new(ErrorKind::Invalid, format!("{}: {what} cannot be sent", self.server()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host_header())
            .header(USER_AGENT, concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("a header's name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| invalid("a header"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|_| invalid("the path"))
    }

    async fn ask(
        &self,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, HttpError> {
        let kept = match connection.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let answer = sender.send_request(request).await.map_err(|error| self.away(error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| self.away(error))?;
        *connection = Some(sender);
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX))),
            body: body.to_bytes().to_vec(),
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| self.away(error))?;
        // Small requests that wait for their answers: nothing is gained by holding them back.
        stream.set_nodelay(true).map_err(|error| self.away(error))?;
        match &self.tls {
            None => self.shake(TokioIo::new(stream)).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|_| HttpError::new(ErrorKind::Invalid, format!("`{}` is no host name", self.host)))?;
                let stream = tls.connect(name, stream).await.map_err(|error| self.refused(&error))?;
                self.shake(TokioIo::new(stream)).await
            }
        }
    }

    async fn shake<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, HttpError>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await.map_err(|error| self.away(error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }

    fn away(&self, error: impl fmt::Display) -> HttpError {
        HttpError::new(ErrorKind::Unavailable, format!("{}: {error}", self.server()))
    }

    /// A handshake that failed: a certificate that is not trusted does not become so by waiting.
    fn refused(&self, error: &std::io::Error) -> HttpError {
        let kind =
            if error.kind() == std::io::ErrorKind::InvalidData { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        HttpError::new(kind, format!("{}: tls: {error}", self.server()))
    }
}

/// What a status means for who sent: `None` is success.
pub fn kind_of_status(status: u16) -> Option<ErrorKind> {
    match status {
        200..=299 => None,
        408 | 425 | 429 | 500..=599 => Some(ErrorKind::Unavailable),
        401 | 403 | 404 | 407 | 410 => Some(ErrorKind::Invalid),
        _ => Some(ErrorKind::Data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let client = HttpClient::new("http://127.0.0.1:9200/a?b=c", None).expect("an address");
        assert_eq!((client.server().as_str(), client.path()), ("127.0.0.1:9200", "/a?b=c"));
        assert_eq!(HttpClient::new("https://hooks.example", None).expect("an address").server(), "hooks.example:443");
        assert_eq!(HttpClient::new("http://[::1]:81/", None).expect("an address").server(), "::1:81");
        for (url, header) in
            [("https://a:443/", "a"), ("http://a", "a"), ("http://[::1]:81/", "[::1]:81"), ("https://a:80", "a:80")]
        {
            assert_eq!(HttpClient::new(url, None).expect("an address").host_header(), header, "{url}");
        }
        for wrong in ["", "hooks.example", "ftp://x/", "http://user:secret@x/"] {
            let error = HttpClient::new(wrong, None).expect_err(wrong);
            assert!(error.kind() == ErrorKind::Invalid && !error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn statuses() {
        for (status, kind) in [
            (200, None),
            (429, Some(ErrorKind::Unavailable)),
            (503, Some(ErrorKind::Unavailable)),
            (401, Some(ErrorKind::Invalid)),
            (400, Some(ErrorKind::Data)),
            (302, Some(ErrorKind::Data)),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }
}
