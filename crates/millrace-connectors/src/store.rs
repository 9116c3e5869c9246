//! The store: what people look up, in SQLite (a file, nothing to install) or PostgreSQL 15, behind one type.
//!
//! ```text
//!  contracts ──▶ Table ──▶ CREATE / ALTER (evolution decides)      ┌▶ SQLite: WAL, synchronous FULL, one writer
//!  sink ──▶ WriteBatch (rows + offsets) ──▶ one transaction ───────┤
//!  dashboard ──▶ query($1, $2 …) ──▶ JSON rows, the same on both ──┴▶ PostgreSQL: UNNEST upserts, read-only readers
//! ```
//!
//! Reading order: `settings` (URL, limits) → `value` and `table` (types, SQL texts) → `evolution` (what to do about a
//! table that is there) → `batch` (what is written at once) → `session` (the two databases) → `read` (rows as JSON). Beside it
//! [`foreign`]: tables of databases that are not ours.
//!
//! **The subset both databases understand.** Write statements once, with `$1` for every value. Works on both: FILTER,
//! window functions, CTEs, `NULLS LAST`, `ON CONFLICT`, `IS NOT DISTINCT FROM`, `||`, `CASE`, `coalesce`,
//! `count`/`sum`/`avg`/`min`/`max`, `CAST(x AS TEXT)`; `CAST(j ->> 'field' AS TEXT)` on JSON columns (`->>` alone answers
//! text on PostgreSQL and the value on SQLite); `(x = $1 OR $1 IS NULL)`, in this order. Different, so not used:
//! arithmetic on times (compute the time in Rust and bind it), `now()`, `ILIKE`, `greatest`, `round(x, n)`,
//! `string_agg`, `::`. A bare comparison in the SELECT list is a boolean on PostgreSQL and 0 or 1 on SQLite: select the
//! column, or use CASE.

mod batch;
mod error;
mod evolution;
pub mod foreign;
mod migrations;
mod numeric;
mod read;
#[cfg(test)]
pub(crate) mod samples;
mod session;
mod settings;
mod table;
mod value;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_model::{Contract, ErrorKind, Timestamp};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

pub use batch::{OffsetAdvance, WriteBatch};
pub use error::StoreError;
pub use read::{EachRow, JsonRow, QUERY_ROWS_MAX};
pub use settings::{
    ACQUIRE_MS_MAX, BUSY_MS_MAX, QUERY_MS_MAX, READERS_MAX, SQLITE_CACHE_KIB, StoreKind, WRITERS_MAX, masked,
};
pub use table::{COLUMNS_MAX, NAME_BYTES_MAX, OFFSET_COLUMN, PARTITION_COLUMN, Table, TableColumn};
pub use value::{Param, SqlType, quoted};

use batch::{Moved, after_mismatch, last_of_each_key};
use evolution::{Evolution, Existing};
use read::DeclaredTypes;
use session::Transaction;
use settings::StoreUrl;

/// The store. Cheap to clone: all clones share the connections.
#[derive(Clone)]
pub struct Store(Arc<Database>);

enum Database {
    Sqlite { write: SqlitePool, read: SqlitePool, types: DeclaredTypes },
    Postgres { write: PgPool, read: PgPool },
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?})", self.kind())
    }
}

