//! Use, summed up: by pool, caller, day, or a tag of the pools.

use serde::Serialize;

use super::query::{Conditions, Filter, Table};
use super::{Records, RecordsError};
use crate::database::{Connection, SqlError};

/// What use is summed up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    Pool,
    /// Use of sessions belongs to no caller, and stands under none.
    Caller,
    /// In UTC.
    Day,
    Hour,
    Minute,
    /// The value of this tag.
    Tag(String),
}

/// The use of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// None: what has no such tag, or no caller.
    pub group: Option<String>,
    pub executions: u64,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub fuel: u64,
    /// Memory in gibibytes times the seconds that code ran in it.
    pub gibibyte_seconds: f64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub network_bytes: u64,
    /// Sessions that ended.
    pub sessions: u64,
    /// Time for which those were held, and how much of that no code ran.
    pub allocated_seconds: f64,
    pub idle_seconds: f64,
}

impl By {
    /// `pool`, `caller`, `day`, `hour`, `minute` or `tag:NAME`.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "pool" => Some(Self::Pool),
            "caller" => Some(Self::Caller),
            "day" => Some(Self::Day),
            "hour" => Some(Self::Hour),
            "minute" => Some(Self::Minute),
            _ => text.strip_prefix("tag:").filter(|tag| is_findable(tag)).map(|tag| Self::Tag(tag.to_owned())),
        }
    }
}

/// A quote would end the name in the path that finds it, and a backslash begins an escape.
fn is_findable(tag: &str) -> bool {
    (1..=512).contains(&tag.chars().count()) && !tag.chars().any(|c| matches!(c, '"' | '\\' | '\0'..='\x1f'))
}

/// Groups at most: those with the largest use of CPU; of times the last ones.
const GROUPS: usize = 1000;

impl Records {
    /// The use that fits `filter`, by group.
    ///
    /// # Errors
    /// When nothing is kept, or the database fails.
    pub async fn sums(&self, filter: Filter, by: By) -> Result<Vec<Sum>, RecordsError> {
        self.read(move |connection| sums(connection, &filter, &by)).await
    }
}

fn sums(connection: &Connection, filter: &Filter, by: &By) -> Result<Vec<Sum>, SqlError> {
    let mut wanted = Conditions::of(filter, Table::Usage);
    let group = match by {
        By::Pool => "pool",
        By::Caller => "caller",
        By::Day => "date(at / 1000000, 'unixepoch')",
        By::Hour => "strftime('%Y-%m-%dT%H:00:00Z', at / 1000000, 'unixepoch')",
        By::Minute => "strftime('%Y-%m-%dT%H:%M:00Z', at / 1000000, 'unixepoch')",
        By::Tag(tag) => {
            wanted.values.insert(0, Box::new(format!("$.\"{tag}\"")));
            "json_extract(tags, ?)"
        }
    };
    let first = if matches!(by, By::Day | By::Hour | By::Minute) { "grouped" } else { "total(cpu)" };
    let sql = format!(
        "SELECT {group} AS grouped, count(wall), total(wall) / 1e6, total(cpu) / 1e6, total(fuel),
            total(memory_byte_seconds) / 1073741824.0, total(input_bytes), total(output_bytes), total(network_bytes),
            count(allocated), total(allocated) / 1e6, total(idle) / 1e6
         FROM usage{} GROUP BY grouped ORDER BY {first} DESC LIMIT {GROUPS}",
        wanted.sql
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(crate::database::params_from_iter(wanted.values), |row| {
        // `total` gives a float: whole numbers of use are far below the 2^53 from which that would show.
        let whole = |at| row.get::<_, f64>(at).map(|number| number as u64);
        let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        Ok(Sum {
            group: row.get(0)?,
            executions: count(1)?,
            wall_seconds: row.get(2)?,
            cpu_seconds: row.get(3)?,
            fuel: whole(4)?,
            gibibyte_seconds: row.get(5)?,
            input_bytes: whole(6)?,
            output_bytes: whole(7)?,
            network_bytes: whole(8)?,
            sessions: count(9)?,
            allocated_seconds: row.get(10)?,
            idle_seconds: row.get(11)?,
        })
    })?;
    rows.collect()
}
