//! Rows of the records as OTLP's log records. What a row holds is said in `records/query.rs`; its columns keep their names.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::message::{Resource, attribute, nanos, scope};

/// Columns that have a place of their own in a log record, or say nothing there.
const TOLD_ELSEWHERE: [&str; 7] =
    ["TimeGenerated", "Level", "Log", "Type", "SourceSystem", "_BilledSize", "_IsBillable"];

/// A row, as the API shows it.
type Row = Map<String, Value>;

/// The message that holds these rows.
pub(super) fn request<'a>(rows: impl Iterator<Item = &'a Row>, resource: &Resource) -> ExportLogsServiceRequest {
    let scope_logs =
        vec![ScopeLogs { scope: scope(), log_records: rows.map(record).collect(), ..ScopeLogs::default() }];
    let resource = resource.message();
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}

/// The same as a line of JSON, as OTLP files have them.
pub fn json_line<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    serde_json::to_string(&request(rows, &Resource::new("sandpool"))).expect("messages of OTLP become JSON")
}

fn record(row: &Row) -> LogRecord {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let at = text("TimeGenerated").and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let (severity, severity_text) = severity(row);
    let told = row.iter().filter(|(name, value)| !TOLD_ELSEWHERE.contains(&name.as_str()) && !value.is_null());
    LogRecord {
        time_unix_nano: at.map_or(0, |at| nanos(at.into())),
        observed_time_unix_nano: nanos(SystemTime::now()),
        severity_number: severity.into(),
        severity_text: severity_text.into(),
        body: text("Log").or(text("OperationName")).map(|body| any(&Value::from(body))),
        event_name: text("Type").unwrap_or_default().to_owned(),
        attributes: told.filter_map(|(name, value)| Some(attribute(name, any(value).value?))).collect(),
        ..LogRecord::default()
    }
}

/// Logs have a level; of a call its status says how it ended.
fn severity(row: &Row) -> (SeverityNumber, &'static str) {
    let refused = row.get("StatusCode").and_then(Value::as_u64);
    match (row.get("Level").and_then(Value::as_str), refused) {
        (Some("Error"), _) | (None, Some(500..)) => (SeverityNumber::Error, "Error"),
        (Some("Warning"), _) | (None, Some(400..)) => (SeverityNumber::Warn, "Warning"),
        _ => (SeverityNumber::Info, "Informational"),
    }
}

fn any(value: &Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(flag) => Some(Any::BoolValue(*flag)),
        Value::Number(number) => {
            Some(number.as_i64().map_or_else(|| Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)), Any::IntValue))
        }
        Value::String(text) => Some(Any::StringValue(text.clone())),
        Value::Array(items) => Some(Any::ArrayValue(ArrayValue { values: items.iter().map(any).collect() })),
        Value::Object(members) => {
            let members = members.iter().filter_map(|(name, value)| Some(attribute(name, any(value).value?)));
            Some(Any::KvlistValue(KeyValueList { values: members.collect() }))
        }
    };
    AnyValue { value }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(row: Value) -> Value {
        let Value::Object(row) = row else { panic!() };
        let line: Value = serde_json::from_str(&json_line([row].iter())).unwrap();
        line["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
    }

    #[test]
    fn a_row_becomes_a_log_record() {
        let row = json!({
            "TimeGenerated": "2026-01-31T12:00:00.000001Z", "SessionPoolName": "p", "PodName": null, "Level": "Error",
            "Log": "it broke", "OperationName": "StartFailed", "Type": "AppEnvSessionPoolEventLogs",
        });
        let record = line(row);
        assert_eq!(record["timeUnixNano"], "1769860800000001000");
        assert_eq!((&record["severityNumber"], &record["severityText"]), (&json!(17), &json!("Error")));
        assert_eq!(record["body"]["stringValue"], "it broke");
        assert_eq!(record["eventName"], "AppEnvSessionPoolEventLogs");
        let attributes = record["attributes"].as_array().unwrap();
        let names: Vec<_> = attributes.iter().map(|attribute| attribute["key"].as_str().unwrap()).collect();
        assert_eq!(names, ["OperationName", "SessionPoolName"]);
    }

    #[test]
    fn a_call_is_as_grave_as_its_status() {
        for (status, severity) in [(200, "Informational"), (404, "Warning"), (503, "Error")] {
            let record = line(json!({ "OperationName": "Execute", "StatusCode": status, "DurationMs": 1.5 }));
            assert_eq!(
                (&record["severityText"], &record["body"]["stringValue"]),
                (&json!(severity), &json!("Execute"))
            );
        }
    }
}
