//! An S3-compatible server through the five requests the lake needs: put, put if absent, get a range, list, delete.
//!
//! All of them may be repeated, so a connection that breaks is tried again here; a server that stays away is waited for by
//! the archiver. Addresses are path-style, which every server knows.

mod settings;
mod sign;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millrace_model::{Classified, ErrorKind};

use super::storage::Object;
use crate::http::{Answer, HttpClient, Method};
use crate::retry::now;
use crate::sink::SinkError;
use settings::Settings;

/// Connections, each with one request under way at most.
const CONNECTIONS: usize = 8;
/// Tries of a request.
const TRIES: u32 = 4;
/// Wait before the second try, milliseconds; doubled for each further one.
const BACKOFF_MS: u64 = 50;
/// Longest wait for an answer, seconds: an object of a few hundred megabytes may be under way.
const ANSWER_SECONDS_MAX: u64 = 120;
/// Bytes of one ranged read; a longer range is read in pieces.
const READ_BYTES_MAX: u64 = 32 << 20;

/// Objects of a bucket below a prefix.
#[derive(Debug)]
pub(super) struct S3 {
    clients: Vec<HttpClient>,
    next: AtomicUsize,
    settings: Settings,
    /// `/BUCKET/PREFIX/`, percent-encoded.
    root: String,
    bucket: String,
    /// Empty, or ends with a slash.
    prefix: String,
}

struct Ask<'a> {
    method: Method,
    path: &'a str,
    query: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

