//! The day's figures on disk (`<data_dir>/limits.db`), so that a restart does not begin a new day.
//!
//! Nothing waits for it: figures that changed are written together, once a second. A gateway that is killed loses that much.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::Use;
use crate::database::{self, Connection, DatabaseError, Durability, SqlError, params};

const MIGRATIONS: [&str; 1] = ["
-- What somebody used since their day began; times are microseconds.
CREATE TABLE day (
    scope TEXT NOT NULL, whom TEXT NOT NULL, ends INTEGER NOT NULL,
    bytes INTEGER NOT NULL, cpu INTEGER NOT NULL, fuel INTEGER NOT NULL,
    PRIMARY KEY (scope, whom)
) STRICT;
CREATE INDEX day_ends ON day (ends);
"];

/// Somebody's day, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// As limits are called in the settings.
    pub scope: String,
    pub whom: String,
    pub day: Day,
}

/// What was used of a day that is not over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Day {
    /// Until it ends.
    pub left: Duration,
    pub used: Use,
}

/// The database of days.
pub struct Ledger(Mutex<Connection>);

impl Ledger {
    /// Opens `limits.db` in the data directory.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, DatabaseError> {
        // A loss of power may take the last seconds too.
        database::open(&data_dir.join("limits.db"), Durability::Process, &MIGRATIONS).map(|db| Self(Mutex::new(db)))
    }

    /// Days that are not over.
    pub(super) fn read(&self, now: OffsetDateTime) -> Result<Vec<Entry>, DatabaseError> {
        let connection = self.lock();
        let now = micros(now);
        let mut statement = connection.prepare("SELECT scope, whom, ends, bytes, cpu, fuel FROM day WHERE ends > ?")?;
        let rows = statement.query_map([now], |row| {
            let number = |at| row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0));
            let used = Use { bytes: number(3)?, cpu: Duration::from_micros(number(4)?), fuel: number(5)? };
            let left = Duration::from_micros(row.get::<_, i64>(2)?.saturating_sub(now).unsigned_abs());
            Ok(Entry { scope: row.get(0)?, whom: row.get(1)?, day: Day { left, used } })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes how these days stand now, all of them or none, and forgets those that are over.
    pub(super) fn write(&self, entries: &[Entry], now: OffsetDateTime) -> Result<(), SqlError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.prepare_cached("DELETE FROM day WHERE ends <= ?")?.execute([micros(now)])?;
        for Entry { scope, whom, day: Day { left, used } } in entries {
            let ends = micros(now).saturating_add(whole(left.as_micros()));
            let (bytes, cpu, fuel) = (whole(used.bytes.into()), whole(used.cpu.as_micros()), whole(used.fuel.into()));
            let sql = "INSERT OR REPLACE INTO day (scope, whom, ends, bytes, cpu, fuel) VALUES (?, ?, ?, ?, ?, ?)";
            transaction.prepare_cached(sql)?.execute(params![scope, whom, ends, bytes, cpu, fuel])?;
        }
        transaction.commit()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).expect("a date of this era")
}

fn whole(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_day_is_read_back_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let now = datetime!(2026-01-31 12:00 UTC);
        let used = Use { bytes: 7, cpu: Duration::from_millis(1500), fuel: u64::MAX };
        let day = Day { left: Duration::from_secs(3600), used };
        let entry = |whom: &str, day| Entry { scope: "key".into(), whom: whom.into(), day };
        let ledger = Ledger::open(folder.path()).unwrap();
        ledger.write(&[entry("a", Day { used: Use::default(), ..day }), entry("b", day)], now).unwrap();
        ledger.write(&[entry("a", day)], now).unwrap();
        drop(ledger);
        let ledger = Ledger::open(folder.path()).unwrap();
        let later = now + Duration::from_secs(3599);
        let mut read = ledger.read(later).unwrap();
        read.sort_by(|one, other| one.whom.cmp(&other.whom));
        let used = Use { fuel: i64::MAX.unsigned_abs(), ..used };
        assert_eq!(read, ["a", "b"].map(|whom| entry(whom, Day { left: Duration::from_secs(1), used })));
        assert_eq!(ledger.read(later + Duration::from_secs(1)).unwrap(), []);
    }
}
