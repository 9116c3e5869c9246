//! Rows of a bounded run: a file of one row a line for each table, or standard output.
//!
//! A table in update mode gives its final rows, one a key, ordered by key; one in complete mode its last result, in the
//! result's order; `--changes` gives every row as it came.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use millrace_engine::job::TableRows;
use millrace_model::Contract;
use millrace_model::dead_letter::DeadLetter;

/// Where the rows go.
pub(crate) struct Output {
    folder: Option<PathBuf>,
    changes: bool,
    /// Final rows by key, for tables in update mode; by place in the last result, for tables in complete mode.
    finals: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    files: BTreeMap<String, BufWriter<File>>,
    counts: BTreeMap<String, u64>,
    update_tables: Vec<String>,
    complete_tables: Vec<String>,
}

impl Output {
    /// Writes into a folder, or to standard output.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(
        folder: Option<&Path>,
        changes: bool,
        update_tables: Vec<String>,
        complete_tables: Vec<String>,
    ) -> anyhow::Result<Self> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Output {
            folder: folder.map(Path::to_owned),
            changes,
            finals: BTreeMap::new(),
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            update_tables,
            complete_tables,
        })
    }

    /// Makes a file for every table, also for those that give no row.
    ///
    /// # Errors
    /// Writing.
    pub(crate) fn open<'a>(&mut self, tables: impl Iterator<Item = &'a Contract>) -> anyhow::Result<()> {
        for table in tables {
            self.counts.insert(table.name.clone(), 0);
            if self.folder.is_some() {
                self.file(&table.name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> anyhow::Result<&mut BufWriter<File>> {
        if !self.files.contains_key(name) {
            let folder = self.folder.as_deref().unwrap_or(Path::new("."));
            let path = folder.join(format!("{name}.ndjson"));
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            self.files.insert(name.to_owned(), BufWriter::new(file));
        }
        Ok(self.files.get_mut(name).expect("made above"))
    }

    /// Writes rows, each with its newline.
    fn lines(&mut self, table: &str, rows: usize, lines: &[u8]) -> anyhow::Result<()> {
        *self.counts.entry(table.to_owned()).or_default() += rows as u64;
        if self.folder.is_none() {
            return io::stdout().lock().write_all(lines).context("cannot write to standard output");
        }
        self.file(table)?.write_all(lines).context("cannot write a row")
    }

    /// Takes the rows of an epoch.
    ///
    /// # Errors
    /// Writing.
    pub(crate) fn rows(&mut self, rows: &TableRows) -> anyhow::Result<()> {
        match &rows.keys {
            _ if !self.changes && self.complete_tables.contains(&rows.table) => {
                let places = (0_u64..).map(|place| place.to_be_bytes().to_vec());
                let last = places.zip(rows.rows.iter().map(<[u8]>::to_vec)).collect();
                self.finals.insert(rows.table.clone(), last);
                Ok(())
            }
            Some(keys) if !self.changes && self.update_tables.contains(&rows.table) => {
                let finals = self.finals.entry(rows.table.clone()).or_default();
                for (key, row) in keys.iter().zip(rows.rows.iter()) {
                    finals.insert(key.to_vec(), row.to_vec());
                }
                Ok(())
            }
            _ => self.lines(&rows.table, rows.rows.len(), rows.rows.lines()),
        }
    }

    /// Takes a dead letter.
    ///
    /// # Errors
    /// Writing.
    pub(crate) fn dead_letter(&mut self, letter: &DeadLetter) -> anyhow::Result<()> {
        *self.counts.entry("dead_letters".into()).or_default() += 1;
        if self.folder.is_none() {
            tracing::warn!(topic = letter.topic, offset = letter.offset, "{}: {}", letter.code, letter.reason);
            return Ok(());
        }
        let text = serde_json::to_vec(letter).context("cannot encode a dead letter")?;
        let file = self.file("dead_letters")?;
        file.write_all(&text).and_then(|()| file.write_all(b"\n")).context("cannot write a dead letter")
    }

    /// Writes what was kept back; gives the number of rows of each table.
    ///
    /// # Errors
    /// Writing.
    pub(crate) fn finish(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        for (table, rows) in std::mem::take(&mut self.finals) {
            for mut row in rows.into_values() {
                row.push(b'\n');
                self.lines(&table, 1, &row)?;
            }
        }
        for file in self.files.values_mut() {
            file.flush().context("cannot write the rows")?;
        }
        Ok(self.counts.clone())
    }
}
