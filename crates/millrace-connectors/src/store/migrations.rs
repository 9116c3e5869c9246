//! The versioned texts of `contracts/migrations/`: the tables Millrace keeps beside the results.

use millrace_model::ErrorKind;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgPool, Postgres};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::StoreError;
use super::session::unnamed;

/// Version, name and text, compiled in: the binary needs no file beside it. A text never changes once released.
const TEXTS: &[(i64, &str, &str)] = &[
    (1, "system tables", include_str!("../../../../contracts/migrations/0001_system_tables.sql")),
    (2, "job progress of Spark", include_str!("../../../../contracts/migrations/0002_job_progress_of_spark.sql")),
    (3, "dead letters", include_str!("../../../../contracts/migrations/0003_dead_letters.sql")),
    (4, "alerts", include_str!("../../../../contracts/migrations/0004_alerts.sql")),
    (5, "alert lists", include_str!("../../../../contracts/migrations/0005_alert_lists.sql")),
    (6, "trouble of jobs", include_str!("../../../../contracts/migrations/0006_trouble_of_jobs.sql")),
];

/// All migrations, in order.
pub(super) fn migrator() -> Migrator {
    let migration = |(version, name, text): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(TEXTS.iter().map(migration).collect())
}

/// Which were applied: sqlx's own table, by its own definition, as on SQLite.
const APPLIED: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
     installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, \
     execution_time BIGINT NOT NULL)";

/// Brings a PostgreSQL up to date. It looks first, so that a role that may only read can open a store that is. What is missing
/// is applied in one transaction under a lock of that transaction: the migrator's own lock and prepared statements belong to a
/// session, of which a pgbouncer gives none.
pub(super) async fn run_postgres(pool: &PgPool) -> Result<(), StoreError> {
    let failed = |e: sqlx::Error| StoreError::of("migrate the store", &e);
    let migrator = migrator();
    let mut transaction = pool.begin().await.map_err(failed)?;
    if missing(&migrator, &applied(&mut transaction).await.map_err(failed)?)?.is_empty() {
        return transaction.rollback().await.map_err(failed);
    }
    for text in ["SELECT pg_advisory_xact_lock(7700100)", APPLIED] {
        unnamed(text.into()).execute(&mut *transaction).await.map_err(failed)?;
    }
    // Another may have had the lock before.
    for migration in missing(&migrator, &applied(&mut transaction).await.map_err(failed)?)? {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *transaction).await.map_err(failed)?;
        let note = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                    VALUES ($1, $2, TRUE, $3, -1)";
        let note = unnamed(note.into()).bind(migration.version).bind(migration.description.to_string());
        note.bind(migration.checksum.to_vec()).execute(&mut *transaction).await.map_err(failed)?;
        tracing::info!(version = migration.version, name = %migration.description, "migration applied");
    }
    transaction.commit().await.map_err(failed)
}

/// Version and checksum of each that was applied.
async fn applied(transaction: &mut sqlx::Transaction<'static, Postgres>) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar(AssertSqlSafe(there)).persistent(false).fetch_one(&mut **transaction).await? {
        return Ok(Vec::new());
    }
    let list = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
    sqlx::query_as(AssertSqlSafe(list)).persistent(false).fetch_all(&mut **transaction).await
}

/// Those that are still to be applied.
fn missing<'a>(migrator: &'a Migrator, applied: &[(i64, Vec<u8>)]) -> Result<Vec<&'a Migration>, StoreError> {
    if let Some((version, _)) = applied.iter().find(|(version, _)| !migrator.version_exists(*version)) {
        return Err(error(MigrateError::VersionMissing(*version)));
    }
    let mut missing = Vec::new();
    for migration in migrator.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => missing.push(migration),
            Some((_, checksum)) if *checksum == *migration.checksum => {}
            Some(_) => return Err(error(MigrateError::VersionMismatch(migration.version))),
        }
    }
    Ok(missing)
}

/// What a migration that failed means.
pub(super) fn error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => StoreError::of("migrate the store", &e),
        MigrateError::VersionMissing(version) | MigrateError::VersionTooOld(version, _) => StoreError::new(
            ErrorKind::Invalid,
            format!("migrate the store: it was written by a newer Millrace (migration {version}); use that one"),
        ),
        other => StoreError::new(ErrorKind::Invalid, format!("migrate the store: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/migrations");
        let files = std::fs::read_dir(folder).expect("the folder of migrations").count();
        assert_eq!(files, TEXTS.len());
        assert_eq!(migrator().iter().count(), TEXTS.len());
    }

    #[test]
    fn what_is_missing() {
        let migrator = migrator();
        let all: Vec<_> = migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
        let versions = |applied: &[(i64, Vec<u8>)]| {
            let missing = missing(&migrator, applied).expect("this version's");
            missing.into_iter().map(|migration| migration.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(&all), [0; 0]);
        assert_eq!(versions(&all[..3]), (4..=all.len() as i64).collect::<Vec<_>>());
        for (changed, text) in [
            ([all.clone(), vec![(1_000, vec![])]].concat(), "written by a newer Millrace (migration 1000)"),
            (vec![(1, vec![7])], "1"),
        ] {
            let error = missing(&migrator, &changed).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
