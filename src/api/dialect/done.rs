//! The last event of a stream: how the execution ended. The output itself has gone out before.

use std::borrow::Cow;

use serde::Serialize;

use super::flat::{self, Error};
use super::network::Network;
use super::{Changed, milliseconds};
use crate::api::error::told;
use crate::execution::{Execution, ExecutionError, ExecutionId, Outcome, Status};
use crate::sandbox::Event;
use crate::session::Identifier;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Done<'a> {
    id: &'a str,
    identifier: &'a str,
    status: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(flatten)]
    ended: Option<Ended<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    execution_time_in_milliseconds: u64,
    session_created: bool,
    session_discarded: bool,
    session_rolled_back: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_kept: Option<bool>,
    /// Bytes of output beyond the limit.
    dropped_bytes: u64,
    files: Vec<Changed<'a>>,
    #[serde(flatten)]
    network: Network<'a>,
}

/// The events that were not given out before the end.
pub(crate) fn events(execution: &Execution) -> &[Event] {
    outcome(execution).map_or(&[], |outcome| &outcome.events)
}

pub(crate) fn done<'a>(
    ended: &'a Result<Execution, ExecutionError>,
    id: &'a ExecutionId,
    identifier: &'a Identifier,
) -> Done<'a> {
    let (status, error, ended) = match ended {
        Ok(execution) => match outcome(execution) {
            Some(outcome) => (flat::ended(outcome), flat::error(outcome), Some(Ended::of(outcome))),
            None => ("Failed".into(), None, None),
        },
        Err(cause) => {
            let (code, message) = told(cause);
            ("Failed".into(), Some(Error { code, message }), None)
        }
    };
    Done { id: id.as_str(), identifier: identifier.as_str(), status, error, ended }
}

fn outcome(execution: &Execution) -> Option<&Outcome> {
    if let Status::Done(outcome) = &execution.status { Some(outcome) } else { None }
}

impl<'a> Ended<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self {
            execution_time_in_milliseconds: milliseconds(outcome),
            session_created: outcome.session_created,
            session_discarded: outcome.session_discarded,
            session_rolled_back: outcome.session_rolled_back,
            session_kept: outcome.session_kept,
            dropped_bytes: outcome.dropped_bytes,
            files: outcome.files.iter().map(Changed::of).collect(),
            network: Network::of(outcome),
        }
    }
}
