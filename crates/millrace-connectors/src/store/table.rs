//! A table as its contract makes it, and every SQL text about it. Names are quoted here and nowhere else.

use millrace_model::{Contract, ErrorKind};

use super::value::{SqlType, quoted};
use super::{Param, StoreError};

/// Longest name of a table or column, bytes: what PostgreSQL keeps of an identifier.
pub const NAME_BYTES_MAX: usize = 63;
/// Columns of a table, at most: one statement of SQLite binds 32,766 values.
pub const COLUMNS_MAX: usize = 500;
/// Column of a table without a key that holds the record's partition.
pub const PARTITION_COLUMN: &str = "_partition";
/// Column of a table without a key that holds the record's offset.
pub const OFFSET_COLUMN: &str = "_offset";

/// One column of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableColumn {
    /// Name, as in the contract.
    pub name: String,
    /// How its values are stored.
    pub sql_type: SqlType,
    /// A record without it does not fit.
    pub required: bool,
}

/// A table: the contract's columns and key, and for a contract without key the place of the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    name: String,
    columns: Vec<TableColumn>,
    key: Vec<usize>,
    indexed: Vec<String>,
    placed: bool,
}

impl Table {
    /// The table of a contract.
    ///
    /// # Errors
    /// A name that is too long for a table, or too many columns.
    pub fn of(contract: &Contract) -> Result<Self, StoreError> {
        let mut columns: Vec<TableColumn> = contract
            .columns
            .iter()
            .map(|column| TableColumn {
                name: column.name.clone(),
                sql_type: SqlType::of(&column.column_type),
                required: column.required && !column.nullable,
            })
            .collect();
        let placed = contract.key.is_empty();
        if placed {
            for name in [PARTITION_COLUMN, OFFSET_COLUMN] {
                columns.push(TableColumn { name: name.into(), sql_type: SqlType::Integer, required: true });
            }
        }
        check_names(&contract.name, &columns)?;
        let key =
            if placed { vec![columns.len() - 2, columns.len() - 1] } else { columns_named(&contract.key, &columns) };
        let mut indexed = Vec::new();
        for name in contract.event_time.iter().map(String::as_str).chain(["window_start"]) {
            let at = columns.iter().position(|column| column.name == name);
            // The key's own index serves a search by its first column.
            if at.is_some_and(|at| key.first() != Some(&at)) && !indexed.iter().any(|known| known == name) {
                indexed.push(name.to_owned());
            }
        }
        Ok(Table { name: contract.name.clone(), columns, key, indexed, placed })
    }

    /// A table of a migration: these columns, in this order, and the columns that tell rows apart.
    ///
    /// # Errors
    /// As [`Table::of`].
    pub fn kept(name: &str, columns: &[(&str, SqlType)], key: &[&str]) -> Result<Self, StoreError> {
        let column = |(name, sql_type): &(&str, SqlType)| TableColumn {
            name: (*name).to_owned(),
            sql_type: *sql_type,
            required: false,
        };
        let columns: Vec<TableColumn> = columns.iter().map(column).collect();
        check_names(name, &columns)?;
        let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let key = columns_named(&key, &columns);
        Ok(Table { name: name.to_owned(), columns, key, indexed: Vec::new(), placed: false })
    }

    /// Name of the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns, in the order of a row.
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// Positions of the key's columns in a row.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Rows are told apart by the place of their record: the last two cells of a row are its partition and offset.
    pub fn placed(&self) -> bool {
        self.placed
    }

    /// Names of the key's columns.
    pub fn key_names(&self) -> Vec<&str> {
        self.key.iter().map(|at| self.columns[*at].name.as_str()).collect()
    }

    /// Checks a row against the columns: the right number of values, each of its column's type.
    pub(super) fn check(&self, row: &[Param]) -> Result<(), StoreError> {
        let wrong = |detail: String| StoreError::new(ErrorKind::Internal, format!("table `{}`: {detail}", self.name));
        if row.len() != self.columns.len() {
            return Err(wrong(format!("a row of {} values for {} columns", row.len(), self.columns.len())));
        }
        match self.columns.iter().zip(row).find(|(column, value)| !column.sql_type.takes(value)) {
            None => Ok(()),
            Some((column, _)) => {
                Err(wrong(format!("a value for `{}` that is not {}", column.name, column.sql_type.name())))
            }
        }
    }

    /// CREATE TABLE and its indexes.
    pub(super) fn create(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.columns.iter().map(|column| format!("{} {}", quoted(&column.name), column.sql_type.name())).collect();
        // UNIQUE, not PRIMARY KEY: a key column of a grouping may be null, which PostgreSQL's primary keys refuse.
        lines.push(format!("UNIQUE ({})", self.key_list()));
        let mut texts = vec![format!("CREATE TABLE IF NOT EXISTS {} ({})", quoted(&self.name), lines.join(", "))];
        texts.extend(self.create_indexes());
        texts
    }

    /// The indexes beside the key's.
    pub(super) fn create_indexes(&self) -> Vec<String> {
        let index = |column: &String| {
            let mut name = format!("{}_{column}_idx", self.name);
            let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
            name.truncate(end);
            format!("CREATE INDEX IF NOT EXISTS {} ON {} ({})", quoted(&name), quoted(&self.name), quoted(column))
        };
        self.indexed.iter().map(index).collect()
    }

    /// ALTER TABLE … ADD COLUMN of one column.
    pub(super) fn add_column(&self, column: &TableColumn) -> String {
        format!("ALTER TABLE {} ADD COLUMN {} {}", quoted(&self.name), quoted(&column.name), column.sql_type.name())
    }

