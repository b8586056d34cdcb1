//! The thread that writes: what came within a moment goes into one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::event::{At, Audit, Consumed, Level, Line, Record, Stream};
use super::retention::Retention;
use crate::database::{Connection, SqlError, Transaction, params};

/// What comes within so long is committed together. While the thread sleeps nobody has to wake it.
pub(super) const GATHER: Duration = Duration::from_millis(50);
/// Records of one transaction at most.
const BATCH: usize = 4096;
/// Characters of a line of the console; longer ones are cut in pieces.
const LINE_CHARS: usize = 4096;

pub(super) enum Message {
    Record(Record),
    /// Answered once all that came before is committed.
    Settle(oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub connection: Connection,
    pub received: Receiver<Message>,
    pub waiting_bytes: Arc<AtomicU64>,
    pub lost: Arc<AtomicU64>,
    pub retention: Retention,
}

impl Writer {
    /// Until the last handle is gone.
    pub(super) fn run(mut self) {
        let mut told = 0;
        while let Ok(first) = self.received.recv() {
            if matches!(first, Message::Record(_)) {
                thread::park_timeout(GATHER);
            }
            let (records, settles) = self.gather(first);
            if let Err(error) = self.write(&records, &mut told) {
                tracing::error!(%error, records = records.len(), "records could not be written");
                self.lost.fetch_add(records.len() as u64, Ordering::Relaxed);
            }
            for settle in settles {
                // Whoever waited may have gone.
                let _ = settle.send(());
            }
            if let Err(error) = self.retention.apply(&mut self.connection, Instant::now()) {
                tracing::error!(%error, "old records could not be deleted");
            }
        }
    }

    fn gather(&self, first: Message) -> (Vec<Record>, Vec<oneshot::Sender<()>>) {
        let (mut records, mut settles, mut next) = (Vec::new(), Vec::new(), Some(first));
        while let Some(message) = next {
            match message {
                Message::Record(record) => {
                    self.waiting_bytes.fetch_sub(record.text_bytes(), Ordering::Relaxed);
                    records.push(record);
                }
                Message::Settle(settle) => settles.push(settle),
            }
            if records.len() >= BATCH {
                break;
            }
            next = self.received.try_recv().ok();
        }
        (records, settles)
    }

