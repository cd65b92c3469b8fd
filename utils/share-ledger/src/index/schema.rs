//! The database file: opening it, its version.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, functions::FunctionFlags};

use super::values::add_work;

/// Steps from each version of the database to the next; `user_version` is the number of those that were taken.
const STEPS: &[&str] = &[include_str!("schema.sql")];

/// The version that is written.
pub const DATABASE_VERSION: i64 = STEPS.len() as i64;

/// How long to wait for another process that has the database locked.
const BUSY: Duration = Duration::from_secs(2);

/// What a write-ahead log may keep of the disk when it is not needed, in bytes.
const WAL_BYTES: i64 = 64 << 20;

/// A database can not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It has been written by a later version of this program.
    #[error(
        "the database has version {found}; this program knows up to {DATABASE_VERSION}. Run the later version, or remove the database: it is made again from the log"
    )]
    FromTheFuture {
        /// Its version.
        found: i64,
    },
    /// It does not belong to the log beside it, or lacks what it should have.
    #[error("the database does not fit the log: {0}")]
    Inconsistent(String),
    /// As SQLite reports.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl DatabaseError {
    /// Whether the only help is to make the database again: trying later will not do.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::FromTheFuture { .. } => false,
            Self::Inconsistent(_) => true,
            Self::Sqlite(error) => {
                matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation)
                ) || matches!(
                    error,
                    rusqlite::Error::InvalidColumnType(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                        | rusqlite::Error::FromSqlConversionFailure(..)
                )
            }
        }
    }
}

/// Opens a database to write, and brings it to the present version.
pub(crate) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let version = version(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may take the last transactions, which are made again from the log; it never damages the database.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection
        .create_scalar_function("add_work", 2, flags, |context| Ok(add_work(context.get(0)?, context.get(1)?)))?;
    for (number, step) in STEPS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Opens a database to read.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, DatabaseError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    match version(&connection)? {
        DATABASE_VERSION => Ok(connection),
        older => Err(DatabaseError::Inconsistent(format!(
            "it has version {older}; the pool brings it to {DATABASE_VERSION} when it starts"
        ))),
    }
}

fn version(connection: &Connection) -> Result<i64, DatabaseError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > DATABASE_VERSION { Err(DatabaseError::FromTheFuture { found }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_from_the_future_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let connection = open(&path).unwrap();
        connection.pragma_update(None, "user_version", DATABASE_VERSION + 1).unwrap();
        drop(connection);
        for error in [open(&path).unwrap_err(), open_to_read(&path).unwrap_err()] {
            assert!(matches!(error, DatabaseError::FromTheFuture { found } if found == DATABASE_VERSION + 1));
            assert!(!error.is_broken());
            assert!(error.to_string().contains("Run the later version"));
        }
    }

    #[test]
    fn what_is_no_database_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "something else".repeat(100)).unwrap();
        assert!(open(&path).unwrap_err().is_broken());
    }

    #[test]
    fn opening_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        drop(open(&path).unwrap());
        let version: i64 = open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, DATABASE_VERSION);
        assert!(open_to_read(&path).is_ok());
    }
}
