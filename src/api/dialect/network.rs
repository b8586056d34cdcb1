//! What an execution asked of the outside, as it stands in an answer.

use serde::Serialize;

use crate::egress::{Call, CallEnd};
use crate::execution::Outcome;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Network<'a> {
    network: Vec<Asked<'a>>,
    /// Requests that are not listed, because there were too many.
    network_omitted: u64,
}

/// One request: `status` is the server's answer, `failure` why there is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    host: &'a str,
    port: u16,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    bytes_sent: u64,
    bytes_received: u64,
}

impl<'a> Network<'a> {
    pub(super) fn of(outcome: &'a Outcome) -> Self {
        let network = outcome.network.listed.iter().map(Asked::of).collect();
        Self { network, network_omitted: outcome.network.omitted }
    }
}

impl<'a> Asked<'a> {
    fn of(call: &'a Call) -> Self {
        let (status, failure) = match call.end {
            CallEnd::Status(status) => (Some(status), None),
            CallEnd::Failed(kind) => (None, Some(kind.as_str())),
        };
        let Call { host, port, method, sent_bytes, received_bytes, .. } = call;
        let (bytes_sent, bytes_received) = (*sent_bytes, *received_bytes);
        Self { host, port: *port, method, status, failure, bytes_sent, bytes_received }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;
    use crate::egress::{Calls, FailureKind};
    use crate::sandbox::Exit;
    use serde_json::json;

    #[test]
    fn an_answer_or_why_there_is_none() {
        let call = |end, received_bytes| Call {
            host: "h.example".into(),
            port: 443,
            method: "GET".into(),
            end,
            sent_bytes: 1,
            received_bytes,
        };
        let listed = vec![call(CallEnd::Status(200), 7), call(CallEnd::Failed(FailureKind::Refused), 0)];
        let mut outcome = outcome(Exit::Finished, vec![]);
        outcome.network = Calls { listed, omitted: 3 };
        let wire = serde_json::to_value(Network::of(&outcome)).unwrap();
        let shared = json!({"host": "h.example", "port": 443, "method": "GET", "bytesSent": 1});
        let with = |more: serde_json::Value| {
            let mut entry = shared.clone();
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry
        };
        let entries =
            [with(json!({"status": 200, "bytesReceived": 7})), with(json!({"failure": "refused", "bytesReceived": 0}))];
        assert_eq!(wire, json!({"network": entries, "networkOmitted": 3}));
    }
}
