//! Files of labelled payments: their columns by name, their rows in the order of time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use millrace_intelligence::fraud::{Payment, evaluate::Labelled};

use super::table_file::{self, column, text, times};

/// What a column is called, when nobody says.
const TIME_NAMES: &[&str] = &["tx_datetime", "event_time", "time", "timestamp", "datetime", "date"];
const CUSTOMER_NAMES: &[&str] = &["customer_id", "customer", "card_id", "card", "card_token", "user_id", "account_id"];
const TERMINAL_NAMES: &[&str] = &["terminal_id", "terminal", "merchant_id", "merchant", "device_id", "store_id"];
const AMOUNT_NAMES: &[&str] = &["tx_amount", "amount", "amt", "amount_minor"];
const LABEL_NAMES: &[&str] = &["tx_fraud", "is_fraud", "fraud", "label", "isfraud", "class"];

/// The names of the columns, where they are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) time: Option<String>,
    pub(super) customer: Option<String>,
    pub(super) terminal: Option<String>,
    pub(super) amount: Option<String>,
    pub(super) label: Option<String>,
}

/// Names of one kind as numbers, by their first occurrence.
#[derive(Default)]
struct Numbers(HashMap<String, u32>);

impl Numbers {
    fn of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len() as u32;
        self.0.insert(name.to_owned(), number);
        number
    }
}

/// Reads a file, or all CSV and Parquet files of a folder.
///
/// # Errors
/// A file, a column that is not there, a value that is none.
pub(super) async fn read(path: &Path, columns: &Columns) -> anyhow::Result<Vec<Labelled>> {
    let (mut payments, mut customers, mut terminals) = (Vec::new(), Numbers::default(), Numbers::default());
    for file in files(path)? {
        for batch in table_file::read(&file).await? {
            take(&batch, columns, (&mut customers, &mut terminals), &mut payments)
                .with_context(|| file.display().to_string())?;
        }
    }
    ensure!(!payments.is_empty(), "{} holds no payments", path.display());
    // Stable: payments of one moment stay in the order of the file.
    payments.sort_by_key(|one| one.payment.time);
    Ok(payments)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    let ends = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ["csv", "tsv", "txt", "parquet"].iter().any(|known| ending == *known))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(ends).collect();
    files.sort();
    ensure!(!files.is_empty(), "the folder {} holds no .csv, .tsv, .txt or .parquet file", path.display());
    Ok(files)
}

fn take(
    batch: &RecordBatch,
    columns: &Columns,
    (customers, terminals): (&mut Numbers, &mut Numbers),
    payments: &mut Vec<Labelled>,
) -> anyhow::Result<()> {
    let times = times(&column(batch, columns.time.as_deref(), TIME_NAMES, "--time-column")?)?;
    let customer = text(&column(batch, columns.customer.as_deref(), CUSTOMER_NAMES, "--customer-column")?)?;
    let terminal = text(&column(batch, columns.terminal.as_deref(), TERMINAL_NAMES, "--terminal-column")?)?;
    let amount = column(batch, columns.amount.as_deref(), AMOUNT_NAMES, "--amount-column")?;
    let amount = cast(&amount, &DataType::Float64)?;
    let label = text(&column(batch, columns.label.as_deref(), LABEL_NAMES, "--label-column")?)?;
    let (customer, terminal) = (customer.as_string::<i32>(), terminal.as_string::<i32>());
    let (amount, label) = (amount.as_primitive::<Float64Type>(), label.as_string::<i32>());
    for (row, time) in times.into_iter().enumerate() {
        ensure!(amount.is_valid(row), "row {row} has no amount that is a number");
        let told = if label.is_valid(row) { label.value(row).trim().to_lowercase() } else { String::new() };
        let fraud = match told.as_str() {
            "1" | "1.0" | "true" | "t" | "yes" | "fraud" => true,
            "0" | "0.0" | "false" | "f" | "no" | "" | "legit" => false,
            other => bail!("`{other}` is no label: 1 or 0, true or false"),
        };
        let payment = Payment {
            time: time.0,
            customer: customers.of(customer.value(row)),
            terminal: terminals.of(terminal.value(row)),
            amount: amount.value(row) as f32,
        };
        payments.push(Labelled { payment, fraud });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_of_days_is_one_stream() {
        let folder = tempfile::tempdir().expect("a folder");
        let header = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n";
        for (name, rows) in
            [("b.csv", "1,2018-04-02 10:00:00,7,9,2.5,1\n"), ("a.csv", "0,2018-04-01 10:00:00,7,8,1,0\n")]
        {
            std::fs::write(folder.path().join(name), format!("{header}{rows}")).expect("a file");
        }
        let read = read(folder.path(), &Columns::default()).await.expect("payments");
        let told: Vec<_> = read.iter().map(|one| (one.payment.customer, one.payment.amount, one.fraud)).collect();
        assert_eq!(told, [(0, 1.0, false), (0, 2.5, true)]);
        assert_eq!(read[1].payment.time - read[0].payment.time, 86_400_000_000);
    }

    #[tokio::test]
    async fn what_is_no_label_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p.csv");
        std::fs::write(&path, "time,card,merchant,amount,label\n1,a,b,2,perhaps\n").expect("a file");
        let error = format!("{:#}", read(&path, &Columns::default()).await.expect_err("no label"));
        assert!(error.contains("`perhaps` is no label"), "{error}");
    }
}
