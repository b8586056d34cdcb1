//! Deleting old records: by age, and when the database has grown too large.
//!
//! By size the console goes first and the audit last: who prints much, or makes many sessions, cannot push out what
//! others are held to.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::RecordsSettings;
use crate::database::{Connection, SqlError};

const EVERY: Duration = Duration::from_secs(60);
/// Rows deleted in one go, so that the queue is looked at in between.
const ROWS: usize = 20_000;
/// In the order in which they make room.
const TABLES: [&str; 5] = ["console", "lifecycle", "pools", "usage", "audit"];

pub(super) struct Retention {
    age: time::Duration,
    max_bytes: u64,
    next: Option<Instant>,
}

impl Retention {
    pub(super) fn new(settings: &RecordsSettings) -> Self {
        let age = time::Duration::days(i64::try_from(settings.retention_days).unwrap_or(i64::MAX / 86_400));
        Self { age, max_bytes: settings.max_mebibytes << 20, next: None }
    }

    /// Looks from time to time; the first time at once. What is left to delete is left for the next call.
    pub(super) fn apply(&mut self, connection: &mut Connection, now: Instant) -> Result<(), SqlError> {
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        let more = self.by_age(connection, OffsetDateTime::now_utc())? | self.by_size(connection)?;
        self.next = (!more).then(|| now + EVERY);
        Ok(())
    }

    fn by_age(&self, connection: &Connection, now: OffsetDateTime) -> Result<bool, SqlError> {
        let oldest = (now - self.age).unix_timestamp() * 1_000_000;
        let mut more = false;
        for table in TABLES {
            let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE at < ? LIMIT {ROWS})");
            more |= connection.prepare_cached(&sql)?.execute([oldest])? == ROWS;
        }
        Ok(more)
    }

    fn by_size(&self, connection: &Connection) -> Result<bool, SqlError> {
        if used_bytes(connection)? <= self.max_bytes {
            return Ok(false);
        }
        for table in TABLES {
            let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT {ROWS})");
            if connection.prepare_cached(&sql)?.execute([])? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Pages in use: the file itself does not shrink, and its free pages are used again.
fn used_bytes(connection: &Connection) -> Result<u64, SqlError> {
    let read = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = (read("page_count")? - read("freelist_count")?) * read("page_size")?;
    Ok(u64::try_from(bytes).expect("no fewer pages than free ones"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::schema;

    fn count(connection: &Connection, table: &str) -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn filled(console: usize) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open(&folder.path().join("records.db")).unwrap();
        let now = OffsetDateTime::now_utc().unix_timestamp() * 1_000_000;
        connection
            .execute_batch(&format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {console})
                 INSERT INTO console (at, pool, session, execution, stream, log)
                     SELECT {now} - i * 1000000, 'p', 's', 'e', 'stdout', printf('%100d', i) FROM n;
                 INSERT INTO audit (at, caller, operation, status, elapsed) VALUES
                     ({now}, 'a', 'Execute', 200, 1), ({now} - 86400 * 1000000 * 2, 'a', 'Execute', 200, 1);"
            ))
            .unwrap();
        (folder, connection)
    }

    #[test]
    fn what_is_older_than_the_retention_goes() {
        let (_folder, mut connection) = filled(10);
        let settings = RecordsSettings { retention_days: 1, ..RecordsSettings::default() };
        Retention::new(&settings).apply(&mut connection, Instant::now()).unwrap();
        assert_eq!((count(&connection, "console"), count(&connection, "audit")), (10, 1));
    }

    #[test]
    fn a_full_database_loses_its_console_first_and_stays_below_its_size() {
        let (_folder, mut connection) = filled(60_000);
        let settings = RecordsSettings { max_mebibytes: 4, ..RecordsSettings::default() };
        let mut retention = Retention::new(&settings);
        assert!(used_bytes(&connection).unwrap() > 4 << 20);
        while retention.next.is_none() {
            retention.apply(&mut connection, Instant::now()).unwrap();
        }
        assert!(used_bytes(&connection).unwrap() <= 4 << 20);
        assert_eq!(count(&connection, "audit"), 2);
        assert!((1..60_000).contains(&count(&connection, "console")));
    }
}
