//! Topic settings under their Kafka names: what each may hold, its default, and the typed form the log works with.

use std::collections::BTreeMap;

/// Settings of a topic as given by its creator, by Kafka's names; what is absent has its default.
pub(crate) type Overrides = BTreeMap<String, String>;

/// How Kafka's DescribeConfigs numbers the type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Which values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Accepts {
    /// Whole numbers in a range.
    Whole(i64, i64),
    /// A fraction between 0 and 1.
    Ratio,
    /// Exactly one of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// One of these words is honoured; the reason why others are refused.
    Only(&'static [&'static str], &'static str),
    /// Anything: kept and shown, of no effect on one broker.
    Anything,
}

/// One known setting.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) kind: ValueKind,
    pub(crate) accepts: Accepts,
    pub(crate) default: &'static str,
}

const fn define(name: &'static str, kind: ValueKind, accepts: Accepts, default: &'static str) -> Definition {
    Definition { name, kind, accepts, default }
}

const NO_LIMIT: &str = "9223372036854775807";
const MAX: i64 = i64::MAX;
const INT_MAX: i64 = i32::MAX as i64;
const BOOL: Accepts = Accepts::Word(&["true", "false"]);

/// Every setting a topic has, by name. Defaults are Apache Kafka's, except for `segment.bytes` (64 MiB).
#[rustfmt::skip]
pub(crate) const DEFINITIONS: &[Definition] = &[
    define("cleanup.policy", ValueKind::List, Accepts::Words(&["delete", "compact"]), "delete"),
    define("compression.type", ValueKind::String,
        Accepts::Only(&["producer"], "batches are stored as the producer compressed them"), "producer"),
    define("delete.retention.ms", ValueKind::Long, Accepts::Whole(0, MAX), "86400000"),
    define("file.delete.delay.ms", ValueKind::Long, Accepts::Whole(0, MAX), "60000"),
    define("flush.messages", ValueKind::Long, Accepts::Whole(1, MAX), NO_LIMIT),
    define("flush.ms", ValueKind::Long, Accepts::Whole(0, MAX), NO_LIMIT),
    define("follower.replication.throttled.replicas", ValueKind::List, Accepts::Anything, ""),
    define("index.interval.bytes", ValueKind::Int, Accepts::Whole(0, INT_MAX), "4096"),
    define("leader.replication.throttled.replicas", ValueKind::List, Accepts::Anything, ""),
    define("max.compaction.lag.ms", ValueKind::Long, Accepts::Whole(1, MAX), NO_LIMIT),
    define("max.message.bytes", ValueKind::Int, Accepts::Whole(0, INT_MAX), "1048588"),
    define("message.timestamp.after.max.ms", ValueKind::Long, Accepts::Whole(0, MAX), "3600000"),
    define("message.timestamp.before.max.ms", ValueKind::Long, Accepts::Whole(0, MAX), NO_LIMIT),
    define("message.timestamp.type", ValueKind::String, Accepts::Word(&["CreateTime", "LogAppendTime"]), "CreateTime"),
    define("min.cleanable.dirty.ratio", ValueKind::Double, Accepts::Ratio, "0.5"),
    define("min.compaction.lag.ms", ValueKind::Long, Accepts::Whole(0, MAX), "0"),
    define("min.insync.replicas", ValueKind::Int, Accepts::Whole(1, INT_MAX), "1"),
    define("preallocate", ValueKind::Boolean, BOOL, "false"),
    define("remote.storage.enable", ValueKind::Boolean,
        Accepts::Only(&["false"], "there is no remote storage"), "false"),
    define("retention.bytes", ValueKind::Long, Accepts::Whole(-1, MAX), "-1"),
    define("retention.ms", ValueKind::Long, Accepts::Whole(-1, MAX), "604800000"),
    define("segment.bytes", ValueKind::Int, Accepts::Whole(14, SEGMENT_BYTES_MAX), "67108864"),
    define("segment.index.bytes", ValueKind::Int, Accepts::Whole(4, INT_MAX), "10485760"),
    define("segment.jitter.ms", ValueKind::Long, Accepts::Whole(0, MAX), "0"),
    define("segment.ms", ValueKind::Long, Accepts::Whole(1, MAX), "604800000"),
    define("unclean.leader.election.enable", ValueKind::Boolean, BOOL, "false"),
];

/// Largest segment, bytes: positions inside one are 31-bit numbers.
pub(crate) const SEGMENT_BYTES_MAX: i64 = 1 << 30;

/// The setting called `name`, if there is one.
pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

