//! Produce: each batch is checked, appended, and acknowledged as the settings want it.

use crate::api::text;
use crate::server::dispatch::Context;
use crate::stats::add;
use crate::storage::batch::{BatchError, ClientBatch};
use crate::storage::error::AppendError;
use crate::storage::log::Appended;
use crate::storage::partition::Partition;
use crate::storage::record::RecordError;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use std::sync::Arc;

/// How a produce request is answered.
pub(crate) enum Answer {
    Response(ProduceResponse),
    /// acks=0, all well.
    Silent,
    /// acks=0, but something was refused.
    SilentFailure,
}

/// A refusal: the protocol error and a sentence for the client.
type Refusal = (ResponseError, String);

pub(crate) async fn produce(context: Context, request: ProduceRequest) -> Answer {
    let mut response = ProduceResponse::default();
    let mut failed = false;
    for topic in request.topic_data {
        let mut answered = TopicProduceResponse::default();
        for data in topic.partition_data {
            let partition = context.topics.partition(&topic.name, data.index);
            let result = append(&context, partition.as_ref(), &data, request.acks).await;
            failed |= result.is_err();
            answered.partition_responses.push(partition_response(&context, data.index, partition, result));
        }
        response.responses.push(answered.with_name(topic.name));
    }
    match (request.acks, failed) {
        (0, false) => Answer::Silent,
        (0, true) => Answer::SilentFailure,
        _ => Answer::Response(response),
    }
}

async fn append(
    context: &Context,
    partition: Option<&Arc<Partition>>,
    data: &PartitionProduceData,
    acks: i16,
) -> Result<Appended, Refusal> {
    if !(-1..=1).contains(&acks) {
        return Err((ResponseError::InvalidRequiredAcks, format!("acks={acks} is none of -1, 0 and 1")));
    }
    let unknown =
        || (ResponseError::UnknownTopicOrPartition, "this server does not host this topic-partition".to_owned());
    let partition = partition.ok_or_else(unknown)?;
    let settings = partition.settings();
    if acks == -1 && settings.insync_replicas_min > 1 {
        let wanted = settings.insync_replicas_min;
        return Err((
            ResponseError::NotEnoughReplicas,
            format!("min.insync.replicas is {wanted}, but one broker is one replica"),
        ));
    }
    let records = data.records.clone().unwrap_or_default();
    let batch = ClientBatch::parse(records).map_err(|error| refuse(partition, error.into()))?;
    let limit = context.settings.limits.decompressed_batch_bytes_max;
    let appended = partition.append(&batch, limit, context.now_ms()).map_err(|error| refuse(partition, error))?;
    if appended.duplicate {
        add(&context.counters.duplicate_batches, 1);
    } else {
        add(&context.counters.records_in, batch.header.record_count as usize);
    }
    // A duplicate may have been appended by a request whose flush is still under way.
    if acks != 0 && (context.flushes_before_ack() || partition.flush_is_due()) {
        partition.flush().await.map_err(|error| refuse(partition, error.into()))?;
    }
    Ok(appended)
}

fn refuse(partition: &Partition, error: AppendError) -> Refusal {
    use ResponseError as E;
    let code = match &error {
        AppendError::TooLarge { .. } => E::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => E::RecordListTooLarge,
        AppendError::Timestamp { .. } => E::InvalidTimestamp,
        AppendError::OutOfOrder { .. } => E::OutOfOrderSequenceNumber,
        AppendError::Fenced { .. } => E::InvalidProducerEpoch,
        AppendError::NoTransaction(_) => E::InvalidTxnState,
        AppendError::Record(RecordError::Batch(batch)) | AppendError::Batch(batch) => match batch {
            BatchError::OldFormat(_) => E::UnsupportedForMessageFormat,
            BatchError::UnknownCodec(_) => E::UnsupportedCompressionType,
            BatchError::Invalid(_) => E::InvalidRecord,
            BatchError::Truncated { .. } | BatchError::BadLength(_) | BatchError::Checksum { .. } => E::CorruptMessage,
        },
        AppendError::Record(RecordError::Codec(_)) => E::CorruptMessage,
        AppendError::Record(RecordError::Malformed(_)) => E::InvalidRecord,
        // The client refreshes its metadata, finds the topic gone, and says so.
        AppendError::Storage(_) if partition.is_deleted() => E::UnknownTopicOrPartition,
        AppendError::Storage(_) => E::KafkaStorageError,
    };
    if matches!(error, AppendError::Storage(_)) {
        tracing::error!(partition = %partition.id, %error, "cannot append");
    } else {
        tracing::debug!(partition = %partition.id, %error, "refused a batch");
    }
    (code, error.to_string())
}

fn partition_response(
    context: &Context,
    index: i32,
    partition: Option<Arc<Partition>>,
    result: Result<Appended, Refusal>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match result {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.log_append_time_ms.unwrap_or(-1))
            .with_log_start_offset(partition.map_or(-1, |partition| partition.offsets().log_start)),
        Err((error, message)) => {
            let message = (context.version >= 8).then(|| text(&message));
            response
                .with_error_code(error.code())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
                .with_error_message(message)
        }
    }
}
