//! The wire generations of an execution: what a request means, and how an outcome looks in each.
//!
//! | generation | request | answer |
//! |---|---|---|
//! | old, `POST /code/execute` | `{"properties":{…}}` | [`old`] |
//! | flat, `POST /executions` | `{…}` | [`flat`] |
//! | either, with `Accept: text/event-stream` | either | events as they come, then [`done`] |
//!
//! Both request shapes are taken on both paths, because the service was measured to refuse either on different dates.
//! Nothing here reads a body or writes a header.

pub(super) mod done;
pub(super) mod flat;
mod network;
pub(super) mod old;
pub(super) mod request;
mod stderr;
mod value;

use serde::Serialize;
use serde_json::value::RawValue;

use network::Network;

use crate::execution::Outcome;
use crate::files::{FileEntry, FileKind};
use crate::sandbox::{Event, Exit};

/// What both generations say beyond the service's own fields. Old clients ignore it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Additions<'a> {
    /// The identifier was new, expired or lost: nothing from before is there.
    session_created: bool,
    /// The session ended with this execution: the next call starts fresh.
    session_discarded: bool,
    /// The session is as it was before this execution, which broke it.
    session_rolled_back: bool,
    /// In durable pools: whether it is on disk as this execution left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_kept: Option<bool>,
    /// Everything shown beside the text streams, in order.
    outputs: Vec<&'a Event>,
    /// Files below `/mnt/data` that were made or changed.
    files: Vec<Changed<'a>>,
    #[serde(flatten)]
    network: Network<'a>,
}

/// A file that an execution made or changed; `name` is what the file routes take.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    size_in_bytes: u64,
}

impl<'a> Additions<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self {
            session_created: outcome.session_created,
            session_discarded: outcome.session_discarded,
            session_rolled_back: outcome.session_rolled_back,
            session_kept: outcome.session_kept,
            outputs: outcome.events.iter().filter(|event| is_rich(event)).collect(),
            files: outcome.files.iter().map(Changed::of).collect(),
            network: Network::of(outcome),
        }
    }
}

impl<'a> Changed<'a> {
    fn of(entry: &'a FileEntry) -> Self {
        Self { name: &entry.path, kind: kind(entry.kind), size_in_bytes: entry.size_bytes }
    }
}

/// The word for a kind of file. A link is followed by reads, so to a client it is a file.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File | FileKind::Link => "file",
        FileKind::Directory => "directory",
    }
}

fn is_rich(event: &Event) -> bool {
    match event {
        Event::Display(_) | Event::UpdateDisplay(_) | Event::ClearOutput { .. } | Event::Result(_) => true,
        Event::Stdout { .. } | Event::Stderr { .. } | Event::Error(_) => false,
    }
}

fn milliseconds(outcome: &Outcome) -> u64 {
    u64::try_from(outcome.usage.wall.as_millis()).unwrap_or(u64::MAX)
}

/// The code of an execution's `error`, by how it ended.
fn exit_code(exit: Exit) -> &'static str {
    match exit {
        Exit::Finished => "ExecutionFinished",
        Exit::Raised => "ExecutionRaised",
        Exit::TimedOut => "ExecutionTimedOut",
        Exit::OutOfCpu => "ExecutionOutOfCpuTime",
        Exit::OutOfFuel => "ExecutionOutOfFuel",
        Exit::OutOfMemory => "ExecutionOutOfMemory",
        Exit::Stopped => "ExecutionStopped",
        Exit::Trapped => "ExecutionTrapped",
    }
}

/// A result on the wire: text already written as JSON.
type Json = Box<RawValue>;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::egress::Calls;
    use crate::sandbox::{Display, GuestError, Usage};

    pub(crate) fn outcome(exit: Exit, events: Vec<Event>) -> Outcome {
        let usage = Usage { wall: std::time::Duration::from_micros(8400), ..Usage::default() };
        Outcome {
            exit,
            usage,
            events,
            dropped_bytes: 0,
            session_created: true,
            session_discarded: false,
            session_rolled_back: false,
            session_kept: None,
            files: vec![],
            network: Calls::default(),
            process: None,
        }
    }

    pub(crate) fn bundle(mime: &str, value: &str) -> Display {
        Display { data: [(mime.to_owned(), value.into())].into_iter().collect(), ..Display::default() }
    }

    pub(crate) fn out(text: &str) -> Event {
        Event::Stdout { text: text.into() }
    }

    pub(crate) fn raised() -> Event {
        let traceback = vec!["Traceback (most recent call last):".into(), "ZeroDivisionError: division by zero".into()];
        Event::Error(GuestError { name: "ZeroDivisionError".into(), value: "division by zero".into(), traceback })
    }
}
