//! The answer of `POST /code/execute`, as in 2024-02-02-preview.
//!
//! Every key is always there: two clients read them without looking.

use serde::Serialize;

use super::value::ResultValue;
use super::{Additions, Json, milliseconds, stderr};
use crate::execution::Outcome;

#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    #[serde(rename = "$id")]
    id: &'static str,
    properties: Properties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    #[serde(rename = "$id")]
    id: &'static str,
    status: &'static str,
    stdout: String,
    stderr: String,
    /// What Python clients read.
    result: Json,
    /// What the Node tutorial reads; the same value.
    execution_result: Json,
    execution_time_in_milliseconds: u64,
    #[serde(flatten)]
    additions: Additions<'a>,
}

/// The outcome in the old shape. Python's `None` is the empty text: clients join this value to other text.
pub(crate) fn answer(outcome: &Outcome) -> Answer<'_> {
    let result = ResultValue::of(outcome).to_json(r#""""#);
    let properties = Properties {
        id: "2",
        status: if outcome.succeeded() { "Success" } else { "Failure" },
        stdout: outcome.stdout(),
        stderr: stderr::stderr(outcome),
        execution_result: result.clone(),
        result,
        execution_time_in_milliseconds: milliseconds(outcome),
        additions: Additions::of(outcome),
    };
    Answer { id: "1", properties }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bundle, out, outcome, raised};
    use super::*;
    use crate::sandbox::{Event, Exit};
    use serde_json::{Value, json};

    fn wire(exit: Exit, events: Vec<Event>) -> Value {
        serde_json::to_value(answer(&outcome(exit, events))).unwrap()
    }

    #[test]
    fn every_key_is_there_even_when_there_is_nothing_to_say() {
        assert_eq!(
            wire(Exit::Finished, vec![]),
            json!({"$id": "1", "properties": {"$id": "2", "status": "Success", "stdout": "", "stderr": "", "result": "",
                "executionResult": "", "executionTimeInMilliseconds": 8,
                "sessionCreated": true, "sessionDiscarded": false, "sessionRolledBack": false, "outputs": [], "files": [], "network": [], "networkOmitted": 0}})
        );
    }

    #[test]
    fn the_result_stands_under_both_names() {
        let answer = wire(Exit::Finished, vec![out("a"), Event::Result(bundle("text/plain", "42"))]);
        assert_eq!(answer["properties"]["result"], 42);
        assert_eq!(answer["properties"]["executionResult"], 42);
        assert_eq!(answer["properties"]["stdout"], "a");
        assert_eq!(
            answer["properties"]["outputs"][0],
            json!({"event": "result", "data": {"text/plain": "42"}, "metadata": {}})
        );
        assert_eq!(wire(Exit::Finished, vec![Event::Result(bundle("text/plain", "None"))])["properties"]["result"], "");
    }

    #[test]
    fn failing_code_is_a_failure_with_its_traceback() {
        let answer = wire(Exit::Raised, vec![raised()]);
        assert_eq!(answer["properties"]["status"], "Failure");
        assert!(answer["properties"]["stderr"].as_str().unwrap().ends_with("ZeroDivisionError: division by zero"));
    }
}
