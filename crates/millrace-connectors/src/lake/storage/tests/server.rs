//! A server that answers as a test wants, and one that keeps objects in memory as S3 does, as far as the lake asks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

/// Objects of one page of a listing: few, so that listings have several.
const PAGE_OBJECTS: usize = 2;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `PUT /shop/lake/a?b=c`, decoded as far as the lake's names need it.
    pub(super) line: String,
    /// Headers, in lower case.
    pub(super) head: String,
    /// Body; what is sent here is text.
    pub(super) body: String,
}

/// Serves requests one after the other, each over a connection of its own; without an answer the connection ends. The
/// address is where. It serves until the tests end.
pub(super) fn serve(mut answer: impl FnMut(&Asked) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let Some((line, head)) = head.split_once(" HTTP/1.1\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.trim().parse().expect("a number"))];
            stream.read_exact(&mut body).expect("a body");
            let line = line.replace("%3D", "=").replace("%2F", "/");
            let asked = Asked { line, head, body: String::from_utf8(body).expect("text") };
            if let Some(text) = answer(&asked) {
                // A client that no longer waits has gone.
                let _ = stream.get_mut().write_all(text.as_bytes());
            }
        }
    });
    address
}

/// An answer. Headers end with a line's end each.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// A refusal as S3 words it.
pub(super) fn refusal(status: &str, code: &str, message: &str) -> String {
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    answer(status, "", &format!("{xml}\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}

/// Objects of a bucket called `shop`.
#[derive(Debug, Default)]
pub(super) struct Objects(BTreeMap<String, String>);

impl Objects {
    /// Does what is asked.
    pub(super) fn answer(&mut self, asked: &Asked) -> String {
        let (method, target) = asked.line.split_once(' ').expect("a method");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.strip_prefix("/shop").expect("the bucket").trim_start_matches('/').to_owned();
        let etag = "etag: \"1\"\r\n";
        match method {
            "PUT" if asked.head.contains("if-none-match: *") && self.0.contains_key(&key) => {
                refusal("412 Precondition Failed", "PreconditionFailed", "it is there")
            }
            "PUT" => {
                self.0.insert(key, asked.body.clone());
                answer("200 OK", etag, "")
            }
            "GET" if key.is_empty() => self.page(query),
            "GET" => match self.0.get(&key) {
                None => refusal("404 Not Found", "NoSuchKey", "it is not there"),
                Some(object) => part(object, &asked.head, etag),
            },
            "POST" if query.starts_with("delete") => {
                let keys = asked.body.split("<Key>").skip(1).filter_map(|rest| rest.split_once('<'));
                let deleted = |(key, _): (&str, &str)| {
                    self.0.remove(key);
                    format!("<Deleted><Key>{key}</Key></Deleted>")
                };
                let deleted: String = keys.map(deleted).collect();
                answer("200 OK", "", &format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            _ => refusal("400 Bad Request", "InvalidRequest", &asked.line),
        }
    }

    fn page(&self, query: &str) -> String {
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let (prefix, after) = (of("prefix").unwrap_or(""), of("continuation-token").unwrap_or(""));
        let known: Vec<_> = self.0.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).collect();
        let object = |(key, text): &(&String, &String)| {
            let size = text.len();
            let time = "2026-01-31T09:00:00.000Z";
            format!("<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{time}</LastModified></Contents>")
        };
        let page: String = known.iter().take(PAGE_OBJECTS).map(object).collect();
        let next = match known.get(PAGE_OBJECTS) {
            Some(_) => format!("<NextContinuationToken>{}</NextContinuationToken>", known[PAGE_OBJECTS - 1].0),
            None => String::new(),
        };
        answer("200 OK", "", &format!("<ListBucketResult>{page}{next}</ListBucketResult>"))
    }
}

/// What a range asks for, or all of it.
fn part(object: &str, head: &str, etag: &str) -> String {
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return answer("200 OK", etag, object) };
    let number = |text: &str| text.trim().parse::<usize>().expect("a number");
    let (first, last) = (number(first), number(last).min(object.len() - 1));
    let headers = format!("{etag}content-range: bytes {first}-{last}/{}\r\n", object.len());
    answer("206 Partial Content", &headers, &object[first..=last])
}
