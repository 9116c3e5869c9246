//! Relations as Spark Connect's messages: the few this backend is made of.

use std::collections::{BTreeMap, HashMap};

use spark_connect_proto as proto;
use spark_connect_proto::relation::RelType;

fn relation(kind: RelType) -> proto::Relation {
    proto::Relation { common: None, rel_type: Some(kind) }
}

fn expression(text: &str) -> proto::Expression {
    let string = proto::expression::ExpressionString { expression: text.to_owned() };
    proto::Expression { common: None, expr_type: Some(proto::expression::ExprType::ExpressionString(string)) }
}

/// A query.
pub(crate) fn sql(text: &str) -> proto::Relation {
    relation(RelType::Sql(proto::Sql { query: text.to_owned(), ..Default::default() }))
}

/// A stream from a source of this format, `kafka` or `rate`.
pub(crate) fn stream(format: &str, options: &BTreeMap<String, String>) -> proto::Relation {
    let source = proto::read::DataSource {
        format: Some(format.into()),
        options: options.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<HashMap<_, _>>(),
        ..Default::default()
    };
    let read_type = Some(proto::read::ReadType::DataSource(source));
    relation(RelType::Read(proto::Read { is_streaming: true, read_type }))
}

/// Expressions over every row.
pub(crate) fn project<T: AsRef<str>>(input: proto::Relation, expressions: &[T]) -> proto::Relation {
    let expressions = expressions.iter().map(|text| expression(text.as_ref())).collect();
    relation(RelType::Project(Box::new(proto::Project { input: Some(Box::new(input)), expressions })))
}

/// The rows for which the condition holds.
pub(crate) fn filter(input: proto::Relation, condition: &str) -> proto::Relation {
    let condition = Some(expression(condition));
    relation(RelType::Filter(Box::new(proto::Filter { input: Some(Box::new(input)), condition })))
}

/// The rows unchanged, with numbers about them in the query's progress.
pub(crate) fn observe(input: proto::Relation, name: &str, metrics: &[&str]) -> proto::Relation {
    let metrics = metrics.iter().map(|text| expression(text)).collect();
    let observed = proto::CollectMetrics { input: Some(Box::new(input)), name: name.to_owned(), metrics };
    relation(RelType::CollectMetrics(Box::new(observed)))
}

/// A watermark on an event-time column.
pub(crate) fn with_watermark(input: proto::Relation, column: &str, delay_micros: i64) -> proto::Relation {
    relation(RelType::WithWatermark(Box::new(proto::WithWatermark {
        input: Some(Box::new(input)),
        event_time: column.to_owned(),
        delay_threshold: format!("{delay_micros} microseconds"),
    })))
}

/// Without the repeats within the watermark.
pub(crate) fn deduplicate(input: proto::Relation, columns: &[String]) -> proto::Relation {
    relation(RelType::Deduplicate(Box::new(proto::Deduplicate {
        input: Some(Box::new(input)),
        column_names: columns.to_vec(),
        all_columns_as_keys: Some(false),
        within_watermark: Some(true),
    })))
}