impl Store {
    /// Opens the store and brings its system tables up to date. `sqlite:///folder/millrace.db` (the folder and the file
    /// are made when they are missing) or `postgres://user:password@host:5432/database`. The password is never logged.
    ///
    /// # Errors
    /// `Invalid`: the URL, the credentials, the database or the folder; a store of a newer Millrace.
    /// `Unavailable`: the server cannot be reached now.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        let within = |e: StoreError| e.within(format_args!("open store `{}`", masked(url)));
        let database = match StoreUrl::parse(url)? {
            StoreUrl::Sqlite(options) => open_sqlite(*options).await,
            StoreUrl::Postgres(options) => open_postgres(*options).await,
        };
        let store = Store(Arc::new(database.map_err(within)?));
        store.migrate().await.map_err(within)?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        match &*self.0 {
            Database::Sqlite { write, .. } => migrations::migrator().run(write).await.map_err(migrations::error),
            Database::Postgres { write, .. } => migrations::run_postgres(write).await,
        }
    }

    /// Which database it is.
    pub fn kind(&self) -> StoreKind {
        match &*self.0 {
            Database::Sqlite { .. } => StoreKind::Sqlite,
            Database::Postgres { .. } => StoreKind::Postgres,
        }
    }

    /// Makes the table of each contract, or adds the columns that are new. A table that is made is filled from the
    /// start of its topic: stored offsets of a topic of that name are forgotten. A role that may make none finds them made.
    ///
    /// # Errors
    /// `Invalid`: a column changed its type or the key changed (the text says what to do); something is to be made and the
    /// role may not. `Unavailable`: as [`open`](Self::open).
    pub async fn ensure_tables(&self, contracts: &[Contract]) -> Result<(), StoreError> {
        let tables: Vec<Table> = contracts.iter().map(Table::of).collect::<Result<_, _>>()?;
        let failed = |e: sqlx::Error| StoreError::of("make the tables", &e);
        let mut transaction = self.begin().await?;
        if !transaction.may_make_tables().await.map_err(failed)? {
            return check_made(&mut transaction, &tables).await;
        }
        if self.kind() == StoreKind::Postgres {
            // Two processes that make the same table at once would both find it missing.
            transaction.execute("SELECT pg_advisory_xact_lock(7700101)", &[]).await.map_err(failed)?;
        }
        for table in &tables {
            let existing = existing(&mut transaction, table.name()).await.map_err(failed)?;
            let texts = match evolution::decide(table, &existing) {
                Evolution::Refuse(why) => return Err(StoreError::new(ErrorKind::Invalid, why)),
                Evolution::Create => {
                    let forget = "DELETE FROM sink_offsets WHERE topic = $1";
                    transaction.execute(forget, &[Param::Text(table.name().into())]).await.map_err(failed)?;
                    tracing::info!(table = table.name(), columns = table.columns().len(), "table made");
                    table.create()
                }
                Evolution::Add(columns) => {
                    for column in &columns {
                        tracing::info!(table = table.name(), column = column.name, "column added");
                    }
                    columns.iter().map(|column| table.add_column(column)).chain(table.create_indexes()).collect()
                }
            };
            for text in texts {
                transaction.execute(&text, &[]).await.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)?;
        if let Database::Sqlite { types, .. } = &*self.0 {
            types.clear();
        }
        Ok(())
    }

    /// Rows of a reading statement, columns in its order. Times come as RFC 3339 text with microseconds, lists, structs
    /// and maps as JSON values, BIGINT as integers, BOOLEAN columns as booleans, on both kinds of store.
    ///
    /// # Errors
    /// `Invalid`: the statement, a value of a type without JSON form, more than [`QUERY_ROWS_MAX`] rows, or a statement
    /// that writes. `Unavailable`: the database is away, busy, or took longer than [`QUERY_MS_MAX`].
    pub async fn query(&self, sql: &str, params: &[Param]) -> Result<Vec<JsonRow>, StoreError> {
        match &*self.0 {
            Database::Sqlite { read, types, .. } => read::query_sqlite(read, types, sql, params).await,
            Database::Postgres { read, .. } => read::query_postgres(read, sql, params).await,
        }
    }

    /// Shows every row of a table of this store, in the form of [`query`](Self::query), however many there are.
    ///
    /// # Errors
    /// As [`query`](Self::query) but for its limits, and what `each` says.
    pub async fn each_row(&self, table: &str, each: &mut EachRow<'_>) -> Result<(), StoreError> {
        let sql = format!("SELECT * FROM {}", quoted(table));
        match &*self.0 {
            Database::Sqlite { read, types, .. } => read::each_of_sqlite(read, types, &sql, each).await,
            Database::Postgres { read, .. } => read::each_of_postgres(read, &sql, &[], 0, each).await,
        }
    }

    /// Writes rows and offsets in one transaction. Writing the same batch again is harmless.
    ///
    /// # Errors
    /// `Fenced`: another sink of this name has moved the offsets. `Data`: a row the database refuses.
    /// `Unavailable`: nothing was written, or the answer was lost; write the same batch again.
    pub async fn write(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        let failed = |e: sqlx::Error| StoreError::of(format_args!("write a batch of sink `{}`", batch.sink), &e);
        let mut transaction = self.begin().await?;
        let now = Param::Time(Timestamp::from_system_time(SystemTime::now()));
        for advance in &batch.advances {
            if !step(&mut transaction, &batch.sink, advance, &now).await.map_err(failed)? {
                transaction.rollback().await.map_err(failed)?;
                return match after_mismatch(&batch.advances, &self.offsets(&batch.sink).await?) {
                    Moved::AlreadyWritten => Ok(()),
                    Moved::Fenced(why) => {
                        Err(StoreError::new(ErrorKind::Fenced, format!("sink `{}`: {why}", batch.sink)))
                    }
                };
            }
        }
        for (table, rows) in &batch.tables {
            transaction.upsert(table, &last_of_each_key(table, rows)).await?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Where a sink goes on: topic, partition and next offset, for each partition it has written something of.
    ///
    /// # Errors
    /// `Unavailable`: the database is away or busy.
    pub async fn offsets(&self, sink: &str) -> Result<Vec<(String, i32, i64)>, StoreError> {
        let sql = "SELECT topic, \"partition\" AS p, next_offset FROM sink_offsets WHERE sink = $1 ORDER BY topic, p";
        let rows = self.query(sql, &[Param::Text(sink.into())]).await?;
        let read = |row: &JsonRow| {
            let partition = i32::try_from(row.get("p")?.as_i64()?).ok()?;
            Some((row.get("topic")?.as_str()?.to_owned(), partition, row.get("next_offset")?.as_i64()?))
        };
        let offsets: Option<Vec<_>> = rows.iter().map(read).collect();
        offsets.ok_or_else(|| {
            StoreError::new(ErrorKind::Internal, format!("sink `{sink}`: table sink_offsets holds an unreadable row"))
        })
    }

    /// Deletes rows of a table whose time column is before a time, at most this many, so that no transaction is long; how many.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn delete_before(
        &self,
        table: &str,
        column: &str,
        time: Timestamp,
        rows_max: u32,
    ) -> Result<u64, StoreError> {
        let failed = |e: sqlx::Error| StoreError::of(format_args!("delete old rows of table `{table}`"), &e);
        let mut transaction = self.begin().await?;
        let (table, column) = (quoted(table), quoted(column));
        let sql = match self.kind() {
            StoreKind::Sqlite => format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {column} < $1 LIMIT {rows_max})"
            ),
            // A row that another sink is writing anew is not old any more.
            StoreKind::Postgres => format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY( \
                 SELECT ctid FROM {table} WHERE {column} < $1 LIMIT {rows_max} FOR UPDATE SKIP LOCKED))"
            ),
        };
        let deleted = transaction.execute(&sql, &[Param::Time(time)]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(deleted)
    }

    /// Closes the connections, of every clone, when the statements under way are done.
    pub async fn close(self) {
        match &*self.0 {
            Database::Sqlite { write, read, .. } => {
                read.close().await;
                write.close().await;
            }
            Database::Postgres { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }

    async fn begin(&self) -> Result<Transaction, StoreError> {
        match &*self.0 {
            Database::Sqlite { write, .. } => Transaction::begin_sqlite(write).await,
            Database::Postgres { write, .. } => Transaction::begin_postgres(write).await,
        }
        .map_err(|e| StoreError::of("begin to write", &e))
    }
}

/// A pool that keeps its connections. What closes idle ones in sqlx 0.9 may take a count below zero and never end, with a core of
/// its own, and then the program does not end either (sqlx 3645).
fn lasting<DB: sqlx::Database>(options: sqlx::pool::PoolOptions<DB>) -> sqlx::pool::PoolOptions<DB> {
    options.idle_timeout(None).max_lifetime(None)
}

async fn open_sqlite(options: sqlx::sqlite::SqliteConnectOptions) -> Result<Database, StoreError> {
    let options = options.disable_statement_logging();
    let folder = options.get_filename().parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)
            .map_err(|e| StoreError::new(ErrorKind::Invalid, format!("make folder {}: {e}", folder.display())))?;
    }
    let acquire = Duration::from_millis(ACQUIRE_MS_MAX);
    let failed = |e: sqlx::Error| StoreError::of("connect", &e);
    // The writer first: it makes the file, which a reader cannot.
    let write = lasting(SqlitePoolOptions::new()).max_connections(1).acquire_timeout(acquire);
    let write = write.connect_with(options.clone()).await.map_err(failed)?;
    let read = lasting(SqlitePoolOptions::new()).max_connections(READERS_MAX).acquire_timeout(acquire);
    let read = read.connect_lazy_with(options.create_if_missing(false).pragma("query_only", "ON"));
    Ok(Database::Sqlite { write, read, types: DeclaredTypes::default() })
}

