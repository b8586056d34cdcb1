//! `sandpool logs`, `sandpool audit` and `sandpool usage`: the records of a gateway, as tables for people, JSON lines for scripts,
//! or OTLP for a collector.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Done;
use super::client::{self, GatewayAddress};
use super::table::{self, cell, harmless};
use crate::otlp;

/// Which records, and where from.
#[derive(Debug, Args)]
struct Wanted {
    #[command(flatten)]
    gateway: GatewayAddress,
    /// Only of this pool.
    #[arg(long)]
    pool: Option<String>,
    /// Only of the session with this identifier.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only of the session that records show so.
    #[arg(long, value_name = "HEX")]
    pseudonym: Option<String>,
    /// From then on: a time such as 2026-01-31T12:00:00Z, or so long ago (90s, 15m, 2h, 7d).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: RecordFormat,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum RecordFormat {
    /// For people.
    #[default]
    Table,
    /// For scripts: a JSON object a line.
    Json,
    /// For collectors: log records in OTLP's JSON, some a line; of `usage` each execution and session instead of sums.
    Otlp,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Which log.
    #[arg(value_enum, default_value_t)]
    log: Log,
    #[command(flatten)]
    wanted: Wanted,
    /// Only of this execution (console).
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// The last so many lines.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
    /// Go on and show what comes.
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Log {
    /// What sessions wrote.
    #[default]
    Console,
    /// Sessions made, rolled back and ended.
    Lifecycle,
    /// What happened to pools as a whole.
    Pools,
}

#[derive(Debug, Args)]
pub struct Audit {
    #[command(flatten)]
    wanted: Wanted,
    /// Only of this caller.
    #[arg(long)]
    caller: Option<String>,
    /// Only this operation, such as Execute or StopSession.
    #[arg(long)]
    operation: Option<String>,
    /// The last so many calls.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
}

#[derive(Debug, Args)]
pub struct Usage {
    #[command(flatten)]
    wanted: Wanted,
    /// Sum up by pool, caller, day, or a tag of the pools (tag:NAME).
    #[arg(long, default_value = "pool")]
    by: String,
    /// Only of this caller.
    #[arg(long)]
    caller: Option<String>,
}

type Row = Map<String, Value>;
type Query = [(&'static str, Option<String>)];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    value: Vec<Row>,
    /// Sums have none.
    #[serde(default)]
    next_link: Option<String>,
}

impl Logs {
    pub fn run(self) -> Done {
        let name = match self.log {
            Log::Console => "console",
            Log::Lifecycle => "lifecycle",
            Log::Pools => "pools",
        };
        let lines = self.lines.to_string();
        let mut query = self.wanted.query();
        query.push(("execution", self.execution.clone()));
        query.push(("top", Some(lines)));
        let mut rows = self.wanted.list(name, &query)?;
        rows.reverse();
        self.show(&rows)?;
        if self.follow { self.follow(name, rows) } else { Ok(ExitCode::SUCCESS) }
    }

    /// Shows what comes after `rows`, until somebody ends the command.
    fn follow(&self, name: &str, rows: Vec<Row>) -> Done {
        let moment = |rows: &[Row]| rows.last().and_then(|row| row["TimeGenerated"].as_str()).map(next_moment);
        let mut since = moment(&rows).or(self.wanted.since.clone());
        loop {
            sleep(Duration::from_secs(1));
            let mut query: Vec<_> = self.wanted.query().into_iter().filter(|(name, _)| *name != "since").collect();
            query.extend([("execution", self.execution.clone()), ("top", Some("1000".into()))]);
            query.extend([("since", since.clone()), ("order", Some("oldest".into()))]);
            // Lines that were written together have one time: all pages are taken before the time moves on.
            let mut page = self.wanted.page(name, &told(&query))?;
            loop {
                self.show(&page.value)?;
                since = moment(&page.value).or(since);
                let Some(next) = page.next_link else { break };
                page = self.wanted.page(name, next.trim_start_matches('?'))?;
            }
        }
    }

    /// Without a head: lines of a log are read one after the other.
    fn show(&self, rows: &[Row]) -> Done {
        if self.wanted.output != RecordFormat::Table {
            return self.wanted.print(rows);
        }
        for row in rows {
            let [time, pool, session] = ["TimeGenerated", "SessionPoolName", "PodName"].map(|name| cell(&row[name]));
            let what = if matches!(self.log, Log::Console) { &row["Stream"] } else { &row["OperationName"] };
            println!("{time}  {pool}  {session}  {:18}  {}", cell(what), cell(&row["Log"]));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Audit {
    pub fn run(self) -> Done {
        let mut query = self.wanted.query();
        query.extend([("caller", self.caller.clone()), ("operation", self.operation.clone())]);
        query.push(("top", Some(self.lines.to_string())));
        let mut rows = self.wanted.list("audit", &query)?;
        rows.reverse();
        if self.wanted.output != RecordFormat::Table {
            return self.wanted.print(&rows);
        }
        let columns = [
            ("TIME", "TimeGenerated"),
            ("CALLER", "Caller"),
            ("FROM", "CallerIpAddress"),
            ("OPERATION", "OperationName"),
            ("POOL", "SessionPoolName"),
            ("SESSION", "PodName"),
            ("STATUS", "StatusCode"),
            ("MS", "DurationMs"),
            ("CODE", "ErrorCode"),
        ];
        let cells = |row: &Row| columns.iter().map(|(_, name)| cell(&row[*name])).collect();
        table::print(&columns.map(|(head, _)| head), &rows.iter().map(cells).collect::<Vec<_>>());
        Ok(ExitCode::SUCCESS)
    }
}

impl Usage {
    pub fn run(self) -> Done {
        let mut query = self.wanted.query();
        query.push(("caller", self.caller.clone()));
        if self.wanted.output == RecordFormat::Otlp {
            query.extend([("top", Some("1000".into())), ("order", Some("oldest".into()))]);
            return self.wanted.print_all("usage", &query);
        }
        query.push(("by", Some(self.by.clone())));
        let rows = self.wanted.list("usage/sums", &query)?;
        if self.wanted.output == RecordFormat::Json {
            return self.wanted.print(&rows);
        }
        let columns = [
            ("executions", "EXECUTIONS"),
            ("wallSeconds", "WALL S"),
            ("cpuSeconds", "CPU S"),
            ("gibibyteSeconds", "GIB S"),
            ("fuel", "FUEL"),
            ("inputBytes", "IN BYTES"),
            ("outputBytes", "OUT BYTES"),
            ("networkBytes", "NET BYTES"),
            ("sessions", "SESSIONS"),
            ("allocatedSeconds", "HELD S"),
            ("idleSeconds", "IDLE S"),
        ];
        let group = self.by.to_uppercase();
        let head: Vec<&str> = [group.as_str()].into_iter().chain(columns.map(|(_, head)| head)).collect();
        let cells = |row: &Row| {
            [cell(&row["group"])].into_iter().chain(columns.map(|(name, _)| cell(&row[name]))).collect::<Vec<_>>()
        };
        table::print(&head, &rows.iter().map(cells).collect::<Vec<_>>());
        Ok(ExitCode::SUCCESS)
    }
}

impl Wanted {
    fn query(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("pool", self.pool.clone()),
            ("identifier", self.session.clone()),
            ("session", self.pseudonym.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ]
    }

    fn list(&self, name: &str, query: &Query) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
        Ok(self.page(name, &told(query))?.value)
    }

    /// Shows all pages, one after the other.
    fn print_all(&self, name: &str, query: &Query) -> Done {
        let mut page = self.page(name, &told(query))?;
        loop {
            self.print(&page.value)?;
            let Some(next) = page.next_link else { return Ok(ExitCode::SUCCESS) };
            page = self.page(name, next.trim_start_matches('?'))?;
        }
    }

    /// Shows rows for machines.
    fn print(&self, rows: &[Row]) -> Done {
        if self.output != RecordFormat::Otlp {
            for row in rows {
                println!("{}", serde_json::to_string(row)?);
            }
        } else if !rows.is_empty() {
            println!("{}", otlp::json_line(rows.iter()));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn page(&self, name: &str, query: &str) -> Result<List, Box<dyn std::error::Error>> {
        client::get(&self.gateway.url(&format!("records/{name}?{query}")))
    }
}

/// Those that have a value, as a URL has them.
fn told(query: &Query) -> String {
    let told = query.iter().filter_map(|(name, value)| Some(format!("{name}={}", client::encode(value.as_ref()?))));
    told.collect::<Vec<_>>().join("&")
}

/// A moment as the API takes it.
fn moment(text: &str) -> Result<String, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return OffsetDateTime::parse(text, &Rfc3339).map(|_| text.to_owned()).map_err(|error| error.to_string()),
    };
    let ago = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds)).filter(|ago| *ago < 1 << 31);
    let ago = time::Duration::seconds(ago.ok_or("it is no length of time")?);
    (OffsetDateTime::now_utc() - ago).format(&Rfc3339).map_err(|error| error.to_string())
}

/// A microsecond later: records have no finer times.
fn next_moment(text: &str) -> String {
    let later = OffsetDateTime::parse(text, &Rfc3339).map(|at| at + time::Duration::microseconds(1));
    later.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| harmless(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_so_long_ago() {
        assert_eq!(moment("2026-01-31T12:00:00Z").unwrap(), "2026-01-31T12:00:00Z");
        let hour_ago = OffsetDateTime::parse(&moment("1h").unwrap(), &Rfc3339).unwrap();
        assert!((OffsetDateTime::now_utc() - hour_ago).whole_seconds().abs_diff(3600) < 60);
        for wrong in ["", "h", "1w", "99999999999999999999s", "yesterday", "-1h"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
        assert_eq!(next_moment("2026-01-31T12:00:00.000001Z"), "2026-01-31T12:00:00.000002Z");
    }
}
