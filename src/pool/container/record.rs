//! What containers leave in the records: how a session's container ended, what it wrote, and its connections, counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::instance::{Ended, Instance};
use super::session::Session;
use crate::egress::connections::{Connection, NameEnd, Observer};
use crate::records::{self, Level, Line, PoolRecords};
use crate::sandbox::container::{Console, ConsoleLine, Stream};
use crate::session::Identifier;

/// What one container may write into the records at once, after a pause; and in a second from then on. Records are for all
/// pools: one that writes without end must not crowd out the others.
const BURST_BYTES: f64 = (1 << 20) as f64;
const BYTES_A_SECOND: f64 = (128 << 10) as f64;

/// Of a container that is gone, the last words may take so long to come.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a container writes is gathered for so long, so that few transactions carry it.
const GATHER: Duration = Duration::from_millis(20);

/// Follows the container of a session until it is gone. `recording` has those who write down what its containers write.
pub(super) fn follow(session: &Arc<Session>, instance: &Arc<Instance>, records: &PoolRecords, recording: &TaskTracker) {
    if records.keeps_console() {
        // One meter for all containers of the session.
        let meter = Arc::new(Mutex::new(Meter::new(Instant::now())));
        let write = |console: &Console, name: Option<&str>| {
            let writer = ConsoleWriter {
                identifier: session.identifier.clone(),
                console: console.clone(),
                prefix: name.map(|name| format!("[{name}] ")).unwrap_or_default(),
                meter: meter.clone(),
                records: records.clone(),
            };
            console.subscribe();
            recording.spawn(writer.run(instance.removed().clone()));
        };
        write(instance.container().console(), None);
        instance.beside().iter().for_each(|(name, other)| write(other.console(), Some(name)));
    }
    let (session, instance, records) = (session.clone(), instance.clone(), records.clone());
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = instance.left().cancelled() => return,
            () = instance.gone().cancelled() => {}
        }
        let (operation, log, why) = match instance.ended() {
            Some(Ended::Exited(exit)) => ("ContainerExited", exit.to_string(), records::Ended::Exited),
            Some(Ended::SidecarExited(log)) => ("ContainerExited", log.clone(), records::Ended::Exited),
            Some(Ended::Unhealthy(problem)) => ("LivenessProbeFailed", problem.clone(), records::Ended::Unhealthy),
            // Whoever stopped it has told why.
            Some(Ended::Stopped) | None => return session.ended(records::Ended::Stopped, &records),
        };
        records.lifecycle(session.identifier.as_str(), Level::Warning, operation, log);
        session.ended(why, &records);
    });
}

/// Writes down what one container of a session writes.
struct ConsoleWriter {
    identifier: Identifier,
    console: Console,
    /// Before each line.
    prefix: String,
    meter: Arc<Mutex<Meter>>,
    records: PoolRecords,
}

impl ConsoleWriter {
    /// Until nothing more comes. Lines count as written down once they are on disk: what is not, the next gateway is told again.
    async fn run(self, removed: CancellationToken) {
        loop {
            let more = tokio::select! {
                more = self.console.changed() => more,
                () = removed.cancelled() => {
                    tokio::time::timeout(LAST_WORDS, self.console.changed()).await.unwrap_or(false)
                }
            };
            if !more {
                return;
            }
            tokio::time::sleep(GATHER).await;
            let taken = self.console.take();
            let mut told = {
                let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.missed += taken.missed;
                meter.take(&taken.lines, Instant::now())
            };
            told.iter_mut().for_each(|line| line.text.insert_str(0, &self.prefix));
            self.records.console(self.identifier.as_str(), "", told);
            if self.records.committed().await {
                self.console.recorded(taken.position);
            }
        }
    }
}

/// Counts what goes out of a container with its pool.
pub(super) struct Counted(pub PoolRecords);

impl Observer for Counted {
    fn connection(&self, connection: &Connection) {
        self.0.connection(connection.end.as_str(), connection.sent_bytes, connection.received_bytes);
    }

    fn name(&self, end: NameEnd) {
        self.0.name_asked(end.as_str());
    }
}

/// What may still be recorded.
struct Meter {
    left: f64,
    at: Instant,
    /// Lines that did not fit since the last that did.
    missed: u64,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { left: BURST_BYTES, at: now, missed: 0 }
    }

    /// Those of `lines` that fit; where some did not, the next that do come after a line that says so.
    fn take(&mut self, lines: &[ConsoleLine], now: Instant) -> Vec<Line> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * BYTES_A_SECOND).min(BURST_BYTES);
        self.at = now;
        let mut told = Vec::new();
        for line in lines {
            // An empty line is a row too.
            let cost = (line.text.len() + 64) as f64;
            if cost > self.left {
                self.missed += 1;
                continue;
            }
            self.left -= cost;
            let stream = match line.stream {
                Stream::Stdout => records::Stream::Stdout,
                Stream::Stderr => records::Stream::Stderr,
            };
            if self.missed > 0 {
                let text = format!("[{} lines are not recorded: they came too fast]", self.missed);
                told.push(Line { at: line.at, stream, text });
                self.missed = 0;
            }
            told.push(Line { at: line.at, stream, text: line.text.clone() });
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn what_comes_too_fast_is_counted_and_told() {
        let line =
            |length| ConsoleLine { at: OffsetDateTime::UNIX_EPOCH, stream: Stream::Stdout, text: "x".repeat(length) };
        let begin = Instant::now();
        let mut meter = Meter::new(begin);
        let flood: Vec<_> = (0..200).map(|_| line(16 << 10)).collect();
        let kept = meter.take(&flood, begin).len();
        assert!((60..64).contains(&kept), "{kept} of 16 KiB are about a mebibyte");
        assert!(meter.take(&flood[..1], begin).is_empty());
        let later = meter.take(&[line(3)], begin + Duration::from_secs(1));
        let missed = flood.len() - kept + 1;
        assert_eq!(later[0].text, format!("[{missed} lines are not recorded: they came too fast]"));
        assert_eq!(later[1].text, "xxx");
    }
}
