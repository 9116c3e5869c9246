//! The UCI Online Retail data: an invoice is an order_placed, a C invoice an order_refunded, an adjustment line (price 0,
//! negative quantity, no customer) a stock_adjusted.
//!
//! Prices become minor units line by line (half a penny up, away from zero); an order's amount is the sum of its lines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use millrace_engine::batch::read_file;
use millrace_model::Timestamp;
use millrace_model::money::minor_from_major;
use serde_json::{Map, Value, json};

use super::{SourceRecord, put};

const CURRENCY: &str = "GBP";
const STORE: &str = "online-retail";

/// A line of the file.
struct Line {
    invoice: String,
    product: String,
    description: String,
    quantity: i64,
    at: Timestamp,
    price_minor: i64,
    customer: Option<String>,
    country: String,
}

pub(super) async fn read(path: &Path) -> anyhow::Result<Vec<SourceRecord>> {
    let options = BTreeMap::from([("path".to_owned(), path.display().to_string())]);
    let (_, batches) = read_file("parquet", &options).await.map_err(|error| anyhow!(error))?;
    let mut lines = Vec::new();
    for batch in &batches {
        lines_of(batch, &mut lines).with_context(|| format!("{} is not the Online Retail data", path.display()))?;
    }
    Ok(records(lines))
}