impl S3 {
    /// Reads the environment; connects when there is something to ask.
    ///
    /// # Errors
    /// `Invalid`: what to set.
    pub(super) fn new(bucket: &str, prefix: &str) -> Result<Self, SinkError> {
        let invalid = |why: String| SinkError::new(ErrorKind::Invalid, format!("lake s3://{bucket}: {why}"));
        let settings = Settings::read(|name| std::env::var(name).ok()).map_err(invalid)?;
        let server = match &settings.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://s3.{}.amazonaws.com", settings.region),
        };
        let client = || HttpClient::new(&server, settings.ca_file.as_deref()).map_err(|e| invalid(e.to_string()));
        let clients = (0..CONNECTIONS).map(|_| client()).collect::<Result<Vec<_>, _>>()?;
        let base = clients[0].path().trim_end_matches('/').to_owned();
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let root = format!("{base}/{}/", sign::encode(bucket, false));
        Ok(S3 { clients, next: AtomicUsize::new(0), settings, root, bucket: bucket.to_owned(), prefix })
    }

    /// Writes an object, over one of this name.
    pub(super) async fn put(&self, path: &str, body: &[u8]) -> Result<(), SinkError> {
        let answer = self.ask(Method::PUT, path, &[], body).await?;
        self.expect(path, &answer, &[200]).map(|_| ())
    }

    /// Writes an object unless there is one of this name; whether the one that is there is this one.
    pub(super) async fn create(&self, path: &str, body: &[u8]) -> Result<bool, SinkError> {
        let mut tries = 0;
        loop {
            let answer = self.ask(Method::PUT, path, &[("if-none-match", "*")], body).await?;
            match self.expect(path, &answer, &[200, 409, 412])? {
                200 => return Ok(true),
                // Another conditional put of this name was under way.
                409 if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(BACKOFF_MS)).await;
                }
                // A put whose answer was lost finds what it wrote itself.
                _ => {
                    let there = self.ask(Method::GET, path, &[], &[]).await?;
                    return Ok(self.expect(path, &there, &[200, 404])? == 200 && there.body == body);
                }
            }
        }
    }

    /// Bytes of an object; `None`: there is none of this name.
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, SinkError> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0));
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + READ_BYTES_MAX);
            let header = format!("bytes={at}-{}", end - 1);
            let answer = self.ask(Method::GET, path, &[("range", &header)], &[]).await?;
            if self.expect(path, &answer, &[200, 206, 404])? == 404 {
                return Ok(None);
            }
            if answer.body.len() as u64 != end - at {
                let text = format!("s3: {path}: {} bytes of a range of {}", answer.body.len(), end - at);
                return Err(SinkError::new(ErrorKind::Unavailable, text));
            }
            bytes.extend_from_slice(&answer.body);
            at = end;
        }
        Ok(Some(bytes))
    }

    /// Objects whose path begins with `folder/`, by name; all of them for an empty `folder`.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Object>, SinkError> {
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let prefix = sign::encode(&format!("{}{folder}", self.prefix), false);
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = format!("encoding-type=url&list-type=2&prefix={prefix}");
            if !token.is_empty() {
                query = format!("continuation-token={}&{query}", sign::encode(&token, false));
            }
            let path = self.root.clone();
            let ask = Ask { method: Method::GET, path: &path, query: &query, headers: &[], body: &[] };
            let answer = self.send(&ask).await?;
            self.expect(&folder, &answer, &[200])?;
            let page = Page::read(&String::from_utf8_lossy(&answer.body));
            let below =
                |(key, bytes): (String, u64)| Some(Object { path: key.strip_prefix(&self.prefix)?.to_owned(), bytes });
            found.extend(page.objects.into_iter().filter_map(below));
            match page.next {
                Some(next) => token = next,
                None => return Ok(found),
            }
        }
    }

    /// Deletes an object; one that is not there is as good as deleted.
    pub(super) async fn delete(&self, path: &str) -> Result<(), SinkError> {
        let answer = self.ask(Method::DELETE, path, &[], &[]).await?;
        self.expect(path, &answer, &[200, 204, 404]).map(|_| ())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, SinkError> {
        let path = format!("{}{}", self.root, sign::encode(&format!("{}{path}", self.prefix), true));
        self.send(&Ask { method, path: &path, query: "", headers, body }).await
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Answer, SinkError> {
        let mut failures = 0;
        loop {
            let (why, wait) = match self.once(ask).await {
                Ok(answer) if !matches!(answer.status, 429 | 500..=599) => return Ok(answer),
                Ok(answer) => (self.told(&answer), answer.retry_after),
                Err(error) if error.kind() == ErrorKind::Unavailable => (error.to_string(), None),
                Err(error) => return Err(SinkError::new(error.kind(), format!("s3: {error}"))),
            };
            failures += 1;
            if failures >= TRIES {
                return Err(SinkError::new(ErrorKind::Unavailable, format!("s3: {why}")));
            }
            tokio::time::sleep(wait.unwrap_or(Duration::from_millis(BACKOFF_MS << failures))).await;
        }
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, crate::http::HttpError> {
        let client = &self.clients[self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len()];
        let body_hash = sign::hash(ask.body);
        let Ask { path, query, headers, .. } = *ask;
        let request = sign::Request { method: ask.method.as_str(), path, query, headers, body_hash: &body_hash };
        let Settings { region, credentials, .. } = &self.settings;
        let signed = sign::headers(&request, &client.host_header(), region, credentials, now());
        let mut all = headers.to_vec();
        all.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let wait = Duration::from_secs(ANSWER_SECONDS_MAX);
        client.send(ask.method.clone(), &target, &all, ask.body.to_vec(), wait).await
    }

    /// The status, when it is one of these.
    fn expect(&self, path: &str, answer: &Answer, known: &[u16]) -> Result<u16, SinkError> {
        if known.contains(&answer.status) {
            // Of what is missing, a bucket does not come by itself.
            let code = tag(&String::from_utf8_lossy(&answer.body), "Code").unwrap_or_default();
            if answer.status != 404 || code != "NoSuchBucket" {
                return Ok(answer.status);
            }
        }
        let hint = match answer.status {
            301 | 307 => "; AWS_REGION and AWS_ENDPOINT_URL must be the bucket's",
            403 => "; the credentials must allow to list the bucket, and to get, put and delete below the prefix",
            404 => "; make the bucket first",
            501 => "; the server must know conditional puts (If-None-Match)",
            _ => "",
        };
        let text = format!("s3: {path}: {}{hint}", self.told(answer));
        Err(SinkError::new(ErrorKind::Invalid, text))
    }

    fn told(&self, answer: &Answer) -> String {
        let body = String::from_utf8_lossy(&answer.body);
        let [code, message] = ["Code", "Message"].map(|name| tag(&body, name).unwrap_or_default());
        format!("{} answers {} {code} {message}", self.bucket, answer.status)
    }
}

/// One page of a listing.
#[derive(PartialEq, Eq, Debug)]
struct Page {
    /// Keys and sizes.
    objects: Vec<(String, u64)>,
    /// What to ask the next page with.
    next: Option<String>,
}

impl Page {
    fn read(xml: &str) -> Self {
        let object = |part: &str| {
            let part = part.split("</Contents>").next()?;
            Some((decode(&tag(part, "Key")?), tag(part, "Size")?.parse().ok()?))
        };
        let objects = xml.split("<Contents>").skip(1).filter_map(object).collect();
        let more = tag(xml, "IsTruncated").as_deref() == Some("true");
        Page { objects, next: tag(xml, "NextContinuationToken").filter(|_| more) }
    }
}

/// The text of the first element of this name.
fn tag(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let mut plain = text.to_owned();
    for (escaped, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        plain = plain.replace(escaped, character);
    }
    Some(plain)
}

/// Undoes `encoding-type=url`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings() {
        let xml = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated>\
            <Contents><Key>lake/t/date%3D2026-01-31/a+b</Key><Size>12</Size></Contents>\
            <Contents><Key>lake/c&amp;d</Key><Size>0</Size></Contents>\
            <NextContinuationToken>1/x&amp;=</NextContinuationToken></ListBucketResult>";
        let page = Page::read(xml);
        assert_eq!(page.objects, [("lake/t/date=2026-01-31/a b".into(), 12), ("lake/c&d".into(), 0)]);
        assert_eq!(page.next.as_deref(), Some("1/x&="));
        assert_eq!(Page::read("<IsTruncated>false</IsTruncated>"), Page { objects: vec![], next: None });
        assert_eq!(decode("50%"), "50%");
    }
}
