//! The answer of `POST /executions` and `GET /executions/{id}`, as in 2024-10-02-preview and later.

use std::borrow::Cow;

use serde::Serialize;

use super::value::ResultValue;
use super::{Additions, Json, exit_code, milliseconds, stderr};
use crate::api::error::told;
use crate::execution::{Execution, Outcome, Status};
use crate::sandbox::{Event, Exit};

/// How the caller asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum ExecutionType {
    Synchronous,
    Asynchronous,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer<'a> {
    id: &'a str,
    identifier: &'a str,
    session_id: &'a str,
    execution_type: ExecutionType,
    status: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Streams>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_result: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(flatten)]
    additions: Option<Additions<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Streams {
    stdout: String,
    stderr: String,
    execution_result: Json,
    execution_time_in_milliseconds: u64,
}

/// The kernel's own words, in the field names of the service's samples.
#[derive(Serialize)]
struct Raw<'a> {
    hresult: i32,
    result: &'a str,
    error_name: &'a str,
    error_message: &'a str,
    error_stack_trace: String,
    stdout: String,
    stderr: String,
    #[serde(rename = "diagnosticInfo")]
    diagnostics: Diagnostics<'a>,
    #[serde(rename = "operationId")]
    operation_id: &'a str,
}

#[derive(Serialize)]
struct Diagnostics<'a> {
    #[serde(rename = "executionRequestTimeInMilliSeconds")]
    request: u64,
    #[serde(rename = "executionProcessResponseTimeInMilliSeconds")]
    response: u64,
    #[serde(rename = "executionDuration")]
    duration: u64,
    identifier: &'a str,
}

#[derive(Serialize)]
pub(super) struct Error<'a> {
    pub(super) code: &'a str,
    pub(super) message: String,
}

/// The execution as it stands: with the output so far while it runs.
pub(crate) fn answer(execution: &Execution, kind: ExecutionType) -> Answer<'_> {
    let standing = |status: &'static str| Answer {
        id: execution.id.as_str(),
        identifier: execution.identifier.as_str(),
        session_id: execution.identifier.as_str(),
        execution_type: kind,
        status: status.into(),
        result: None,
        raw_result: None,
        error: None,
        additions: None,
    };
    match &execution.status {
        Status::NotStarted => standing("NotStarted"),
        Status::Running => Answer { result: Some(so_far(execution)), ..standing("Running") },
        Status::Done(outcome) => Answer {
            result: Some(Streams::of(outcome)),
            raw_result: Some(raw(execution, outcome)),
            error: error(outcome),
            additions: Some(Additions::of(outcome)),
            status: ended(outcome),
            ..standing("")
        },
        Status::Lost(cause) => {
            let (code, message) = told(cause);
            Answer { error: Some(Error { code, message }), ..standing("Failed") }
        }
    }
}

/// The word for how it ended; where clients expect it, the exit code.
pub(super) fn ended(outcome: &Outcome) -> Cow<'static, str> {
    match outcome.process {
        Some(process) if process.is_status => process.code.to_string().into(),
        _ => status(outcome.exit).into(),
    }
}

fn status(exit: Exit) -> &'static str {
    match exit {
        Exit::Finished => "Succeeded",
        Exit::Stopped => "Canceled",
        Exit::Raised | Exit::TimedOut | Exit::OutOfCpu | Exit::OutOfFuel | Exit::OutOfMemory | Exit::Trapped => {
            "Failed"
        }
    }
}

impl Streams {
    fn of(outcome: &Outcome) -> Self {
        Self {
            stdout: outcome.stdout(),
            stderr: stderr::stderr(outcome),
            execution_result: ResultValue::of(outcome).to_json("null"),
            execution_time_in_milliseconds: milliseconds(outcome),
        }
    }
}

fn so_far(execution: &Execution) -> Streams {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for event in execution.output.so_far().0 {
        match event {
            Event::Stdout { text } => stdout.push_str(&text),
            Event::Stderr { text } => stderr.push_str(&text),
            _ => {}
        }
    }
    let age = time::OffsetDateTime::now_utc() - execution.created_at;
    let execution_time_in_milliseconds = u64::try_from(age.whole_milliseconds()).unwrap_or(0);
    let execution_result = ResultValue::Nothing.to_json("null");
    Streams { stdout, stderr, execution_result, execution_time_in_milliseconds }
}

fn raw<'a>(execution: &'a Execution, outcome: &'a Outcome) -> Raw<'a> {
    let error = outcome.error();
    Raw {
        hresult: i32::from(!outcome.succeeded()),
        result: ResultValue::plain(outcome),
        error_name: error.map_or("", |e| &e.name),
        error_message: error.map_or("", |e| &e.value),
        error_stack_trace: error.map_or(String::new(), |e| e.traceback.join("\n")),
        stdout: outcome.stdout(),
        stderr: outcome.stderr(),
        diagnostics: Diagnostics {
            request: milliseconds(outcome),
            response: 0,
            duration: milliseconds(outcome),
            identifier: execution.identifier.as_str(),
        },
        operation_id: execution.id.as_str(),
    }
}

