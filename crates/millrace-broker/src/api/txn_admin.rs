//! ListTransactions, DescribeTransactions, DescribeProducers: what an operator asks when a consumer is stuck.

use crate::api::{text, topic_name};
use crate::server::dispatch::Context;
use crate::txn::record::{Record, TxnState};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::describe_transactions_response::TopicData;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId, describe_transactions_response,
    list_transactions_response,
};
use std::collections::BTreeMap;

pub(crate) async fn list(context: Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let now_ms = context.now_ms();
    let known = |name: &str| TxnState::ALL.iter().any(|state| state.name() == name);
    let unknown = request.state_filters.iter().filter(|name| !known(name)).cloned().collect();
    let wanted = |record: &Record| {
        let by_state = request.state_filters.is_empty()
            || request.state_filters.iter().any(|name| name.as_str() == record.state.name());
        let by_id = request.producer_id_filters.is_empty()
            || request.producer_id_filters.iter().any(|id| id.0 == record.producer_id);
        let runs_ms = if record.started_at_ms >= 0 { now_ms - record.started_at_ms } else { 0 };
        by_state && by_id && (request.duration_filter < 0 || runs_ms > request.duration_filter)
    };
    let all = context.transactions.all().await;
    let listed = all.into_iter().filter(|(_, record)| wanted(record)).map(|(id, record)| {
        list_transactions_response::TransactionState::default()
            .with_transactional_id(TransactionalId(text(&id)))
            .with_producer_id(ProducerId(record.producer_id))
            .with_transaction_state(text(record.state.name()))
    });
    ListTransactionsResponse::default().with_transaction_states(listed.collect()).with_unknown_state_filters(unknown)
}

pub(crate) async fn describe(context: Context, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for id in request.transactional_ids {
        let described = match context.transactions.get(&id).await {
            Some(record) => described(&record),
            None => describe_transactions_response::TransactionState::default()
                .with_error_code(ResponseError::TransactionalIdNotFound.code()),
        };
        response.transaction_states.push(described.with_transactional_id(id));
    }
    response
}

fn described(record: &Record) -> describe_transactions_response::TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &record.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topic = |(name, partitions): (&str, Vec<i32>)| {
        TopicData::default().with_topic(topic_name(name)).with_partitions(partitions)
    };
    describe_transactions_response::TransactionState::default()
        .with_transaction_state(text(record.state.name()))
        .with_transaction_timeout_ms(record.timeout_ms)
        .with_transaction_start_time_ms(record.started_at_ms)
        .with_producer_id(ProducerId(record.producer_id))
        .with_producer_epoch(record.epoch)
        .with_topics(topics.into_iter().map(topic).collect())
}

pub(crate) async fn describe_producers(
    context: Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let partition = |topic: &str, index: i32| {
        let response = PartitionResponse::default().with_partition_index(index);
        let Some(partition) = context.topics.partition(topic, index) else {
            return response.with_error_code(ResponseError::UnknownTopicOrPartition.code());
        };
        let log = crate::sync::lock(&partition.log);
        let producer = |(id, producer): (i64, &crate::storage::producers::Producer)| {
            let last = producer.seen.back();
            ProducerState::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(i32::from(producer.epoch))
                .with_last_sequence(last.map_or(-1, |seen| seen.last_sequence))
                .with_last_timestamp(last.map_or(producer.last_write_ms, |seen| seen.max_timestamp_ms))
                .with_coordinator_epoch(0)
                .with_current_txn_start_offset(producer.open_from.unwrap_or(-1))
        };
        response.with_active_producers(log.producers.iter().map(producer).collect())
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| partition(&topic.name, *index)).collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}
