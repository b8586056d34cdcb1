//! The parts that all messages share: attributes, and who sends.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as Message;

/// Who sends: this process.
#[derive(Debug, Clone)]
pub(super) struct Resource(Message);

impl Resource {
    pub(super) fn new(service_name: &str) -> Self {
        let text = |name, value: &str| attribute(name, Value::StringValue(value.to_owned()));
        let attributes = vec![
            text("service.name", service_name),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &uuid::Uuid::new_v4().to_string()),
        ];
        Self(Message { attributes, ..Message::default() })
    }

    pub(super) fn message(&self) -> Option<Message> {
        Some(self.0.clone())
    }
}

pub(super) fn scope() -> Option<InstrumentationScope> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Some(InstrumentationScope { name: "sandpool".into(), version, ..InstrumentationScope::default() })
}

pub(super) fn attribute(name: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }) }
}

/// Nanoseconds since 1970; 0 before.
pub(super) fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
