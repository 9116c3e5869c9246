//! An HTTP client for one server: reqwest, with what alert channels and the search sink want of it.
//!
//! No redirects: a target that moved is a setting to change. No proxy from the environment: what is signed or secret goes to
//! the server that the settings name.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use millrace_model::{Classified, ErrorKind};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};

pub use reqwest::Method;

use crate::tls::{cause, own_certificates};

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
    client: Client,
    /// The URL it was made with.
    url: Url,
    host: String,
    port: u16,
    /// Path and query of the URL.
    path: String,
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
        let url = Url::parse(url).map_err(|_| wrong())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the address of a server must hold no name or password".into()));
        }
        let is_https = url.scheme() == "https";
        let (Some(host), Some(port), true) =
            (url.host_str(), url.port_or_known_default(), is_https || url.scheme() == "http")
        else {
            return Err(wrong());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", url.path());
        let mut builder = Client::builder()
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            // Who speaks in the open needs none, and reading them takes a while.
            .tls_built_in_native_certs(is_https);
        if let (true, Some(path)) = (is_https, ca_file) {
            let pem = own_certificates(path).map_err(invalid)?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| invalid(cause(&error).text))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|error| invalid(format!("{host}: tls: {}", cause(&error).text)))?;
        Ok(HttpClient { client, url, host, port, path })
    }

    /// Path and query of the URL it was made with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, for a log.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Sends one request and reads the answer, whatever its status. Not repeated here: who asks knows whether that is safe.
    ///
    /// # Errors
    /// `Unavailable`: no connection, no answer within `wait`, or one that is too long. `Invalid`: a certificate that is not
    /// trusted, a header that cannot be sent.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Answer, HttpError> {
        let mut url = self.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        let mut headers = self.headers(headers)?;
        // Of an empty body too: there are servers that want to know.
        headers.insert(CONTENT_LENGTH, body.len().into());
        let request = self.client.request(method, url).headers(headers).timeout(wait).body(body);
        let asked = async {
            let answer = request.send().await?;
            let (status, retry_after) = (answer.status().as_u16(), retry_after(answer.headers()));
            Ok((status, retry_after, read(answer).await?))
        };
        match asked.await {
            Ok((status, retry_after, Some(body))) => Ok(Answer { status, retry_after, body }),
            Ok((_, _, None)) => Err(self.fault(
                ErrorKind::Unavailable,
                format_args!("an answer of more than {ANSWER_BYTES_MAX} bytes, which is not read"),
            )),
            Err(error) => Err(self.failed(&error, wait)),
        }
    }

    fn headers(&self, headers: &[(&str, &str)]) -> Result<HeaderMap, HttpError> {
        let invalid = |what: &str| self.fault(ErrorKind::Invalid, format_args!("{what} cannot be sent"));
        let mut all = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("a header's name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| invalid("a header"))?;
            value.set_sensitive(true);
            all.append(name, value);
        }
        Ok(all)
    }

    /// Without what reqwest says itself, which is the URL.
    fn failed(&self, error: &reqwest::Error, wait: Duration) -> HttpError {
        if error.is_timeout() {
            return self.fault(ErrorKind::Unavailable, format_args!("no answer within {wait:?}"));
        }
        let Some(below) = error.source() else {
            return self.fault(ErrorKind::Unavailable, "the connection fails");
        };
        let cause = cause(below);
        match error.is_connect() && cause.refused {
            true => self.fault(ErrorKind::Invalid, format_args!("tls: {}", cause.text)),
            false => self.fault(ErrorKind::Unavailable, cause.text),
        }
    }

    fn fault(&self, kind: ErrorKind, why: impl fmt::Display) -> HttpError {
        HttpError::new(kind, format!("{}: {why}", self.server()))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

/// The body; `None`: it is too long.
async fn read(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if answer.content_length().is_some_and(|length| length > ANSWER_BYTES_MAX as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
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
    use crate::tls::tests::{acceptor, file};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::TcpListener;

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn addresses() {
        let client = HttpClient::new("http://127.0.0.1:9200/a?b=c", None).expect("an address");
        assert_eq!((client.server().as_str(), client.path()), ("127.0.0.1:9200", "/a?b=c"));
        assert_eq!(HttpClient::new("https://hooks.example", None).expect("an address").server(), "hooks.example:443");
        assert_eq!(HttpClient::new("http://[::1]:81/", None).expect("an address").server(), "::1:81");
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

    /// Reads a request's head, answers with this and as many bytes, and gives back what was asked.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, said: &str, bytes: usize) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(said.as_bytes()).await.expect("answered");
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..bytes.div_ceil(chunk.len()) {
            // The client may have heard enough.
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = stream.shutdown().await;
        String::from_utf8(asked).expect("text")
    }

    /// Asks a server that says this; what it was asked, and what came of it.
    async fn ask(said: &'static str, bytes: usize) -> (String, Result<Answer, HttpError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("a port"));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            answer(stream, said, bytes).await
        });
        let client = HttpClient::new(&url, None).expect("an address");
        let told = client.send(Method::PUT, "/a*b?c=d", &[("x-key", "hidden")], Vec::new(), WAIT).await;
        (server.await.expect("asked"), told)
    }

    #[tokio::test]
    async fn one_request_one_answer() {
        let (asked, told) = ask("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno", 0).await;
        let told = told.expect("an answer");
        assert_eq!(
            (told.status, told.retry_after, told.body.as_slice()),
            (429, Some(Duration::from_secs(7)), &b"no"[..])
        );
        assert!(asked.starts_with("PUT /a*b?c=d HTTP/1.1\r\n"), "{asked}");
        for header in ["x-key: hidden\r\n", "content-length: 0\r\n", "user-agent: millrace/", "host: 127.0.0.1:"] {
            assert!(asked.contains(header), "{asked}");
        }
        // Where it points is not followed; an hour is not waited.
        let (_, told) =
            ask("HTTP/1.1 302 Found\r\nlocation: /b\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n", 0).await;
        let told = told.expect("an answer");
        assert_eq!((told.status, told.retry_after), (302, Some(Duration::from_secs(300))));
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_read() {
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n";
        for (said, bytes) in [(long, 0), ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", ANSWER_BYTES_MAX + 1)] {
            let error = ask(said, bytes).await.1.expect_err("too long");
            assert!(error.to_string().contains("more than 67108864 bytes"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
    }

    #[tokio::test]
    async fn errors_name_the_server_and_no_secret() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("a port");
        let wait = Duration::from_millis(100);
        let silent_at = silent.local_addr().expect("a port");
        for (server, header, kind, text) in [
            (silent_at, "secret", ErrorKind::Unavailable, "no answer within 100ms"),
            (gone, "secret", ErrorKind::Unavailable, "refused"),
            (gone, "secret\r\nx: y", ErrorKind::Invalid, "a header cannot be sent"),
        ] {
            let client = HttpClient::new(&format!("http://{server}/secret?secret"), None).expect("an address");
            let headers = [("authorization", header)];
            let error = client.send(Method::POST, client.path(), &headers, b"secret".to_vec(), wait).await;
            let error = error.expect_err("no answer");
            let told = error.to_string();
            assert_eq!(error.kind(), kind, "{told}");
            assert!(told.starts_with(&server.to_string()) && told.contains(text) && !told.contains("secret"), "{told}");
        }
        let (_, told) = ask("220 mail.example ESMTP\r\n\r\n", 0).await;
        let error = told.expect_err("no HTTP");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.to_string().contains("a*b"), "{error}");
    }

    #[tokio::test]
    async fn only_who_is_trusted_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/", listener.local_addr().expect("a port"));
        let server = tokio::spawn(async move {
            let acceptor = acceptor(&["http/1.1"]);
            let mut asked = Vec::new();
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.expect("a connection");
                if let Ok(stream) = acceptor.accept(stream).await {
                    asked.push(answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0).await);
                }
            }
            asked
        });
        let stranger = HttpClient::new(&url, None).expect("an address");
        let error = stranger.send(Method::GET, "/", &[], Vec::new(), WAIT).await.expect_err("not trusted");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("certificate"), "{error}");
        let known = HttpClient::new(&url, Some(&file("ca.pem"))).expect("an address");
        assert_eq!(known.send(Method::GET, "/", &[], Vec::new(), WAIT).await.expect("an answer").status, 200);
        assert_eq!(server.await.expect("served").len(), 1);
        let error = HttpClient::new(&url, Some(&file("README.md"))).expect_err("no certificate");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("README.md"), "{error}");
    }
}
