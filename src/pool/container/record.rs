//! What containers leave in the records: how a session's container ended, what it wrote, and its connections, counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::instance::{Ended, Instance};
use super::session::Session;
use crate::egress::connections::{Connection, NameEnd, Observer};
use crate::records::{self, Level, Line, PoolRecords};
use crate::sandbox::container::{Console, ConsoleLine, Stream};

/// What one container may write into the records at once, after a pause; and in a second from then on. Records are for all
/// pools: one that writes without end must not crowd out the others.
const BURST_BYTES: f64 = (1 << 20) as f64;
const BYTES_A_SECOND: f64 = (128 << 10) as f64;

/// Follows the container of a session until it is gone.
pub(super) fn follow(session: &Arc<Session>, instance: &Arc<Instance>, records: &PoolRecords) {
    if records.keeps_console() {
        // One meter for all containers of the session.
        let meter = Arc::new(Mutex::new(Meter::new(Instant::now())));
        let tell = |console: &Console, name: Option<&str>| {
            let (identifier, records, meter) = (session.identifier.clone(), records.clone(), meter.clone());
            let name = name.map(|name| format!("[{name}] ")).unwrap_or_default();
            console.tell(Box::new(move |lines| {
                let mut told = meter.lock().unwrap_or_else(PoisonError::into_inner).take(lines, Instant::now());
                told.iter_mut().for_each(|line| line.text.insert_str(0, &name));
                records.console(identifier.as_str(), "", told);
            }));
        };
        tell(instance.container().console(), None);
        instance.beside().iter().for_each(|(name, other)| tell(other.console(), Some(name)));
    }
    let (session, instance, records) = (session.clone(), instance.clone(), records.clone());
    tokio::spawn(async move {
        instance.gone().cancelled().await;
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
    use std::time::Duration;
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
