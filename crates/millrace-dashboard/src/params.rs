//! The query of a request: checked once, then passed on; also the way back into links.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::answer::Problem;
use crate::view::overview::Range;

/// Parameters of one request.
const PARAMS_MAX: usize = 32;
/// Bytes of a name or a value.
const PARAM_BYTES_MAX: usize = 512;

/// Names and values of a query, empty values left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// The value of a parameter that was given and is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// As [`get`](Self::get), owned.
    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The range asked for, or this one.
    pub(crate) fn range(&self, usual: Range) -> Range {
        self.get("range").and_then(Range::parse).unwrap_or(usual)
    }

    /// The number asked for, between 1 and `max`, or the usual.
    pub(crate) fn count(&self, name: &str, usual: usize, max: usize) -> usize {
        self.get(name).and_then(|count| count.parse().ok()).unwrap_or(usual).clamp(1, max.max(1))
    }

    /// These parameters with one changed or (none) left out.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> Params {
        let mut params = self.clone();
        match value {
            Some(value) => params.0.insert(name.to_owned(), value.to_owned()),
            None => params.0.remove(name),
        };
        params
    }

    /// Only these parameters: what a page knows.
    pub(crate) fn only(&self, names: &[&str]) -> Params {
        Params(
            self.0
                .iter()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        )
    }

    /// `path?name=value&…`, encoded; the bare path when there are none.
    pub(crate) fn query(&self, path: &str) -> String {
        let mut text = path.to_owned();
        for (at, (name, value)) in self.0.iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            encode(&mut text, name);
            text.push('=');
            encode(&mut text, value);
        }
        text
    }
}

impl FromIterator<(String, String)> for Params {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Params(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|error: QueryRejection| bad(format!("the query: {error}")))?;
        if pairs.len() > PARAMS_MAX {
            return Err(bad(format!("the query has more than {PARAMS_MAX} parameters")));
        }
        if let Some((name, _)) = pairs.iter().find(|(n, v)| n.len() > PARAM_BYTES_MAX || v.len() > PARAM_BYTES_MAX) {
            let name: String = name.chars().take(40).collect();
            return Err(bad(format!("parameter `{name}` is longer than {PARAM_BYTES_MAX} bytes")));
        }
        Ok(pairs.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect())
    }
}

/// Percent-encodes what is not unreserved (RFC 3986).
pub(crate) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn links() {
        let params = params(&[("q", "a&b=ü"), ("store", "main"), ("empty", "")]);
        assert_eq!(params.query("/stock"), "/stock?q=a%26b%3D%C3%BC&store=main");
        assert_eq!(params.with("q", None).query("/stock"), "/stock?store=main");
        assert_eq!(params.with("q", None).with("store", None).query("/stock"), "/stock");
        assert_eq!(params.only(&["store"]).query(""), "?store=main");
    }

    #[test]
    fn numbers_stay_within_bounds() {
        for (text, count) in [("5", 5), ("0", 1), ("99999", 100), ("x", 10), ("-1", 10)] {
            assert_eq!(params(&[("limit", text)]).count("limit", 10, 100), count, "{text}");
        }
        assert_eq!(params(&[("range", "6h")]).range(Range::Hour), Range::SixHours);
        assert_eq!(params(&[("range", "century")]).range(Range::Hour), Range::Hour);
    }
}
