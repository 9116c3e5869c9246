//! Signatures of S3 requests: AWS Signature Version 4, from the published algorithm. Text in, text out.

use hmac::{Hmac, KeyInit, Mac};
use millrace_model::Timestamp;
use sha2::{Digest, Sha256};

use super::settings::Credentials;

/// What is signed, and sent exactly so.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Percent-encoded, from the first slash.
    pub(super) path: &'a str,
    /// Percent-encoded and sorted, without the question mark.
    pub(super) query: &'a str,
    /// Headers besides those the signature adds; names in lower case.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, hexadecimal.
    pub(super) body_hash: &'a str,
}

/// The headers to send besides those of the request and `host`.
pub(super) fn headers(
    request: &Request<'_>,
    host: &str,
    region: &str,
    credentials: &Credentials,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let (date, time) = stamp(now);
    let mut added = vec![("x-amz-content-sha256", request.body_hash.to_owned()), ("x-amz-date", time.clone())];
    if let Some(token) = &credentials.session_token {
        added.push(("x-amz-security-token", token.reveal().to_owned()));
    }
    let mut signed: Vec<(&str, &str)> = vec![("host", host)];
    signed.extend(request.headers.iter().copied());
    signed.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let Request { method, path, query, body_hash, .. } = request;
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body_hash}");
    let scope = format!("{date}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut key = mac(format!("AWS4{}", credentials.secret_key.reveal()).as_bytes(), date.as_bytes());
    for part in [region, "s3", "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let id = &credentials.access_key_id;
    let value = format!("AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},Signature={signature}");
    added.push(("authorization", value));
    added
}

/// SHA-256, hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Percent-encodes as the signature wants it: all but letters, digits and `-._~`; slashes only where they do not separate.
pub(super) fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// `20260131` and `20260131T093000Z`.
fn stamp(now: Timestamp) -> (String, String) {
    let (year, month, day, hour) = now.date_and_hour();
    let seconds = now.0.div_euclid(1_000_000);
    let (minute, second) = (seconds.rem_euclid(3_600) / 60, seconds.rem_euclid(60));
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{hour:02}{minute:02}{second:02}Z");
    (date, time)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so there is no error to tell.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// The worked examples of the S3 manual, "Signature Calculations for the Authorization Header".
    #[test]
    fn examples_of_the_manual() {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let now = Timestamp::parse(b"2013-05-24T00:00:00Z").expect("a time");
        let empty = hash(b"");
        let text = hash(b"Welcome to Amazon S3.");
        let put = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        for (method, path, query, headers, body_hash, signature) in [
            (
                "GET",
                "/test.txt",
                "",
                &[("range", "bytes=0-9")][..],
                &empty,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "/test%24file.text",
                "",
                &put[..],
                &text,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/",
                "max-keys=2&prefix=J",
                &[][..],
                &empty,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let request = Request { method, path, query, headers, body_hash };
            let signed = super::headers(&request, "examplebucket.s3.amazonaws.com", "us-east-1", &credentials, now);
            let (_, authorization) = signed.last().expect("a signature");
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{method} {path}: {authorization}");
        }
    }

    #[test]
    fn texts() {
        assert_eq!(encode("t/date=2026-01-31/a b.parquet", true), "t/date%3D2026-01-31/a%20b.parquet");
        assert_eq!(encode("lake/t~", false), "lake%2Ft~");
        let time = Timestamp::parse(b"2026-01-31T09:05:07.9Z").expect("a time");
        assert_eq!(stamp(time), ("20260131".into(), "20260131T090507Z".into()));
    }
}
