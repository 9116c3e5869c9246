//! A `_bulk` request and what its answer means, item by item.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::index::Target;

/// A document on its way.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Document {
    pub(super) target: Target,
    /// The record's offset, plus one: a version is at least 1.
    pub(super) version: i64,
    pub(super) row: Map<String, Value>,
}

/// What becomes of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is in the index.
    Taken,
    /// A newer version is there already.
    Older,
    /// Not now.
    Again(String),
    /// Never: the reason.
    Refused(String),
}

/// The request's body, compressed.
pub(super) fn body(documents: &[&Document]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for Document { target, version, row } in documents {
        let action = json!({ "index": {
            "_index": target.index, "_id": target.id, "version": version, "version_type": "external_gte",
        } });
        serde_json::to_writer(&mut gzip, &action)?;
        gzip.write_all(b"\n")?;
        // Written by us, so without line breaks.
        serde_json::to_writer(&mut gzip, row)?;
        gzip.write_all(b"\n")?;
    }
    gzip.finish()
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Map<String, Value>>,
}

/// The fate of each document, in order.
///
/// # Errors
/// The answer is not one to a `_bulk` of so many documents.
pub(super) fn fates(answer: &[u8], documents: usize) -> Result<Vec<Fate>, String> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| format!("an answer that is none: {error}"))?;
    if answer.items.len() != documents {
        return Err(format!("{} answers to {documents} documents", answer.items.len()));
    }
    Ok(answer.items.iter().map(|item| fate(item.values().next().unwrap_or(&Value::Null))).collect())
}

fn fate(item: &Value) -> Fate {
    let error = &item["error"];
    let kind = error["type"].as_str().unwrap_or_default();
    let cause = error["caused_by"]["reason"].as_str().map(|cause| format!(": {cause}")).unwrap_or_default();
    let reason = || format!("{kind}: {}{cause}", error["reason"].as_str().unwrap_or_default());
    match item["status"].as_u64() {
        Some(200..=299) => Fate::Taken,
        Some(409) => Fate::Older,
        Some(429 | 500..=599) => Fate::Again(reason()),
        // A full disk blocks indices; somebody makes room.
        Some(403) if kind == "cluster_block_exception" => Fate::Again(reason()),
        Some(_) => Fate::Refused(reason()),
        None => Fate::Again("an item without a status".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn requests() {
        let row: Map<String, Value> = serde_json::from_str("{\"text\":\"two\\nlines\"}").expect("an object");
        let target = Target { index: "i".into(), id: "[\"a\"]".into() };
        let document = Document { target, version: 8, row };
        let body = body(&[&document, &document]).expect("a body");
        let mut text = String::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).expect("gzip");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0]["index"],
            json!({ "_index": "i", "_id": "[\"a\"]", "version": 8, "version_type": "external_gte" })
        );
        assert_eq!(lines[1]["text"], "two\nlines");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn each_item_has_its_fate() {
        let item = |status: u16, kind: &str| json!({ "index": { "status": status, "error": { "type": kind, "reason": "why", "caused_by": { "reason": "deep" } } } });
        let items = json!({ "errors": true, "items": [
            { "index": { "status": 201, "result": "created" } },
            item(409, "version_conflict_engine_exception"),
            item(429, "es_rejected_execution_exception"),
            item(503, "unavailable_shards_exception"),
            item(403, "cluster_block_exception"),
            item(403, "security_exception"),
            item(400, "mapper_parsing_exception"),
        ] });
        let fates = fates(items.to_string().as_bytes(), 7).expect("an answer");
        let again = |fate: &Fate| matches!(fate, Fate::Again(_));
        assert_eq!((&fates[0], &fates[1]), (&Fate::Taken, &Fate::Older));
        assert!(fates[2..5].iter().all(again), "{fates:?}");
        assert_eq!(fates[6], Fate::Refused("mapper_parsing_exception: why: deep".into()));
        assert!(matches!(fates[5], Fate::Refused(_)));
        assert!(super::fates(b"{\"items\":[]}", 1).is_err() && super::fates(b"<html>", 1).is_err());
    }
}
