//! What a guest emits while it runs: the event stream of `interpreters/README.md` as values.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// MIME type to value: text types are strings, JSON types are JSON, binary types are base64 strings (as in Jupyter).
pub type MimeBundle = Map<String, Value>;

/// One event of an execution, in the order in which the guest emitted them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Stdout {
        text: String,
    },
    Stderr {
        text: String,
    },
    Display(Display),
    UpdateDisplay(Display),
    ClearOutput {
        wait: bool,
    },
    /// The value of the last expression.
    Result(Display),
    Error(GuestError),
}

/// A rich value. `metadata` is by MIME type, as in Jupyter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Display {
    pub data: MimeBundle,
    pub metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_id: Option<String>,
}

/// An exception that ended a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestError {
    pub name: String,
    pub value: String,
    pub traceback: Vec<String>,
}

impl GuestError {
    /// As a terminal shows it.
    pub fn shown(&self) -> String {
        if self.traceback.is_empty() {
            return format!("{}: {}\n", self.name, self.value);
        }
        self.traceback.iter().map(|line| format!("{}\n", line.trim_end_matches('\n'))).collect()
    }
}