async fn open_postgres(options: sqlx::postgres::PgConnectOptions) -> Result<Database, StoreError> {
    let acquire = Duration::from_millis(ACQUIRE_MS_MAX);
    let write = lasting(PgPoolOptions::new()).max_connections(WRITERS_MAX).acquire_timeout(acquire);
    let write = write.connect_with(options.clone()).await.map_err(|e| StoreError::of("connect", &e))?;
    let read = lasting(PgPoolOptions::new()).max_connections(READERS_MAX).acquire_timeout(acquire);
    let read = read.connect_lazy_with(options);
    Ok(Database::Postgres { write, read })
}

/// Moves a stored offset if it is where the sink left it. `false`: it is not.
async fn step(
    transaction: &mut Transaction,
    sink: &str,
    advance: &OffsetAdvance,
    now: &Param,
) -> Result<bool, sqlx::Error> {
    let place = [
        Param::Text(sink.into()),
        Param::Text(advance.topic.clone()),
        Param::Integer(advance.partition.into()),
        Param::Integer(advance.to),
        now.clone(),
    ];
    let touched = match advance.from {
        None => {
            let sql = "INSERT INTO sink_offsets (sink, topic, \"partition\", next_offset, updated_at) \
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            transaction.execute(sql, &place).await?
        }
        Some(from) => {
            let sql = "UPDATE sink_offsets SET next_offset = $4, updated_at = $5 \
                       WHERE sink = $1 AND topic = $2 AND \"partition\" = $3 AND next_offset = $6";
            let params: Vec<Param> = place.into_iter().chain([Param::Integer(from)]).collect();
            transaction.execute(sql, &params).await?
        }
    };
    Ok(touched == 1)
}

