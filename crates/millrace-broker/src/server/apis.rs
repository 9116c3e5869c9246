//! The requests this broker answers: versions, and the shape of each, by which a frame is checked before it is decoded.

use kafka_protocol::messages::ApiKey;

/// One request kind.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    /// Oldest and newest version answered.
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// First version with compact lengths and tagged fields.
    pub(crate) flexible: i16,
    /// Fields in order; the grammar is in [`crate::server::shape`].
    pub(crate) shape: &'static str,
}

const fn api(key: ApiKey, min: i16, max: i16, flexible: i16, shape: &'static str) -> Api {
    Api { key, min, max, flexible, shape }
}

/// No version of it is flexible.
const NEVER: i16 = i16::MAX;

/// Every request answered. Newest versions are those of the last Kafka before server-side transaction verification
/// (KIP-890) changed what clients do, except where a newer version changes nothing.
#[rustfmt::skip]
pub(crate) const APIS: &[Api] = &[
    api(ApiKey::Produce,             3, 11,  9, "s h i [ s [ i y ] ]"),
    api(ApiKey::Fetch,               4, 16, 12, "i0-14 i i i b i7+ i7+ [ s0-12 u13+ [ i i9+ l i12+ l5+ i ] ] [7+ s0-12 u13+ ( i ) ] s11+"),
    api(ApiKey::ListOffsets,         1,  9,  6, "i b2+ [ s [ i i4+ l ] ]"),
    api(ApiKey::Metadata,            0, 12,  9, "[ u10+ s ] b4+ b8-10 b8+"),
    api(ApiKey::OffsetCommit,        2,  9,  8, "s i s s7+ l2-4 [ s [ i l i6+ s ] ]"),
    api(ApiKey::OffsetFetch,         1,  9,  6, "s0-7 [0-7 s ( i ) ] [8+ s s9+ i9+ [ s ( i ) ] ] b7+"),
    api(ApiKey::FindCoordinator,     0,  5,  3, "s0-3 b1+ (4+ s )"),
    api(ApiKey::JoinGroup,           0,  9,  6, "s i i1+ s s5+ s [ s y ] s8+"),
    api(ApiKey::Heartbeat,           0,  4,  4, "s i s s3+"),
    api(ApiKey::LeaveGroup,          0,  5,  4, "s s0-2 [3+ s s s5+ ]"),
    api(ApiKey::SyncGroup,           0,  5,  4, "s i s s3+ s5+ s5+ [ s y ]"),
    api(ApiKey::DescribeGroups,      0,  5,  5, "( s ) b3+"),
    api(ApiKey::ListGroups,          0,  5,  3, "(4+ s ) (5+ s )"),
    api(ApiKey::ApiVersions,         0,  4,  3, "s3+ s3+"),
    api(ApiKey::CreateTopics,        2,  7,  5, "[ s i h [ i ( i ) ] [ s s ] ] i b"),
    api(ApiKey::DeleteTopics,        1,  6,  4, "[6+ s u ] (0-5 s ) i"),
    api(ApiKey::DeleteRecords,       0,  2,  2, "[ s [ i l ] ] i"),
    api(ApiKey::InitProducerId,      0,  4,  2, "s i l3+ h3+"),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4,  4, "i3+ [ s [ i i i ] ]"),
    api(ApiKey::AddPartitionsToTxn,  0,  3,  3, "s l h [ s ( i ) ]"),
    api(ApiKey::AddOffsetsToTxn,     0,  3,  3, "s l h s"),
    api(ApiKey::EndTxn,              0,  3,  3, "s l h b"),
    api(ApiKey::TxnOffsetCommit,     0,  3,  3, "s s l h i3+ s3+ s3+ [ s [ i l i2+ s ] ]"),
    api(ApiKey::DescribeAcls,        1,  3,  2, "b s b s s b b"),
    api(ApiKey::DescribeConfigs,     1,  4,  4, "[ b s ( s ) ] b b3+"),
    api(ApiKey::AlterConfigs,        0,  2,  2, "[ b s [ s s ] ] b"),
    api(ApiKey::DescribeLogDirs,     1,  4,  2, "[ s ( i ) ]"),
    api(ApiKey::CreatePartitions,    0,  3,  2, "[ s i [ ( i ) ] ] i b"),
    api(ApiKey::DeleteGroups,        0,  2,  2, "( s )"),
    api(ApiKey::ElectLeaders,        0,  2,  2, "b1+ [ s ( i ) ] i"),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, 1, "[ b s [ s b s ] ] b"),
    api(ApiKey::ListPartitionReassignments, 0, 0, 0, "i [ s ( i ) ]"),
    api(ApiKey::OffsetDelete,        0,  0, NEVER, "s [ s [ i ] ]"),
    api(ApiKey::DescribeCluster,     0,  1,  0, "b b1+"),
    api(ApiKey::DescribeProducers,   0,  0,  0, "[ s ( i ) ]"),
    api(ApiKey::DescribeTransactions, 0, 0,  0, "( s )"),
    api(ApiKey::ListTransactions,    0,  1,  0, "( s ) ( l ) l1+"),
    api(ApiKey::DescribeTopicPartitions, 0, 0, 0, "[ s ] i ?{ s i }"),
];

/// Oldest Produce version that is advertised. Older clients of the C library look for versions 0–2 to learn which codecs
/// a broker knows; they never send them.
pub(crate) const PRODUCE_ADVERTISED_MIN: i16 = 0;

/// The request kind numbered `key`.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_what_is_answered() {
        let documented = include_str!("../lib.rs");
        for api in APIS {
            let versions = if api.min == api.max { api.min.to_string() } else { format!("{}–{}", api.min, api.max) };
            let cell = format!("| {:?} | {versions} |", api.key);
            assert!(documented.contains(&cell), "not in the crate's documentation: {cell}");
        }
    }
}
