//! Reads topics from the first record to where they end now, once.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, KafkaError, Place};
use millrace_model::Timestamp;

/// Whose name the questions are asked in; it commits nothing.
const GROUP: &str = "millrace-audit";

/// A record as it passes by.
pub(crate) struct Passing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Kafka's time.
    pub(crate) time: Option<Timestamp>,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

/// Shows every committed record of these topics; gives what each partition held.
///
/// # Errors
/// Kafka.
pub(crate) async fn scan(
    kafka: &ClientSettings,
    topics: &[&str],
    mut show: impl FnMut(Passing<'_>),
) -> Result<HashMap<Place, Extent>, KafkaError> {
    let bar = crate::progress::bar(0, "reading");
    let begins = |total| bar.set_length(total);
    let passes = |record: Passing<'_>| {
        bar.inc(1);
        show(record);
    };
    let extents = scan_watched(kafka, topics, begins, passes).await;
    bar.finish_and_clear();
    extents
}

/// The same for who shows by themselves how far it is; `begins` is told how many records there are.
///
/// # Errors
/// Kafka.
pub(crate) async fn scan_watched(
    kafka: &ClientSettings,
    topics: &[&str],
    begins: impl FnOnce(u64),
    mut show: impl FnMut(Passing<'_>),
) -> Result<HashMap<Place, Extent>, KafkaError> {
    let cluster = Cluster::new(kafka, GROUP)?;
    let mut reader = Reader::new(kafka, GROUP)?;
    let names: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
    let places = cluster.places(&names).await?;
    let extents = cluster.extents(&places).await?;
    let starts =
        extents.iter().filter(|(_, extent)| extent.end > extent.low).map(|(place, extent)| (place.clone(), extent.low));
    let starts: HashMap<Place, i64> = starts.collect();
    let total: i64 = extents.values().map(|extent| extent.end - extent.low).sum();
    begins(total.cast_unsigned());
    reader.assign(starts.clone())?;
    // Read up to the end of when we began: records that come meanwhile are not shown.
    let done = |positions: &HashMap<Place, i64>| {
        starts.keys().all(|place| positions.get(place).is_some_and(|next| *next >= extents[place].end))
    };
    while !done(&reader.positions()) {
        let mut any = false;
        while let Some(message) = reader.next()? {
            any = true;
            let place = Place::new(message.topic(), message.partition());
            if message.offset() < extents[&place].end {
                show(Passing {
                    topic: message.topic(),
                    partition: message.partition(),
                    offset: message.offset(),
                    time: message.timestamp().to_millis().map(Timestamp::from_millis),
                    key: message.key().unwrap_or_default(),
                    value: message.payload(),
                });
            }
        }
        if !any {
            reader.ready().await;
        }
    }
    Ok(extents)
}