    /// `told` is how many lost records were told of so far.
    fn write(&mut self, records: &[Record], told: &mut u64) -> Result<(), SqlError> {
        let transaction = self.connection.transaction()?;
        for record in records {
            insert(&transaction, record)?;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > *told {
            tracing::warn!(lost = lost - *told, "records came faster than they can be written, and were dropped");
            let log = format!("{} records were dropped: they came faster than they can be written", lost - *told);
            let at = At { at: OffsetDateTime::now_utc(), pool: "".into() };
            pool_event(&transaction, &at, Level::Error, "RecordsLost", &log)?;
        }
        transaction.commit()?;
        *told = lost.max(*told);
        Ok(())
    }
}

fn insert(to: &Transaction<'_>, record: &Record) -> Result<(), SqlError> {
    match record {
        Record::Console { at, session, execution, lines } => {
            let sql = "INSERT INTO console (at, pool, session, execution, stream, log) VALUES (?, ?, ?, ?, ?, ?)";
            let (mut insert, session) = (to.prepare_cached(sql)?, session.to_string());
            for Line { at: written, stream, text } in lines {
                let stream = if *stream == Stream::Stdout { "stdout" } else { "stderr" };
                for line in pieces(text) {
                    insert.execute(params![micros(*written), &*at.pool, session, execution, stream, line])?;
                }
            }
        }
        Record::Lifecycle { at, session, level, operation, log } => {
            let sql = "INSERT INTO lifecycle (at, pool, session, level, operation, log) VALUES (?, ?, ?, ?, ?, ?)";
            let values = params![micros(at.at), &*at.pool, session.to_string(), level.as_str(), operation, log];
            to.prepare_cached(sql)?.execute(values)?;
        }
        Record::Pool { at, level, operation, log } => pool_event(to, at, *level, operation, log)?,
        Record::Audit(audit) => insert_audit(to, audit)?,
        Record::Execution { at, tags, session, used } => insert_execution(to, at, tags, &session.to_string(), used)?,
        Record::Session { at, tags, session, allocated, idle, network_bytes } => {
            let sql = "INSERT INTO usage (at, pool, tags, session, operation, allocated, idle, network_bytes)
                VALUES (?, ?, ?, ?, 'Session', ?, ?, ?)";
            let (allocated, idle, network) = (length(*allocated), length(*idle), network_bytes.map(count));
            let values = params![micros(at.at), &*at.pool, &**tags, session.to_string(), allocated, idle, network];
            to.prepare_cached(sql)?.execute(values)?;
        }
        Record::HandedOn { table, last } => {
            let sql = "INSERT OR REPLACE INTO handed_on (records, last) VALUES (?, ?)";
            to.prepare_cached(sql)?.execute(params![table.name(), last])?;
        }
    }
    Ok(())
}

fn pool_event(to: &Transaction<'_>, at: &At, level: Level, operation: &str, log: &str) -> Result<(), SqlError> {
    let sql = "INSERT INTO pools (at, pool, level, operation, log) VALUES (?, ?, ?, ?, ?)";
    to.prepare_cached(sql)?.execute(params![micros(at.at), &*at.pool, level.as_str(), operation, log])?;
    Ok(())
}

fn insert_audit(to: &Transaction<'_>, audit: &Audit) -> Result<(), SqlError> {
    let sql = "INSERT INTO audit (at, caller, operation, pool, session, origin, status, code, elapsed)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    to.prepare_cached(sql)?.execute(params![
        micros(audit.at),
        &*audit.caller,
        audit.operation,
        audit.pool.as_deref(),
        audit.session.map(|session| session.to_string()),
        audit.origin.map(|origin| origin.to_string()),
        audit.status,
        audit.code,
        length(audit.elapsed),
    ])?;
    Ok(())
}

fn insert_execution(to: &Transaction<'_>, at: &At, tags: &str, session: &str, used: &Consumed) -> Result<(), SqlError> {
    let sql =
        "INSERT INTO usage (at, pool, tags, caller, session, operation, execution, outcome, queued, wall, cpu, fuel,
                   memory_byte_seconds, input_bytes, output_bytes, network_bytes)
               VALUES (?, ?, ?, ?, ?, 'Execution', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let memory = u128::from(used.memory_bytes) * used.wall.as_micros() / 1_000_000;
    to.prepare_cached(sql)?.execute(params![
        micros(at.at),
        &*at.pool,
        tags,
        used.caller.as_deref(),
        session,
        used.execution,
        used.outcome,
        length(used.queued),
        length(used.wall),
        length(used.cpu),
        used.fuel.map(count),
        i64::try_from(memory).unwrap_or(i64::MAX),
        count(used.input_bytes),
        count(used.output_bytes),
        count(used.network_bytes),
    ])?;
    Ok(())
}

/// The lines of a text; one that is too long in several pieces.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let line = rest?;
            let Some((at, _)) = line.char_indices().nth(LINE_CHARS) else { return rest.take() };
            let (piece, more) = line.split_at(at);
            rest = Some(more);
            Some(piece)
        })
    })
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).expect("a date of this era")
}

/// Microseconds.
fn length(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_lines_and_long_ones_pieces() {
        assert_eq!(pieces("a\n\nb").collect::<Vec<_>>(), ["a", "", "b"]);
        assert_eq!(pieces("").count(), 0);
        let long = "é".repeat(LINE_CHARS * 2 + 1);
        let cut: Vec<_> = pieces(&long).collect();
        assert_eq!(cut.iter().map(|piece| piece.chars().count()).collect::<Vec<_>>(), [LINE_CHARS, LINE_CHARS, 1]);
        assert_eq!(cut.concat(), long);
    }
}
