//! Where telemetry goes, what of it, and how often.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::records::Table;

/// `[otlp]`: off unless it has an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// The collector, such as `http://127.0.0.1:4318`; `/v1/traces` and the like are added. By default
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`; without both nothing is exported.
    pub endpoint: Option<String>,
    /// Sent with every message. By default `OTEL_EXPORTER_OTLP_HEADERS` (`name=value,…`).
    pub headers: BTreeMap<String, String>,
    /// `service.name` of everything. By default `OTEL_SERVICE_NAME`, else `sandpool`.
    pub service_name: String,
    /// Seconds between two exports of metrics and logs. Spans go after a second.
    pub interval_seconds: u64,
    pub traces: bool,
    pub metrics: bool,
    /// Which records go as logs. Not `console` unless it is named: it holds what code wrote.
    pub logs: Vec<Table>,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            service_name: "sandpool".into(),
            interval_seconds: 10,
            traces: true,
            metrics: true,
            logs: vec![Table::Lifecycle, Table::Pools, Table::Audit, Table::Usage],
        }
    }
}

impl OtlpSettings {
    /// What makes no sense in it: the setting, and why.
    pub fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(endpoint) = &self.endpoint {
            let http = Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none());
            if !http {
                wrong.push("otlp.endpoint: it must be a URL such as http://127.0.0.1:4318".into());
            }
        }
        for (name, value) in &self.headers {
            // Not the value: it may be a secret.
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                wrong.push(format!("otlp.headers: {name:?} and its value make no HTTP header"));
            }
        }
        if !(1..=3600).contains(&self.interval_seconds) {
            wrong.push(format!("otlp.interval_seconds is {}; it must be from 1 to 3600", self.interval_seconds));
        }
        if self.service_name.is_empty() {
            wrong.push("otlp.service_name: it is empty".into());
        }
        if self.logs.iter().enumerate().any(|(at, table)| self.logs[..at].contains(table)) {
            wrong.push("otlp.logs: it names one twice".into());
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_told() {
        let text =
            "endpoint = 'collector:4318'\ninterval_seconds = 0\nheaders = { 'a b' = 'c' }\nlogs = ['audit', 'audit']";
        let settings: OtlpSettings = toml::from_str(text).unwrap();
        let told = settings.problems().join("\n");
        for part in ["endpoint", "interval_seconds", "a b", "twice"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(OtlpSettings::default().problems(), Vec::<String>::new());
        assert!(toml::from_str::<OtlpSettings>("logs = ['everything']").is_err());
    }
}
