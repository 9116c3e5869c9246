//! Whether Spark takes the jobs, told without starting any of their queries.
//!
//! Analysis finds unknown names, wrong types and wrong columns. What a stream cannot do (an output mode, a sort, a count of
//! distinct values) Spark only finds when it makes a query, which is just before it looks whether a query of that name
//! runs already. So one query that does nothing runs while we check, and every statement is offered under its name: Spark
//! either finds fault with the statement, or with the name.

use std::collections::BTreeMap;

use millrace_model::{Column, ColumnType, ErrorKind};
use spark_connect_proto::data_type::{Kind, Struct};

use crate::connect::Session;
use crate::error::SparkError;
use crate::job::{SparkJob, SparkSettings, SparkTable};
use crate::relation;
use crate::setup::{Prepared, nowhere};

/// Asks a live server about every statement. The list is empty when all is well; else it has every error found.
///
/// # Errors
/// The server cannot be reached.
pub fn check(settings: &SparkSettings, jobs: &[SparkJob]) -> Result<Vec<SparkError>, SparkError> {
    let mut found = Vec::new();
    for job in jobs {
        let prepared = match Prepared::new(job, settings) {
            Ok(prepared) => prepared,
            Err(error) => {
                found.push(error);
                continue;
            }
        };
        let session = Session::open(&settings.url, None, settings.request_max)?;
        session.version()?;
        prepared.configure(&session)?;
        let checked = check_job(&session, &prepared, &mut found);
        // A session that is not released ends by itself after an hour.
        if let Err(error) = session.release() {
            tracing::debug!(%error, "the session was not released");
        }
        checked?;
    }
    Ok(found)
}

fn check_job(session: &Session, prepared: &Prepared<'_>, found: &mut Vec<SparkError>) -> Result<(), SparkError> {
    prepared.create_views(session, |error| keep(error, found))?;
    let rate = relation::stream("rate", &BTreeMap::from([("rowsPerSecond".to_owned(), "1".to_owned())]));
    let taken = session.start(nowhere(rate, "append", NAME))?;
    for table in &prepared.job.tables {
        let name = &table.contract.name;
        let checked = session.schema(prepared.rows(table)).and_then(|schema| {
            compare(table, &schema)?;
            match session.start(prepared.trial(table, NAME)) {
                Ok(query) => session.stop(&query),
                Err(error) if error.message.contains(&format!("query with name {NAME}")) => Ok(()),
                Err(error) => Err(error),
            }
        });
        if let Err(error) = checked {
            keep(error.of_job(&prepared.job.name).of_table(name), found)?;
        }
    }
    session.stop(&taken)
}

/// Name of the query that does nothing.
const NAME: &str = "millrace-check";

/// An error about a statement is a finding; a lost server ends the check.
fn keep(error: SparkError, found: &mut Vec<SparkError>) -> Result<(), SparkError> {
    if error.kind == ErrorKind::Unavailable {
        return Err(error);
    }
    found.push(error);
    Ok(())
}

/// The statement's columns are the contract's.
fn compare(table: &SparkTable, schema: &Struct) -> Result<(), SparkError> {
    let columns = &table.contract.columns;
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    let wanted: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if names != wanted {
        let text = format!("on Spark its columns are {names:?}; the contract has {wanted:?}");
        return Err(SparkError::new(ErrorKind::Invalid, text));
    }
    for (column, field) in columns.iter().zip(&schema.fields) {
        let kind = field.data_type.as_ref().and_then(|data_type| data_type.kind.as_ref());
        if !kind.is_some_and(|kind| is(kind, &column.column_type)) {
            let text = format!("column `{}` has another type on Spark than in the contract: {kind:?}", column.name);
            return Err(SparkError::new(ErrorKind::Invalid, text));
        }
    }
    Ok(())
}

fn is(kind: &Kind, column_type: &ColumnType) -> bool {
    let inner = |data_type: &Option<Box<spark_connect_proto::DataType>>, wanted: &ColumnType| {
        data_type.as_ref().and_then(|inner| inner.kind.as_ref()).is_some_and(|kind| is(kind, wanted))
    };
    match (column_type, kind) {
        (ColumnType::Text, Kind::String(_) | Kind::Char(_) | Kind::VarChar(_))
        | (ColumnType::Integer, Kind::Byte(_) | Kind::Short(_) | Kind::Integer(_) | Kind::Long(_))
        | (ColumnType::Number, Kind::Float(_) | Kind::Double(_) | Kind::Decimal(_))
        | (ColumnType::Boolean, Kind::Boolean(_))
        | (ColumnType::Timestamp, Kind::Timestamp(_) | Kind::TimestampNtz(_)) => true,
        (ColumnType::List(item), Kind::Array(array)) => inner(&array.element_type, item),
        (ColumnType::Map(value), Kind::Map(map)) => inner(&map.value_type, value),
        (ColumnType::Struct(columns), Kind::Struct(fields)) => {
            let same = |(column, field): (&Column, &spark_connect_proto::data_type::StructField)| {
                let kind = field.data_type.as_ref().and_then(|data_type| data_type.kind.as_ref());
                column.name == field.name && kind.is_some_and(|kind| is(kind, &column.column_type))
            };
            columns.len() == fields.fields.len() && columns.iter().zip(&fields.fields).all(same)
        }
        _ => false,
    }
}
