//! What the error of a bucket means: whether waiting helps, and what to set where it does not.

use std::error::Error as StdError;
use std::io;

use millrace_model::ErrorKind;
use object_store::Error;

/// What the server answered. The library keeps it to itself, but for the text of its error.
#[derive(PartialEq, Eq, Debug, Default)]
struct Answer {
    status: Option<u16>,
    code: String,
    message: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let until = |rest: &str, end: &str| rest.split_once(end).map(|(found, _)| found.to_owned());
        let tag = |name: &str| until(after(&format!("<{name}>"))?, "<");
        Answer {
            status: after("status code: ").and_then(|rest| rest.get(..3)?.parse().ok()),
            // The second is of one among several that were to be deleted.
            code: tag("Code").or_else(|| until(after("(code: ")?, ")")).unwrap_or_default(),
            message: tag("Message").unwrap_or_default(),
        }
    }
}

/// Whether it is the object that is missing, and not its bucket.
pub(super) fn is_object_missing(error: &Error) -> bool {
    let code = Answer::of(&error.to_string()).code;
    code == "NoSuchKey" || (matches!(error, Error::NotFound { .. }) && code != "NoSuchBucket")
}

/// What to do about an error, and a sentence for whoever has to. Nothing of it is secret: of an answer it shows code and
/// message, of a request nothing.
pub(super) fn read(error: &Error, bucket: &str, server: &str) -> (ErrorKind, String) {
    let text = error.to_string();
    let answer = Answer::of(&text);
    let (kind, hint) = decide(error, &text, &answer);
    let said = match (answer.status, error) {
        (Some(status), _) => {
            let Answer { code, message, .. } = &answer;
            format!("{bucket} answers {status} {code} {message}").trim_end().to_owned()
        }
        (None, Error::Unauthenticated { .. }) => cause(error).to_string(),
        _ => format!("{server}: {}", cause(error)),
    };
    (kind, format!("{said}{hint}"))
}

fn decide(error: &Error, text: &str, answer: &Answer) -> (ErrorKind, &'static str) {
    use ErrorKind::{Invalid, Unavailable};
    match (answer.status, answer.code.as_str()) {
        (_, "NoSuchBucket") => (Invalid, "; make the bucket first"),
        (Some(300..=399), _)
        | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
            (Invalid, "; AWS_REGION and AWS_ENDPOINT_URL must be the bucket's")
        }
        (Some(401 | 403), _) | (_, "AccessDenied" | "ExpiredToken" | "InvalidToken") => {
            (Invalid, "; the credentials must allow to list the bucket, and to get, put and delete below the prefix")
        }
        (Some(404), _) => (Invalid, "; make the bucket first"),
        (Some(501), _) => (Invalid, "; the server must know conditional puts (If-None-Match)"),
        // 409: another request for the same name is under way.
        (Some(408 | 409 | 429 | 500..=599), _) => (Unavailable, ""),
        (Some(400..=499), _) => (Invalid, ""),
        _ if text.contains("redirect without LOCATION") => {
            (Invalid, "; AWS_REGION and AWS_ENDPOINT_URL must be the bucket's")
        }
        _ if causes(error).any(is_distrust) => {
            (Invalid, "; AWS_CA_BUNDLE names certificates to trust besides the system's")
        }
        _ => match error {
            Error::Unauthenticated { .. } | Error::PermissionDenied { .. } | Error::InvalidPath { .. } => (Invalid, ""),
            _ => (Unavailable, ""),
        },
    }
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error| (*error).source())
}

/// What was first: the others say that it happened in a request.
fn cause(error: &Error) -> &(dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

/// A certificate that is not trusted, or no TLS at all, does not become so by waiting.
fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        error.kind() == io::ErrorKind::InvalidData || error.get_ref().is_some_and(|inner| is_distrust(inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_in_texts() {
        let answer = |status, code: &str, message: &str| Answer { status, code: code.into(), message: message.into() };
        for (text, expected) in [
            (
                "GET http://127.0.0.1:9/b - Server returned non-2xx status code: 404 Not Found: <?xml version=\"1.0\"?>\
                 <Error><Code>NoSuchBucket</Code><Message>there is none</Message></Error>",
                answer(Some(404), "NoSuchBucket", "there is none"),
            ),
            ("DeleteObjects request failed for key a: no (code: AccessDenied)", answer(None, "AccessDenied", "")),
            ("Server returned non-2xx status code: 5", answer(None, "", "")),
            ("HTTP error: error sending request", Answer::default()),
        ] {
            assert_eq!(Answer::of(text), expected, "{text}");
        }
    }
}
