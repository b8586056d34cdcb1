//! Reading records: filters and pages. Rows come as JSON, with the columns of the hosted service's log tables where it has such a
//! table; a session is in `PodName`, as a pseudonym.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Pseudonym, Records, RecordsError};
use crate::database::{Connection, SqlError};

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    Console,
    Lifecycle,
    Pools,
    Audit,
    Usage,
}

/// Which rows are wanted: those that fit all that is told. `caller`, `operation` and the like are compared whole.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub pool: Option<String>,
    pub session: Option<Pseudonym>,
    pub execution: Option<String>,
    pub caller: Option<String>,
    pub operation: Option<String>,
    /// Microseconds since 1970; this moment included.
    pub since: Option<i64>,
    /// Microseconds since 1970; this moment not included.
    pub until: Option<i64>,
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Newest,
    Oldest,
}

/// Some rows.
#[derive(Debug)]
pub struct Page {
    /// Each a JSON object.
    pub rows: Vec<Box<RawValue>>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<i64>,
}

/// Rows on a page at most.
pub const PAGE: usize = 1000;

impl Records {
    /// `most` rows (and [`PAGE`] at most) after `cursor`, which the page before gave. What was recorded before is there.
    ///
    /// # Errors
    /// When nothing is kept, or the database fails.
    pub async fn page(
        &self,
        table: Table,
        filter: Filter,
        order: Order,
        cursor: Option<i64>,
        most: usize,
    ) -> Result<Page, RecordsError> {
        let most = most.clamp(1, PAGE);
        self.read(move |connection| page(connection, table, &filter, order, cursor, most)).await
    }
}

fn page(
    connection: &Connection,
    table: Table,
    filter: &Filter,
    order: Order,
    cursor: Option<i64>,
    most: usize,
) -> Result<Page, SqlError> {
    let (after, direction) = match order {
        Order::Newest => ("<", "DESC"),
        Order::Oldest => (">", "ASC"),
    };
    let mut wanted = Conditions::of(filter, table);
    wanted.add(&format!("id {after} ?"), cursor);
    let sql = format!(
        "SELECT id, json_object({}) FROM {}{} ORDER BY id {direction} LIMIT {}",
        table.columns(),
        table.name(),
        wanted.sql,
        most + 1
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(crate::database::params_from_iter(wanted.values), |row| {
        let json: String = row.get(1)?;
        Ok((row.get::<_, i64>(0)?, RawValue::from_string(json).expect("json_object makes JSON")))
    })?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| more).map(|(id, _)| *id);
    Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
}

/// A `WHERE` that grows.
pub(super) struct Conditions {
    pub sql: String,
    pub values: Vec<Value>,
}

type Value = Box<dyn crate::database::ToSql>;

impl Conditions {
    pub(super) fn of(filter: &Filter, table: Table) -> Self {
        let mut all = Self { sql: String::new(), values: Vec::new() };
        // First, so that the index on it is used.
        all.add("at >= ?", filter.since);
        all.add("at < ?", filter.until);
        all.add("pool = ?", filter.pool.clone());
        let by_session = table != Table::Pools;
        all.add(if by_session { "session = ?" } else { "0 = length(?)" }, filter.session.map(|s| s.to_string()));
        let by_execution = matches!(table, Table::Console | Table::Usage);
        all.add(if by_execution { "execution = ?" } else { "0 = length(?)" }, filter.execution.clone());
        let by_caller = matches!(table, Table::Audit | Table::Usage);
        all.add(if by_caller { "caller = ?" } else { "0 = length(?)" }, filter.caller.clone());
        let operation = if table == Table::Console { "'ConsoleLog' = ?" } else { "operation = ?" };
        all.add(operation, filter.operation.clone());
        all
    }

    fn add(&mut self, condition: &str, value: Option<impl crate::database::ToSql + 'static>) {
        let Some(value) = value else { return };
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
        self.values.push(Box::new(value));
    }
}

impl Table {
    pub const ALL: [Self; 5] = [Self::Console, Self::Lifecycle, Self::Pools, Self::Audit, Self::Usage];

    /// Its name in paths and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Lifecycle => "lifecycle",
            Self::Pools => "pools",
            Self::Audit => "audit",
            Self::Usage => "usage",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Names and values of a row's JSON. The first fifteen columns of a log are the service's; what has no meaning here is null.
    pub(super) fn columns(self) -> String {
        let time = "'TimeGenerated', strftime('%Y-%m-%dT%H:%M:', at / 1000000, 'unixepoch') || printf('%02d.%06dZ', at / 1000000 % 60, at % 1000000)";
        let log = |kind: &str, session: &str, level: &str, operation: &str| {
            format!(
                "{time}, 'SessionPoolName', pool, 'PodName', {session}, 'NodeName', NULL, 'Location', NULL, 'Level', {level},
                 'Log', log, 'OperationName', {operation}, 'TenantId', NULL, 'SourceSystem', 'Sandpool', 'Type', '{kind}',
                 '_ResourceId', '/pools/' || pool, '_SubscriptionId', NULL, '_BilledSize', length(log), '_IsBillable', 'False'"
            )
        };
        match self {
            Self::Console => {
                let level = "CASE stream WHEN 'stderr' THEN 'Error' ELSE 'Informational' END";
                let log = log("AppEnvSessionConsoleLogs", "session", level, "'ConsoleLog'");
                format!("{log}, 'Stream', stream, 'ExecutionId', execution")
            }
            Self::Lifecycle => log("AppEnvSessionLifecycleLogs", "session", "level", "operation"),
            Self::Pools => log("AppEnvSessionPoolEventLogs", "NULL", "level", "operation"),
            Self::Audit => format!(
                "{time}, 'Caller', caller, 'OperationName', operation, 'SessionPoolName', pool, 'PodName', session,
                 'CallerIpAddress', origin, 'StatusCode', status, 'ErrorCode', code, 'DurationMs', elapsed / 1000.0,
                 'Type', 'SandpoolAuditLogs'"
            ),
            Self::Usage => format!(
                "{time}, 'OperationName', operation, 'SessionPoolName', pool, 'Tags', json(tags), 'Caller', caller, 'PodName', session,
                 'ExecutionId', execution, 'Outcome', outcome, 'QueuedSeconds', queued / 1e6, 'WallSeconds', wall / 1e6,
                 'CpuSeconds', cpu / 1e6, 'Fuel', fuel, 'MemoryByteSeconds', memory_byte_seconds, 'InputBytes', input_bytes,
                 'OutputBytes', output_bytes, 'NetworkBytes', network_bytes, 'AllocatedSeconds', allocated / 1e6,
                 'IdleSeconds', idle / 1e6, 'Type', 'SandpoolUsage'"
            ),
        }
    }
}