    /// Upsert of `rows` rows, every value bound: SQLite's form.
    pub(super) fn upsert_values(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let values = vec![row; rows].join(",");
        format!("INSERT INTO {} ({}) VALUES {values} {}", quoted(&self.name), self.column_list(), self.on_conflict())
    }

    /// Upsert of any number of rows, one array bound a column: PostgreSQL's form. One text, so one plan.
    pub(super) fn upsert_arrays(&self) -> String {
        let array = |(at, column): (usize, &TableColumn)| match column.sql_type {
            SqlType::Json => format!("${}::TEXT[]", at + 1),
            other => format!("${}::{}[]", at + 1, other.name()),
        };
        let arrays: Vec<String> = self.columns.iter().enumerate().map(array).collect();
        let names: Vec<String> = (1..=self.columns.len()).map(|at| format!("c{at}")).collect();
        let cells = self.columns.iter().zip(&names).map(|(column, name)| match column.sql_type {
            SqlType::Json => format!("{name}::JSONB"),
            _ => name.clone(),
        });
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM UNNEST({}) AS r({}) {}",
            quoted(&self.name),
            self.column_list(),
            cells.collect::<Vec<_>>().join(","),
            arrays.join(","),
            names.join(","),
            self.on_conflict()
        )
    }

    /// DELETE of the row with a key of which some columns are null: no unique constraint sees two nulls as equal, so
    /// such a row is deleted before it is inserted. The values that are not null are bound in the order of the key.
    pub(super) fn delete_by_key(&self, row: &[Param]) -> String {
        let mut bound = 0;
        let conditions = self.key.iter().map(|at| match row.get(*at) {
            None | Some(Param::Null) => format!("{} IS NULL", quoted(&self.columns[*at].name)),
            Some(_) => {
                bound += 1;
                format!("{} = ${bound}", quoted(&self.columns[*at].name))
            }
        });
        let conditions = conditions.collect::<Vec<_>>().join(" AND ");
        format!("DELETE FROM {} WHERE {conditions}", quoted(&self.name))
    }

    fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }

    fn key_list(&self) -> String {
        let names: Vec<String> = self.key_names().into_iter().map(quoted).collect();
        names.join(", ")
    }

    fn on_conflict(&self) -> String {
        let set: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.key.contains(at))
            .map(|(_, column)| format!("{0} = excluded.{0}", quoted(&column.name)))
            .collect();
        if set.is_empty() {
            return format!("ON CONFLICT ({}) DO NOTHING", self.key_list());
        }
        format!("ON CONFLICT ({}) DO UPDATE SET {}", self.key_list(), set.join(", "))
    }
}

fn columns_named(names: &[String], columns: &[TableColumn]) -> Vec<usize> {
    names.iter().filter_map(|name| columns.iter().position(|column| &column.name == name)).collect()
}

fn check_names(table: &str, columns: &[TableColumn]) -> Result<(), StoreError> {
    let invalid = |detail: String| Err(StoreError::new(ErrorKind::Invalid, format!("table `{table}`: {detail}")));
    if columns.len() > COLUMNS_MAX {
        return invalid(format!("{} columns, of which a table holds {COLUMNS_MAX}", columns.len()));
    }
    for name in std::iter::once(table).chain(columns.iter().map(|column| column.name.as_str())) {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return invalid(format!("`{name}` cannot name a table or column: 1 to {NAME_BYTES_MAX} bytes, no NUL"));
        }
    }
    let mut names: Vec<String> = columns.iter().map(|column| column.name.to_lowercase()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => invalid(format!("two columns are called `{}` (SQLite does not tell capitals apart)", pair[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn texts() {
        let table = Table::of(&samples::contract(&["window_start", "store_id"])).expect("a table");
        assert_eq!(
            table.create(),
            ["CREATE TABLE IF NOT EXISTS \"sample\" (\"window_start\" TIMESTAMPTZ, \"store_id\" TEXT, \
                 \"orders\" BIGINT, \"share\" DOUBLE PRECISION, \"open\" BOOLEAN, \"lines\" JSONB, \
                 UNIQUE (\"window_start\", \"store_id\"))"]
        );
        assert_eq!(
            table.upsert_values(2),
            "INSERT INTO \"sample\" (\"window_start\", \"store_id\", \"orders\", \"share\", \"open\", \"lines\") \
             VALUES (?,?,?,?,?,?),(?,?,?,?,?,?) ON CONFLICT (\"window_start\", \"store_id\") DO UPDATE SET \
             \"orders\" = excluded.\"orders\", \"share\" = excluded.\"share\", \"open\" = excluded.\"open\", \
             \"lines\" = excluded.\"lines\""
        );
        assert!(table.upsert_arrays().contains("SELECT c1,c2,c3,c4,c5,c6::JSONB FROM UNNEST($1::TIMESTAMPTZ[],"));
        let row = [Param::Null, Param::Text("a".into())];
        assert_eq!(
            table.delete_by_key(&row),
            "DELETE FROM \"sample\" WHERE \"window_start\" IS NULL AND \"store_id\" = $1"
        );
    }

    #[test]
    fn a_table_without_key_is_keyed_by_place() {
        let table = Table::of(&samples::contract(&[])).expect("a table");
        assert_eq!(table.key_names(), ["_partition", "_offset"]);
        assert_eq!(
            table.create()[1],
            "CREATE INDEX IF NOT EXISTS \"sample_window_start_idx\" ON \"sample\" (\"window_start\")"
        );
    }

    #[test]
    fn names_that_cannot_be() {
        let mut long = samples::contract(&[]);
        long.name = "x".repeat(64);
        let mut twice = samples::contract(&[]);
        twice.columns[2].name = "SHARE".into();
        for (contract, text) in [(long, "1 to 63 bytes"), (twice, "two columns are called `share`")] {
            let error = Table::of(&contract).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