pub(super) fn error(outcome: &Outcome) -> Option<Error<'_>> {
    if outcome.succeeded() {
        return None;
    }
    let message = match (stderr::ending(outcome.exit), outcome.error()) {
        ([], Some(raised)) => format!("{}: {}", raised.name, raised.value),
        ([], None) => match outcome.process {
            Some(process) => format!("the process ended with exit code {}", process.code),
            None => "the code raised".to_owned(),
        },
        (lines, _) => lines.join(". "),
    };
    Some(Error { code: exit_code(outcome.exit), message })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bundle, out, outcome, raised};
    use super::*;
    use crate::execution::{ExecutionError, ExecutionId};
    use crate::sandbox::Output;
    use crate::sandbox::output::Stream;
    use crate::session::Identifier;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn execution(status: Status) -> Execution {
        Execution {
            id: ExecutionId::new("op-1").unwrap(),
            identifier: Identifier::new("user 1").unwrap(),
            status,
            created_at: time::OffsetDateTime::now_utc(),
            output: Arc::new(Output::new(100)),
        }
    }

    fn wire(exit: Exit, events: Vec<Event>) -> Value {
        let execution = execution(Status::Done(Arc::new(outcome(exit, events))));
        serde_json::to_value(answer(&execution, ExecutionType::Synchronous)).unwrap()
    }

    #[test]
    fn a_finished_execution_has_the_fields_of_the_specification() {
        let answer = wire(Exit::Finished, vec![out("hi\n"), Event::Result(bundle("text/plain", "2"))]);
        assert_eq!(answer["id"], "op-1");
        assert_eq!(answer["identifier"], "user 1");
        assert_eq!(answer["sessionId"], "user 1");
        assert_eq!(answer["executionType"], "Synchronous");
        assert_eq!(answer["status"], "Succeeded");
        assert_eq!(
            answer["result"],
            json!({"stdout": "hi\n", "stderr": "", "executionResult": 2, "executionTimeInMilliseconds": 8})
        );
        assert_eq!(answer["rawResult"]["hresult"], 0);
        assert_eq!(answer["rawResult"]["result"], "2");
        assert_eq!(answer.get("error"), None);
        assert_eq!(answer["sessionCreated"], true);
    }

    #[test]
    fn none_is_null_and_text_alone_is_empty() {
        assert_eq!(
            wire(Exit::Finished, vec![Event::Result(bundle("text/plain", "None"))])["result"]["executionResult"],
            Value::Null
        );
        assert_eq!(wire(Exit::Finished, vec![out("x")])["result"]["executionResult"], "");
    }

    #[test]
    fn a_raised_exception_is_told_three_times() {
        let answer = wire(Exit::Raised, vec![raised()]);
        assert_eq!(answer["status"], "Failed");
        assert!(answer["result"]["stderr"].as_str().unwrap().contains("ZeroDivisionError"));
        assert_eq!(answer["rawResult"]["error_name"], "ZeroDivisionError");
        assert_eq!(answer["rawResult"]["error_message"], "division by zero");
        assert_eq!(
            answer["error"],
            json!({"code": "ExecutionRaised", "message": "ZeroDivisionError: division by zero"})
        );
    }

    #[test]
    fn a_stopped_execution_is_canceled() {
        assert_eq!(wire(Exit::Stopped, vec![])["status"], "Canceled");
        assert_eq!(wire(Exit::TimedOut, vec![])["error"]["code"], "ExecutionTimedOut");
    }

    #[test]
    fn a_shell_has_its_exit_code_for_a_status() {
        let process = |is_status| {
            let mut ended = outcome(Exit::Raised, vec![out("x")]);
            ended.process = Some(crate::execution::ProcessEnd { code: 3, is_status });
            serde_json::to_value(answer(&execution(Status::Done(Arc::new(ended))), ExecutionType::Synchronous)).unwrap()
        };
        assert_eq!(process(true)["status"], "3");
        assert_eq!(process(false)["status"], "Failed");
        assert_eq!(process(false)["error"]["message"], "the process ended with exit code 3");
    }

    #[test]
    fn a_running_execution_shows_its_output_so_far() {
        let running = execution(Status::Running);
        running.output.text(Stream::Stdout, b"step 1\n");
        let answer = serde_json::to_value(answer(&running, ExecutionType::Asynchronous)).unwrap();
        assert_eq!(
            (answer["status"].as_str(), answer["result"]["stdout"].as_str()),
            (Some("Running"), Some("step 1\n"))
        );
        assert_eq!(answer.get("rawResult"), None);
    }

    #[test]
    fn a_waiting_and_a_lost_execution_have_no_result() {
        let lost = Status::Lost(Arc::new(ExecutionError::Draining));
        for (status, name) in [(Status::NotStarted, "NotStarted"), (lost, "Failed")] {
            let execution = execution(status);
            let answer = serde_json::to_value(answer(&execution, ExecutionType::Asynchronous)).unwrap();
            assert_eq!((answer["status"].as_str(), answer.get("result")), (Some(name), None));
        }
    }
}
