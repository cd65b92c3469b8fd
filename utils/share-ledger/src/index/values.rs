//! Numbers as SQLite keeps them.

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};

use crate::record::{Difficulty, Timestamp, Work};

/// SQLite has 63 bits; what is more becomes the largest.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way; what is negative becomes 0.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl ToSql for Work {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match i64::try_from(self.0) {
            Ok(small) => Value::Integer(small),
            Err(_) => Value::Blob(self.0.to_be_bytes().to_vec()),
        }))
    }
}

impl FromSql for Work {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(small) => u128::try_from(small).map(Self).map_err(|_| FromSqlError::OutOfRange(small)),
            ValueRef::Blob(bytes) => {
                bytes.try_into().map(|bytes| Self(u128::from_be_bytes(bytes))).map_err(|_| FromSqlError::InvalidType)
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

pub(crate) fn add_work(a: Work, b: Work) -> Work {
    a.saturating_add(b)
}

impl ToSql for Difficulty {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.get().into())
    }
}

impl FromSql for Difficulty {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        f64::column_result(value).map(Self::new)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(int(self.0).into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|millis| Self(uint(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_any_size_comes_back_and_sorts_by_value() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (work)").unwrap();
        let works =
            [0, 1, 255, 256, i64::MAX as u128, i64::MAX as u128 + 1, u64::MAX as u128, 1 << 100, u128::MAX].map(Work);
        for work in works.iter().rev() {
            connection.execute("INSERT INTO t VALUES (?1)", [work]).unwrap();
        }
        let mut select = connection.prepare("SELECT work FROM t ORDER BY work").unwrap();
        let read: Vec<Work> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, works);
    }
}
