//! The versioned texts of `contracts/migrations/`: the tables Millrace keeps beside the results.

use millrace_model::ErrorKind;
use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// Version, name and text, compiled in: the binary needs no file beside it. A text never changes once released.
const TEXTS: &[(i64, &str, &str)] = &[
    (1, "system tables", include_str!("../../../../contracts/migrations/0001_system_tables.sql")),
    (2, "job progress of Spark", include_str!("../../../../contracts/migrations/0002_job_progress_of_spark.sql")),
    (3, "dead letters", include_str!("../../../../contracts/migrations/0003_dead_letters.sql")),
    (4, "alerts", include_str!("../../../../contracts/migrations/0004_alerts.sql")),
    (5, "alert lists", include_str!("../../../../contracts/migrations/0005_alert_lists.sql")),
];

/// All migrations, in order.
pub(super) fn migrator() -> Migrator {
    let migration = |(version, name, text): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(TEXTS.iter().map(migration).collect())
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
}