fn lines_of(batch: &RecordBatch, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let column = |name: &str, data_type: DataType| -> anyhow::Result<_> {
        let column = batch.column_by_name(name).with_context(|| format!("column {name} is missing"))?;
        cast(column, &data_type).with_context(|| format!("column {name}"))
    };
    let invoice = column("InvoiceNo", DataType::Utf8)?;
    let product = column("StockCode", DataType::Utf8)?;
    let description = column("Description", DataType::Utf8)?;
    let quantity = column("Quantity", DataType::Int64)?;
    let time = column("InvoiceDate", DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let price = column("UnitPrice", DataType::Float64)?;
    let customer = column("CustomerID", DataType::Utf8)?;
    let country = column("Country", DataType::Utf8)?;
    let text = |array: &dyn Array, row: usize| array.as_string::<i32>().value(row).to_owned();
    for row in 0..batch.num_rows() {
        let major = price.as_primitive::<Float64Type>().value(row);
        lines.push(Line {
            invoice: text(&invoice, row),
            product: text(&product, row),
            description: if description.is_null(row) { String::new() } else { text(&description, row) },
            quantity: quantity.as_primitive::<Int64Type>().value(row),
            at: Timestamp(time.as_primitive::<TimestampMicrosecondType>().value(row)),
            price_minor: minor_from_major(major, CURRENCY).with_context(|| format!("price {major}"))?,
            customer: customer.is_valid(row).then(|| text(&customer, row)),
            country: text(&country, row),
        });
    }
    Ok(())
}

fn records(lines: Vec<Line>) -> Vec<SourceRecord> {
    let mut records = Vec::new();
    let mut invoices: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for (at, line) in lines.into_iter().enumerate() {
        let adjustment = line.price_minor == 0 && line.quantity < 0 && line.customer.is_none();
        if adjustment && !line.invoice.starts_with('C') {
            records.push(adjusted(at, &line));
        } else {
            invoices.entry(line.invoice.clone()).or_default().push(line);
        }
    }
    records.extend(invoices.into_iter().map(|(invoice, lines)| order(&invoice, &lines)));
    records
}

fn order(invoice: &str, lines: &[Line]) -> SourceRecord {
    let refund = invoice.starts_with('C');
    // A few invoices span the turn of a minute: an order happens when its first line is entered.
    let event_time = lines.iter().map(|line| line.at).min().unwrap_or_default();
    let amount: i64 = lines.iter().map(|line| line.quantity * line.price_minor).sum();
    let sold: Vec<Value> = lines
        .iter()
        .map(|line| json!({ "product_id": line.product, "quantity": line.quantity.abs(), "price_minor": line.price_minor }))
        .collect();
    let first = &lines[0];
    let mut fields = Map::new();
    put(&mut fields, "event_id", format!("{STORE}-{invoice}"));
    put(&mut fields, "event_type", if refund { "order_refunded" } else { "order_placed" });
    put(&mut fields, "event_time", event_time.to_string());
    put(&mut fields, "store_id", STORE);
    put(&mut fields, "order_id", invoice);
    if refund {
        put(&mut fields, "refund_id", invoice);
    }
    put(&mut fields, "user_id", first.customer.clone());
    put(&mut fields, "amount_minor", amount.abs());
    put(&mut fields, "currency", CURRENCY);
    put(&mut fields, "shipping_country", country_code(&first.country));
    put(&mut fields, "lines", sold);
    SourceRecord { topic: "transactions", key: invoice.to_owned(), event_time, fields, raw: None }
}

fn adjusted(at: usize, line: &Line) -> SourceRecord {
    let mut fields = Map::new();
    put(&mut fields, "event_id", format!("{STORE}-{}-{at}", line.invoice));
    put(&mut fields, "event_type", "stock_adjusted");
    put(&mut fields, "event_time", line.at.to_string());
    put(&mut fields, "store_id", STORE);
    put(&mut fields, "product_id", line.product.clone());
    put(&mut fields, "quantity", line.quantity.abs());
    put(&mut fields, "on_hand_change", line.quantity);
    put(&mut fields, "reserved_change", 0);
    if !line.description.is_empty() {
        put(&mut fields, "reason", line.description.clone());
    }
    let key = line.product.clone();
    SourceRecord { topic: "inventory_updates", key, event_time: line.at, fields, raw: None }
}

/// ISO 3166-1 code of a country as the data names it; none for "Unspecified" and regions.
fn country_code(name: &str) -> Option<&'static str> {
    const CODES: &[(&str, &str)] = &[
        ("Australia", "AU"),
        ("Austria", "AT"),
        ("Bahrain", "BH"),
        ("Belgium", "BE"),
        ("Brazil", "BR"),
        ("Canada", "CA"),
        ("Cyprus", "CY"),
        ("Czech Republic", "CZ"),
        ("Denmark", "DK"),
        ("EIRE", "IE"),
        ("Finland", "FI"),
        ("France", "FR"),
        ("Germany", "DE"),
        ("Greece", "GR"),
        ("Hong Kong", "HK"),
        ("Iceland", "IS"),
        ("Israel", "IL"),
        ("Italy", "IT"),
        ("Japan", "JP"),
        ("Lebanon", "LB"),
        ("Lithuania", "LT"),
        ("Malta", "MT"),
        ("Netherlands", "NL"),
        ("Norway", "NO"),
        ("Poland", "PL"),
        ("Portugal", "PT"),
        ("RSA", "ZA"),
        ("Saudi Arabia", "SA"),
        ("Singapore", "SG"),
        ("Spain", "ES"),
        ("Sweden", "SE"),
        ("Switzerland", "CH"),
        ("USA", "US"),
        ("United Arab Emirates", "AE"),
        ("United Kingdom", "GB"),
    ];
    CODES.iter().find(|(country, _)| *country == name).map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(invoice: &str, quantity: i64, price_minor: i64, customer: Option<&str>) -> Line {
        Line {
            invoice: invoice.into(),
            product: "p".into(),
            description: "damaged".into(),
            quantity,
            at: Timestamp(60_000_000),
            price_minor,
            customer: customer.map(str::to_owned),
            country: "EIRE".into(),
        }
    }

    #[test]
    fn invoices_become_orders_refunds_and_adjustments() {
        let lines = vec![
            line("1", 2, 150, Some("7")),
            line("1", 1, 5, Some("7")),
            line("C2", -1, 150, None),
            line("3", -4, 0, None),
        ];
        let records = records(lines);
        let told: Vec<_> = records
            .iter()
            .map(|r| (r.topic, r.fields["event_type"].as_str(), r.fields.get("amount_minor").and_then(Value::as_i64)))
            .collect();
        assert_eq!(
            told,
            [
                ("inventory_updates", Some("stock_adjusted"), None),
                ("transactions", Some("order_placed"), Some(305)),
                ("transactions", Some("order_refunded"), Some(150)),
            ]
        );
        assert_eq!(records[0].fields["on_hand_change"], -4);
        assert_eq!(records[1].fields["shipping_country"], "IE");
    }
}
