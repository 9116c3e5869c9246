//! A client of a hundred lines: whole answers, and events as they come.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Asks for a path.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, &[]).await
}

/// Asks for a path with more headers; a `host` among them takes the place of the address.
pub(crate) async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    answer(address, "GET", path, headers, "").await
}

/// Sends JSON as a program does.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    post_with(address, path, &[("content-type", "application/json")], &body.to_string()).await
}

/// Sends a body with these headers.
pub(crate) async fn post_with(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    answer(address, "POST", path, headers, body).await
}

async fn answer(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let work = async {
        let mut stream = send(address, method, path, headers, body).await;
        let (status, headers) = head(&mut stream).await;
        let mut body = Vec::new();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            while let Some(chunk) = chunk(&mut stream).await {
                body.extend(chunk);
            }
        } else {
            stream.read_to_end(&mut body).await.expect("a body");
        }
        Answer { status, headers, body }
    };
    timeout(ANSWER_MAX, work).await.unwrap_or_else(|_| panic!("{path}: no answer"))
}

async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if method != "GET" {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str(&format!("host: {address}\r\n"));
    }
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await.expect("a request");
    BufReader::new(stream)
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("a line");
    line.trim_end().to_owned()
}

async fn head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let status = line(stream).await.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut headers = Vec::new();
    loop {
        let line = line(stream).await;
        let Some((name, value)) = line.split_once(": ") else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}

async fn chunk(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(&line(stream).await, 16).ok().filter(|size| *size > 0)?;
    let mut chunk = vec![0; size];
    stream.read_exact(&mut chunk).await.expect("a chunk");
    line(stream).await;
    Some(chunk)
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// An open stream of events.
pub(crate) struct Events {
    stream: BufReader<TcpStream>,
    buffer: String,
}

impl Events {
    /// Opens a stream; the status if it is refused.
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Events, u16> {
        let mut stream = send(address, "GET", path, headers, "").await;
        let (status, headers) = head(&mut stream).await;
        if status != 200 {
            return Err(status);
        }
        assert!(headers.iter().any(|(_, value)| value.starts_with("text/event-stream")), "{headers:?}");
        Ok(Events { stream, buffer: String::new() })
    }

    /// The next event; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        timeout(ANSWER_MAX, self.read()).await.expect("an event in time")
    }

    /// The next event of this kind.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                let (kind, id) = (field("event: "), field("id: "));
                let data = serde_json::from_str(&field("data: ")).expect("JSON");
                self.buffer = rest.to_owned();
                return Some(Event { kind, id, data });
            }
            let chunk = chunk(&mut self.stream).await?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}