/// For a role that may not make tables: whether they are as their contracts say.
async fn check_made(transaction: &mut Transaction, tables: &[Table]) -> Result<(), StoreError> {
    for table in tables {
        let existing =
            existing(transaction, table.name()).await.map_err(|e| StoreError::of("look at the tables", &e))?;
        let lacking = match evolution::decide(table, &existing) {
            Evolution::Refuse(why) => return Err(StoreError::new(ErrorKind::Invalid, why)),
            Evolution::Create => format!("table `{}`", table.name()),
            Evolution::Add(columns) => match columns.first() {
                Some(column) => format!("column `{}` of table `{}`", column.name, table.name()),
                None => continue,
            },
        };
        let remedy =
            "the role of `store.url` may not make it: start `millrace up` or `millrace sink` with the tables' owner";
        return Err(StoreError::new(ErrorKind::Invalid, format!("{lacking} is not in the store, and {remedy}")));
    }
    Ok(())
}

/// What the database says about a table.
async fn existing(transaction: &mut Transaction, table: &str) -> Result<Existing, sqlx::Error> {
    let (columns, keys) = match transaction {
        Transaction::Sqlite(_) => (
            "SELECT name, type FROM pragma_table_info($1) ORDER BY cid",
            "SELECT l.name, i.name FROM pragma_index_list($1) AS l JOIN pragma_index_info(l.name) AS i \
             WHERE l.\"unique\" = 1 ORDER BY l.name, i.seqno",
        ),
        Transaction::Postgres(_) => (
            "SELECT a.attname::TEXT, format_type(a.atttypid, NULL) FROM pg_attribute AS a \
             WHERE a.attrelid = to_regclass(quote_ident($1)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            "SELECT c.conname::TEXT, a.attname::TEXT FROM pg_constraint AS c \
             CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY AS k(attnum, place) \
             JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum \
             WHERE c.conrelid = to_regclass(quote_ident($1)) AND c.contype IN ('p', 'u') ORDER BY c.conname, k.place",
        ),
    };
    let mut keys_found: Vec<(String, Vec<String>)> = Vec::new();
    for (constraint, column) in transaction.pairs(keys, table).await? {
        match keys_found.last_mut().filter(|(name, _)| *name == constraint) {
            Some((_, key)) => key.push(column),
            None => keys_found.push((constraint, vec![column])),
        }
    }
    let keys = keys_found.into_iter().map(|(_, key)| key).collect();
    Ok(Existing { columns: transaction.pairs(columns, table).await?, keys })
}
