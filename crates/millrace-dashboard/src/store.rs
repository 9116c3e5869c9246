//! What the dashboard asks of the store: recent rows at the start, then questions of pages and API, each with a time limit.

use std::time::Duration;

use millrace_model::{ErrorKind, Timestamp};

pub(crate) use millrace_connectors::store::{Param, Store, StoreError, quoted};

use crate::cache::{Cache, Keep, Policy};
use crate::row::{Read, Row};
use millrace_model::Contract;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The store refused or is away.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It took too long.
    #[error("the store did not answer within {0} ms")]
    Slow(u64),
}

impl AskError {
    /// The question itself is at fault.
    pub(crate) fn is_invalid(&self) -> bool {
        use millrace_model::Classified;
        matches!(self, AskError::Store(error) if error.kind() == ErrorKind::Invalid)
    }
}

/// Asks the store, for at most so many milliseconds.
pub(crate) async fn ask(store: &Store, sql: &str, params: &[Param], ms_max: u64) -> Result<Vec<Row>, AskError> {
    match tokio::time::timeout(Duration::from_millis(ms_max), store.query(sql, params)).await {
        Ok(rows) => Ok(rows?),
        Err(_) => Err(AskError::Slow(ms_max)),
    }
}

/// The columns of a table as a SELECT list.
pub(crate) fn select_list(contract: &Contract) -> String {
    contract.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Rows of a table that the cache is to begin with, oldest first.
pub(crate) async fn recent_rows(store: &Store, contract: &Contract, policy: &Policy) -> Result<Vec<Row>, StoreError> {
    let has_windows = contract.column("window_start").is_some();
    let time = if has_windows { Some("window_start") } else { contract.event_time.as_deref() };
    // Of sliding windows the policy may keep one in many: more are read than held.
    let rows_max = if policy.keep == Keep::Latest { policy.rows_max } else { policy.rows_max.saturating_mul(5) };
    let mut sql = format!("SELECT {} FROM {}", select_list(contract), quoted(&contract.name));
    let mut params = Vec::new();
    if let Some(time) = time {
        let time = quoted(time);
        if has_windows {
            let newest = format!("SELECT max({time}) AS newest FROM {}", quoted(&contract.name));
            let newest = store.query(&newest, &[]).await?.first().and_then(|row| row.time("newest"));
            let Some(newest) = newest else { return Ok(Vec::new()) };
            params.push(Param::Time(Timestamp(newest.0 - policy.history_micros)));
            sql.push_str(&format!(" WHERE {time} >= $1"));
        }
        sql.push_str(&format!(" ORDER BY {time} DESC"));
    }
    params.push(Param::Integer(i64::try_from(rows_max).unwrap_or(i64::MAX)));
    sql.push_str(&format!(" LIMIT ${}", params.len()));
    let mut rows = store.query(&sql, &params).await?;
    rows.reverse();
    Ok(rows)
}

/// The store's pairs of a product, most evidence first.
pub(crate) async fn companions(
    store: &Store,
    cache_knows: bool,
    table: &str,
    count_column: &str,
    product: &str,
    limit: usize,
    ms_max: u64,
) -> Result<Vec<Row>, AskError> {
    if !cache_knows {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT * FROM {} WHERE product_id = $1 ORDER BY {} DESC, other_id LIMIT $2",
        quoted(table),
        quoted(count_column)
    );
    let params = [Param::Text(product.to_owned()), Param::Integer(i64::try_from(limit).unwrap_or(i64::MAX))];
    ask(store, &sql, &params, ms_max).await
}

/// Fills the cache from the store.
pub(crate) async fn load(store: &Store, cache: &mut Cache) -> Result<(), (String, StoreError)> {
    for (contract, policy) in cache.policies() {
        let rows = recent_rows(store, &contract, &policy).await.map_err(|error| (contract.name.clone(), error))?;
        cache.apply(&contract.name, rows, None);
    }
    Ok(())
}