/// Checks one setting; the error is a sentence for the client.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(definition) = definition(name) else {
        return Err(format!("unknown topic config name: {name}"));
    };
    let refuse = |wanted: String| Err(format!("invalid value {value} for configuration {name}: {wanted}"));
    match definition.accepts {
        Accepts::Whole(low, high) => match value.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(()),
            _ => refuse(format!("a whole number from {low} to {high} is needed")),
        },
        Accepts::Ratio => match value.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
            _ => refuse("a number from 0 to 1 is needed".into()),
        },
        Accepts::Word(words) if words.contains(&value) => Ok(()),
        Accepts::Words(words) if !value.is_empty() && value.split(',').all(|v| words.contains(&v.trim())) => Ok(()),
        Accepts::Word(words) | Accepts::Words(words) => refuse(format!("it takes {}", words.join(", "))),
        Accepts::Only(words, _) if words.contains(&value) => Ok(()),
        Accepts::Only(words, why) => refuse(format!("this broker takes only {} because {why}", words.join(", "))),
        Accepts::Anything => Ok(()),
    }
}

/// The value in force: the topic's own or the default.
pub(crate) fn value<'a>(overrides: &'a Overrides, name: &str) -> &'a str {
    let default = definition(name).map_or("", |definition| definition.default);
    overrides.get(name).map_or(default, String::as_str)
}

/// When messages get their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The settings that the log obeys, typed. Times are milliseconds, sizes bytes; `None` is no limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogSettings {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) delete_retention_ms: i64,
    pub(crate) flush_messages: i64,
    pub(crate) message_bytes_max: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_ms_max: i64,
    pub(crate) timestamp_after_ms_max: i64,
    pub(crate) dirty_ratio_min: f64,
    pub(crate) compaction_lag_ms_min: i64,
    pub(crate) compaction_lag_ms_max: i64,
    pub(crate) insync_replicas_min: i64,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) segment_bytes: u32,
    pub(crate) segment_ms: i64,
}

impl LogSettings {
    /// Types the settings of a topic. Values that [`check`] would refuse (a data directory written by a later version)
    /// fall back to the default.
    pub(crate) fn of(overrides: &Overrides) -> Self {
        let checked = |name| match value(overrides, name) {
            given if check(name, given).is_ok() => given,
            _ => definition(name).map_or("", |definition| definition.default),
        };
        let number = |name| checked(name).parse::<i64>().unwrap_or_default();
        let policy = |word| checked("cleanup.policy").split(',').any(|given| given.trim() == word);
        Self {
            compact: policy("compact"),
            delete: policy("delete"),
            delete_retention_ms: number("delete.retention.ms"),
            flush_messages: number("flush.messages"),
            message_bytes_max: number("max.message.bytes") as usize,
            timestamp_type: match checked("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
            timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
            dirty_ratio_min: checked("min.cleanable.dirty.ratio").parse().unwrap_or_default(),
            compaction_lag_ms_min: number("min.compaction.lag.ms"),
            compaction_lag_ms_max: number("max.compaction.lag.ms"),
            insync_replicas_min: number("min.insync.replicas"),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            retention_ms: Some(number("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes: number("segment.bytes").clamp(0, SEGMENT_BYTES_MAX) as u32,
            segment_ms: number("segment.ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_sorted() {
        for definition in DEFINITIONS {
            if definition.accepts != Accepts::Anything {
                assert_eq!(check(definition.name, definition.default), Ok(()));
            }
        }
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn values_are_checked_with_a_reason() {
        // (name, value, part of the refusal; empty: accepted)
        let table = [
            ("retention.ms", "-1", ""),
            ("retention.ms", "-2", "whole number from -1"),
            ("retention.ms", "soon", "whole number"),
            ("cleanup.policy", "compact,delete", ""),
            ("cleanup.policy", "compact, delete", ""),
            ("cleanup.policy", "shred", "it takes delete, compact"),
            ("cleanup.policy", "", "it takes"),
            ("message.timestamp.type", "LogAppendTime", ""),
            ("min.cleanable.dirty.ratio", "1.5", "from 0 to 1"),
            ("compression.type", "zstd", "stored as the producer compressed them"),
            ("segment.bytes", "2147483647", "to 1073741824"),
            ("no.such.thing", "1", "unknown topic config name"),
        ];
        for (name, value, refusal) in table {
            match check(name, value) {
                Ok(()) => assert_eq!(refusal, "", "{name}={value} was accepted"),
                Err(said) => assert!(!refusal.is_empty() && said.contains(refusal), "{name}={value}: {said}"),
            }
        }
    }

    #[test]
    fn typed_settings_follow_the_overrides() {
        let overrides = Overrides::from([
            ("cleanup.policy".into(), "compact,delete".into()),
            ("retention.bytes".into(), "1000".into()),
            ("retention.ms".into(), "-1".into()),
        ]);
        let settings = LogSettings::of(&overrides);
        assert!(settings.compact && settings.delete);
        assert_eq!((settings.retention_bytes, settings.retention_ms), (Some(1_000), None));
        assert_eq!(LogSettings::of(&Overrides::new()).segment_bytes, 64 << 20);
    }
}
