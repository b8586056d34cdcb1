//! Records for somebody who takes all of them, once: how far they were taken is kept beside them, so that a restart goes on there.

use serde_json::value::RawValue;

use super::event::Record;
use super::query::PAGE;
use super::{Records, RecordsError, Table};
use crate::database::{Connection, OptionalExtension as _, SqlError, params};

/// Rows that were not taken before.
#[derive(Debug)]
pub struct Fresh {
    /// The oldest first; each a JSON object.
    pub rows: Vec<Box<RawValue>>,
    /// What [`Records::handed_on`] is to be told of them.
    pub last: i64,
}

impl Records {
    /// The next rows of a table (at most [`PAGE`]): those after `seen`, else after what was handed on.
    ///
    /// # Errors
    /// When nothing is kept, or the database fails.
    pub async fn fresh(&self, table: Table, seen: Option<i64>) -> Result<Fresh, RecordsError> {
        self.read(move |connection| fresh(connection, table, seen)).await
    }

    /// Notes that the rows up to `last` need not be taken again. Does not wait; where it is lost they are taken twice.
    pub fn handed_on(&self, table: Table, last: i64) {
        self.add(Record::HandedOn { table, last });
    }
}

fn fresh(connection: &Connection, table: Table, seen: Option<i64>) -> Result<Fresh, SqlError> {
    let name = table.name();
    let kept = || {
        let sql = "SELECT last FROM handed_on WHERE records = ?";
        connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).optional()
    };
    let seen = match seen {
        Some(seen) => seen,
        None => kept()?.unwrap_or(0),
    };
    // Numbers begin anew after a table was empty.
    let sql = format!(
        "SELECT id, json_object({}) FROM {name}
         WHERE id > (SELECT iif(coalesce(max(id), 0) < ?1, 0, ?1) FROM {name}) ORDER BY id LIMIT {PAGE}",
        table.columns()
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params![seen], |row| {
        let json: String = row.get(1)?;
        Ok((row.get::<_, i64>(0)?, RawValue::from_string(json).expect("json_object makes JSON")))
    })?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let last = rows.last().map_or(seen, |(id, _)| *id);
    Ok(Fresh { rows: rows.into_iter().map(|(_, row)| row).collect(), last })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::records::{Level, RecordsSettings};

    #[tokio::test]
    async fn each_row_is_taken_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Records::open(folder.path(), &RecordsSettings::default()).unwrap();
        let told = |fresh: &Fresh| fresh.rows.iter().map(|row| row.get().to_owned()).collect::<Vec<_>>().join("\n");
        let records = open();
        let pool = records.pool("p", &BTreeMap::new(), true);
        pool.event(Level::Warning, "First", "first");
        let first = records.fresh(Table::Pools, None).await.unwrap();
        assert_eq!(first.rows.len(), 1);
        // Not handed on yet: a restart would take it again, this process goes on.
        assert_eq!(records.fresh(Table::Pools, None).await.unwrap().rows.len(), 1);
        assert_eq!(records.fresh(Table::Pools, Some(first.last)).await.unwrap().rows.len(), 0);
        records.handed_on(Table::Pools, first.last);
        pool.event(Level::Warning, "Second", "second");
        records.settle().await;
        drop((records, pool));
        let second = open().fresh(Table::Pools, None).await.unwrap();
        assert!(told(&second).contains("Second") && !told(&second).contains("First"), "{second:?}");
    }

    #[tokio::test]
    async fn a_table_that_was_emptied_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path(), &RecordsSettings::default()).unwrap();
        records.pool("p", &BTreeMap::new(), true).event(Level::Error, "Only", "only");
        let fresh = records.fresh(Table::Pools, Some(1000)).await.unwrap();
        assert_eq!((fresh.rows.len(), fresh.last), (1, 1));
    }
}
