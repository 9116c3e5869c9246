//! Orders, refunds and revenue as three places tell them: result topic, store and lake. They must agree to the cent.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use millrace_engine::batch::BatchSession;
use millrace_model::money::format_minor;
use serde_json::{Map, Value};

use crate::lake::LakeTables;
use crate::product::Product;
use crate::topic_scan::scan;

/// Totals of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) orders: i64,
    pub(crate) refunds: i64,
    pub(crate) gross_minor: i64,
    pub(crate) refunded_minor: i64,
}

/// What each place says.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Place, then currency.
    places: Vec<(&'static str, BTreeMap<String, Money>)>,
    /// Stock adjustments in the lake and in the stock levels.
    adjustments: Vec<(&'static str, i64)>,
}

impl Totals {
    /// All places say the same.
    pub(crate) fn agree(&self) -> bool {
        self.places.windows(2).all(|pair| pair[0].1 == pair[1].1)
            && self.adjustments.windows(2).all(|pair| pair[0].1 == pair[1].1)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, currencies) in &self.places {
            for (currency, money) in currencies {
                writeln!(
                    f,
                    "{place:<13} {} orders, {} refunds: gross {}, refunded {}, net {}",
                    money.orders,
                    money.refunds,
                    format_minor(money.gross_minor, currency),
                    format_minor(-money.refunded_minor, currency),
                    format_minor(money.gross_minor - money.refunded_minor, currency),
                )?;
            }
        }
        for (place, count) in &self.adjustments {
            writeln!(f, "{place:<13} {count} stock adjustments")?;
        }
        let invoices = self.places.first().map(|(_, c)| c.values().map(|m| m.orders + m.refunds).sum::<i64>());
        let adjustments = self.adjustments.first().map_or(0, |(_, count)| *count);
        writeln!(f, "invoices      {}", invoices.unwrap_or(0) + adjustments)?;
        write!(f, "{}", if self.agree() { "all places agree to the cent" } else { "the places do NOT agree" })
    }
}

/// Asks all places.
///
/// # Errors
/// A place that cannot be read.
pub(crate) async fn collect(product: &Product) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    totals.places.push(("result topic", from_topic(product).await?));
    totals.places.push(("store", from_store(product).await?));
    let sql = "SELECT coalesce(sum(adjustments), 0) AS n FROM \"stock_levels\"";
    let stored = product.store()?.query(sql, &[]).await?;
    totals.adjustments.push(("store", stored.first().map_or(0, |row| integer(row, "n"))));
    if let Some(lake) = product.lake() {
        let (session, tables) = (BatchSession::new(), LakeTables::open(lake)?);
        if tables.register(&session, "transactions").await? {
            totals.places.push(("lake", from_lake(&session).await?));
        }
        if tables.register(&session, "inventory_updates").await? {
            let sql = "SELECT count(*) AS n FROM inventory_updates WHERE event_type = 'stock_adjusted'";
            let answer = session.query(sql).await?;
            totals.adjustments.push(("lake", answer.batches.first().map_or(0, |batch| number(batch, "n", 0))));
        }
    }
    Ok(totals)
}

fn integer(row: &Map<String, Value>, name: &str) -> i64 {
    let value = row.get(name);
    value
        .and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok()).or_else(|| v.as_f64().map(|n| n as i64)))
        .unwrap_or(0)
}

fn add(currencies: &mut BTreeMap<String, Money>, row: &Map<String, Value>) {
    let currency = row.get("currency").and_then(Value::as_str).unwrap_or("?").to_owned();
    let money = currencies.entry(currency).or_default();
    money.orders += integer(row, "orders");
    money.refunds += integer(row, "refunds");
    money.gross_minor += integer(row, "gross_minor");
    money.refunded_minor += integer(row, "refunded_minor");
}

/// The last row of every key of `revenue_daily`, added up.
async fn from_topic(product: &Product) -> anyhow::Result<BTreeMap<String, Money>> {
    let mut rows: BTreeMap<Vec<u8>, Map<String, Value>> = BTreeMap::new();
    scan(&product.kafka, &["revenue_daily"], |record| {
        if let Some(row) = record.value.and_then(|value| serde_json::from_slice(value).ok()) {
            rows.insert(record.key.to_vec(), row);
        }
    })
    .await?;
    let mut currencies = BTreeMap::new();
    rows.values().for_each(|row| add(&mut currencies, row));
    Ok(currencies)
}

async fn from_store(product: &Product) -> anyhow::Result<BTreeMap<String, Money>> {
    let sql = "SELECT currency, orders, refunds, gross_minor, refunded_minor FROM \"revenue_daily\"";
    let mut currencies = BTreeMap::new();
    product.store()?.query(sql, &[]).await?.iter().for_each(|row| add(&mut currencies, row));
    Ok(currencies)
}

/// From the raw events, repeats left out: nothing of the engine's streaming part is used.
async fn from_lake(session: &BatchSession) -> anyhow::Result<BTreeMap<String, Money>> {
    let sql = "SELECT currency,
          count_if(event_type = 'order_placed') AS orders,
          count_if(event_type = 'order_refunded') AS refunds,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_placed'), 0) AS gross_minor,
          coalesce(sum(amount_minor) FILTER (WHERE event_type = 'order_refunded'), 0) AS refunded_minor
        FROM (SELECT DISTINCT event_id, event_type, currency, amount_minor FROM transactions
              WHERE event_type IN ('order_placed', 'order_refunded'))
        GROUP BY currency";
    let answer = session.query(sql).await.context("the lake's totals")?;
    let mut currencies = BTreeMap::new();
    for batch in &answer.batches {
        let names = cast(batch.column(0), &DataType::Utf8)?;
        for row in 0..batch.num_rows() {
            let names = names.as_string::<i32>();
            let currency = if names.is_null(row) { "?" } else { names.value(row) };
            let money = Money {
                orders: number(batch, "orders", row),
                refunds: number(batch, "refunds", row),
                gross_minor: number(batch, "gross_minor", row),
                refunded_minor: number(batch, "refunded_minor", row),
            };
            currencies.insert(currency.to_owned(), money);
        }
    }
    Ok(currencies)
}

fn number(batch: &RecordBatch, name: &str, row: usize) -> i64 {
    batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>()).map_or(0, |column| column.value(row))
}
