//! A file of clicks: its columns by name, its rows in the order of time.

use std::path::Path;

use anyhow::{Context as _, ensure};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use millrace_intelligence::recommend::evaluate::{FileClick, by_time};

use super::table_file::{self, column, text, times};

/// What a column is called, when nobody says.
const SESSION_NAMES: &[&str] = &["sessionid", "session_id", "session", "visitorid", "visitor_id", "anonymous_id"];
const ITEM_NAMES: &[&str] = &["itemid", "item_id", "item", "productid", "product_id", "product"];
const TIME_NAMES: &[&str] = &["time", "timestamp", "event_time", "ts", "datetime", "eventdate", "date"];
/// The names of the columns, where they are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) session: Option<String>,
    pub(super) item: Option<String>,
    pub(super) time: Option<String>,
}

/// Reads a file whole, in the order of time. Rows without session or item are left out; gives their number.
///
/// # Errors
/// The file, a column that is not there, or a time that is none.
pub(super) async fn read(path: &Path, columns: &Columns) -> anyhow::Result<(Vec<FileClick>, usize)> {
    let batches = table_file::read(path).await?;
    let (mut clicks, mut without) = (Vec::new(), 0);
    for batch in &batches {
        without += take(batch, columns, &mut clicks).with_context(|| path.display().to_string())?;
    }
    ensure!(!clicks.is_empty(), "{} holds no clicks", path.display());
    by_time(&mut clicks);
    Ok((clicks, without))
}

fn take(batch: &RecordBatch, columns: &Columns, clicks: &mut Vec<FileClick>) -> anyhow::Result<usize> {
    let session = text(&column(batch, columns.session.as_deref(), SESSION_NAMES, "--session-column")?)?;
    let item = text(&column(batch, columns.item.as_deref(), ITEM_NAMES, "--item-column")?)?;
    let (session, item) = (session.as_string::<i32>(), item.as_string::<i32>());
    let times = times(&column(batch, columns.time.as_deref(), TIME_NAMES, "--time-column")?)?;
    let mut without = 0;
    for (row, time) in times.into_iter().enumerate() {
        let told = |column: &arrow_array::StringArray| {
            (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row).to_owned())
        };
        match (told(session), told(item)) {
            (Some(session), Some(item)) => clicks.push(FileClick { session, item, time }),
            _ => without += 1,
        }
    }
    Ok(without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn columns_are_found_by_name_whatever_the_delimiter() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("clicks.txt");
        for (text, columns) in [
            ("SessionId\tItemId\tTime\n1\t007\t20\n1\tb\t10.5\n", Columns::default()),
            ("time,\"ITEM_ID\",session_id\n20,007,1\n10.5,\"b\",1\n", Columns::default()),
            (
                "\u{feff}who;what;item;when\n1;007;x;20\n1;b;x;10.5\n1;;x;10.5\n",
                Columns { session: Some("who".into()), item: Some("What".into()), time: Some("when".into()) },
            ),
        ] {
            std::fs::write(&path, text).expect("a file");
            let (clicks, without) = read(&path, &columns).await.expect(text);
            let told: Vec<_> = clicks.iter().map(|click| (&*click.session, &*click.item, click.time.0)).collect();
            assert_eq!(told, [("1", "b", 10_500_000), ("1", "007", 20_000_000)], "{text}");
            assert_eq!(without, usize::from(text.contains(";;")));
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("clicks.csv");
        for (text, told) in [
            ("session,thing,time\n1,a,2\n", "name one of session, thing, time with --item-column"),
            ("session,item,time\n1,a,soon\n", "`soon` is no time"),
            ("session,item,time\n", "holds no clicks"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = format!("{:#}", read(&path, &Columns::default()).await.expect_err(told));
            assert!(error.contains(told), "{error}");
        }
    }
}
