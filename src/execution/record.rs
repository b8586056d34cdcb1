//! What an execution leaves in the records.

use std::time::{Duration, Instant};

use tracing::Span;

use super::Outcome;
use super::run::Admitted;
use crate::records::{Consumed, Line, PoolRecords, Stream};
use crate::sandbox::{Exit, Output, output};
use crate::session::Identifier;

/// An execution, from its admission to its end, as the records see it.
pub(super) struct Story<'a> {
    records: &'a PoolRecords,
    identifier: Identifier,
    admitted_at: Instant,
    /// What it used, as far as it is known.
    used: Consumed,
}

impl<'a> Story<'a> {
    pub(super) fn of(records: &'a PoolRecords, admitted: &Admitted) -> Self {
        let used = Consumed {
            execution: admitted.id.as_str().to_owned(),
            caller: admitted.caller.clone(),
            outcome: "",
            queued: Duration::ZERO,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            fuel: None,
            memory_bytes: 0,
            input_bytes: admitted.code.len() as u64,
            output_bytes: 0,
            network_bytes: 0,
        };
        let identifier = admitted.identifier.clone();
        Self { records, identifier, admitted_at: admitted.admitted_at, used }
    }

    /// Its turn has come.
    pub(super) fn waited(&mut self) {
        self.used.queued = self.admitted_at.elapsed();
    }

    /// It has its session and the sandbox of it.
    pub(super) fn allocated(&mut self, new: bool) {
        self.waited();
        self.records.allocated(new, self.used.queued);
    }

    /// It ran.
    pub(super) fn ended(self, outcome: &Outcome, output: &Output) {
        let (identifier, usage, network) = (self.identifier.as_str(), &outcome.usage, &outcome.network);
        let lines: Vec<Line> = output.take_transcript().into_iter().map(line).collect();
        self.records.console(identifier, &self.used.execution, lines);
        let word = word(outcome.exit);
        Span::current().record("outcome", word).record("cpu_seconds", usage.cpu.as_secs_f64());
        let used = Consumed {
            outcome: word,
            wall: usage.wall,
            cpu: usage.cpu,
            fuel: usage.fuel,
            memory_bytes: usage.memory_bytes,
            output_bytes: usage.output_bytes,
            network_bytes: network.listed.iter().map(|call| call.sent_bytes + call.received_bytes).sum(),
            ..self.used
        };
        self.records.used(identifier, used);
    }
}

fn line(written: crate::sandbox::Written) -> Line {
    let stream = match written.stream {
        output::Stream::Stdout => Stream::Stdout,
        output::Stream::Stderr => Stream::Stderr,
    };
    Line { at: written.at, stream, text: written.text }
}

/// The end in the words of metrics and records.
fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::Finished => "finished",
        Exit::Raised => "raised",
        Exit::TimedOut => "timed-out",
        Exit::OutOfCpu => "out-of-cpu",
        Exit::OutOfFuel => "out-of-fuel",
        Exit::OutOfMemory => "out-of-memory",
        Exit::Stopped => "stopped",
        Exit::Trapped => "trapped",
    }
}
