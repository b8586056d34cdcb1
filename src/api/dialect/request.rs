//! One execution request out of either body shape.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use super::flat::ExecutionType;
use crate::api::contract;
use crate::api::error::Failure;
use crate::execution::{Code, RequestedLimits};
use crate::session::Identifier;

/// What a pool runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A program in `code`.
    Code,
    /// A command in `shellCommand`.
    ShellCommand,
}

impl Expected {
    /// The field that has it.
    fn field(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::ShellCommand => "shellCommand",
        }
    }

    /// What is wrong with a body whose fields do not have it; `other` says that they have the other.
    fn missing(self, other: bool) -> Failure {
        Failure::PropertiesMissing(match (self, other) {
            (Self::Code, true) => "this pool runs programs, not shell commands: send the program in 'code'",
            (Self::Code, false) => "'code' is missing: send the program to run in it",
            (Self::ShellCommand, true) => "this pool runs shell commands: send the command in 'shellCommand'",
            (Self::ShellCommand, false) => "'shellCommand' is missing: send the command to run in it",
        })
    }
}

/// What a body asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub code: Code,
    pub timeout: Option<Duration>,
    pub limits: RequestedLimits,
    pub kind: ExecutionType,
    /// Some documents put the identifier into the body; the query's comes first.
    pub identifier: Option<Identifier>,
}

/// Decodes a body, wrapped in `properties` or flat. What is absent takes its default, as the service does; unknown
/// fields are left alone, since clients send fields of later generations.
pub(crate) fn decode(body: &[u8], expected: Expected) -> Result<Asked, Failure> {
    let value = serde_json::from_slice(body).map_err(Failure::NotJson)?;
    let Value::Object(mut outer) = value else {
        return Err(Failure::PropertiesMissing("the body must be a JSON object with the code to run in 'code'"));
    };
    let (inner, prefix, outer_identifier) = match outer.remove("properties") {
        Some(inner @ Value::Object(_)) => (inner, "/properties", outer.remove("identifier")),
        Some(_) => {
            return Err(Failure::PropertiesMissing("'properties' must be an object with the code to run in 'code'"));
        }
        None => (Value::Object(outer), "", None),
    };
    if inner.get(expected.field()).is_none() {
        return Err(expected.missing(inner.get("code").or(inner.get("shellCommand")).is_some()));
    }
    contract::check_execution(&inner, prefix)?;
    let Value::Object(mut fields) = inner else { unreachable!("matched as an object above") };
    let identifier = match fields.remove("identifier").or(outer_identifier) {
        None => None,
        Some(Value::String(text)) => Some(Identifier::new(text).map_err(Failure::Identifier)?),
        Some(_) => {
            return Err(Failure::Contract { pointer: "/identifier".into(), problem: "must be a string".into() });
        }
    };
    Ok(Asked {
        code: code(&mut fields, prefix, expected)?,
        timeout: whole(&fields, "timeoutInSeconds").map(Duration::from_secs),
        limits: limits(&fields),
        kind: kind(&fields),
        identifier,
    })
}

fn code(fields: &mut Map<String, Value>, prefix: &str, expected: Expected) -> Result<Code, Failure> {
    let Some(Value::String(text)) = fields.remove(expected.field()) else {
        unreachable!("the contract says that both are strings")
    };
    // Only for `InlineBase64`: guessing, as one of the service's images does, would run other code than was sent.
    if !is(fields.get("codeInputType"), "InlineBase64") {
        return Ok(Code(text));
    }
    let broken = || Failure::Contract {
        pointer: format!("{prefix}/{}", expected.field()),
        problem: "must be base64 of UTF-8 text".into(),
    };
    let dense: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(&dense).or_else(|_| STANDARD_NO_PAD.decode(&dense)).map_err(|_| broken())?;
    String::from_utf8(bytes).map(Code).map_err(|_| broken())
}

/// An execution may ask for less than the pool gives; but for `outputStreamsMaxLength` the fields are our own additions.
fn limits(fields: &Map<String, Value>) -> RequestedLimits {
    RequestedLimits {
        cpu_seconds: whole(fields, "cpuTimeInSeconds"),
        fuel: whole(fields, "fuel"),
        output_bytes: whole(fields, "outputMaxBytes"),
        stream_chars: whole(fields, "outputStreamsMaxLength"),
    }
}

/// A whole number, which JSON may also write as `60.0`.
fn whole(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = fields.get(name)?;
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

fn kind(fields: &Map<String, Value>) -> ExecutionType {
    if is(fields.get("executionType"), "Asynchronous") {
        ExecutionType::Asynchronous
    } else {
        ExecutionType::Synchronous
    }
}

/// Enumerated values are compared without case: documents and clients write `inline` and `Inline`.
fn is(value: Option<&Value>, word: &str) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Asked {
        decode(body.as_bytes(), Expected::Code).unwrap_or_else(|failure| panic!("{body}: {failure}"))
    }

    fn refused(body: &str) -> String {
        match decode(body.as_bytes(), Expected::Code).err().unwrap_or_else(|| panic!("{body} was taken")) {
            Failure::PropertiesMissing(_) => "properties".into(),
            Failure::Contract { pointer, .. } => pointer,
            Failure::NotJson(_) => "not json".into(),
            Failure::Identifier(_) => "identifier".into(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn both_shapes_say_the_same() {
        let inner = r#"{"codeInputType":"inline","executionType":"asynchronous","code":"1+1","timeoutInSeconds":100}"#;
        for body in [inner.to_owned(), format!(r#"{{"properties":{inner}}}"#)] {
            let asked = asked(&body);
            assert_eq!(asked.code.0, "1+1");
            assert_eq!(asked.timeout, Some(Duration::from_secs(100)));
            assert_eq!(asked.kind, ExecutionType::Asynchronous);
        }
    }

    #[test]
    fn code_alone_is_enough() {
        let asked = asked(r#"{"code":"print(1)","field of a later version":[1]}"#);
        assert_eq!((asked.code.0.as_str(), asked.timeout, asked.kind), ("print(1)", None, ExecutionType::Synchronous));
    }

    #[test]
    fn a_shell_takes_commands_alone() {
        let decoded = |body: &str| decode(body.as_bytes(), Expected::ShellCommand);
        for body in
            [r#"{"shellCommand":"ls"}"#, r#"{"properties":{"shellCommand":"bHM=","codeInputType":"InlineBase64"}}"#]
        {
            assert_eq!(decoded(body).unwrap().code.0, "ls");
        }
        assert!(matches!(decoded(r#"{"code":"ls"}"#), Err(Failure::PropertiesMissing(_))));
        assert!(matches!(decoded(r#"{"shellCommand":1}"#), Err(Failure::Contract { .. })));
    }

    #[test]
    fn an_execution_may_ask_for_less() {
        let limits =
            asked(r#"{"code":"1","cpuTimeInSeconds":1,"fuel":2.0,"outputMaxBytes":3,"outputStreamsMaxLength":4}"#)
                .limits;
        let asked =
            RequestedLimits { cpu_seconds: Some(1), fuel: Some(2), output_bytes: Some(3), stream_chars: Some(4) };
        assert_eq!(limits, asked);
    }

    #[test]
    fn base64_is_decoded_only_when_said() {
        assert_eq!(asked(r#"{"code":"MSsx"}"#).code.0, "MSsx");
        assert_eq!(asked(r#"{"code":"MSsx","codeInputType":"inlinebase64"}"#).code.0, "1+1");
        assert_eq!(asked(r#"{"code":"MQ\n","codeInputType":"InlineBase64"}"#).code.0, "1");
        assert_eq!(asked(r#"{"code":"MSsx","codeInputType":"InlineText"}"#).code.0, "MSsx");
        assert_eq!(refused(r#"{"code":"%%","codeInputType":"InlineBase64"}"#), "/code");
        assert_eq!(refused(r#"{"properties":{"code":"/w==","codeInputType":"InlineBase64"}}"#), "/properties/code");
    }

    #[test]
    fn an_identifier_in_the_body_is_found_in_both_places() {
        for body in [
            r#"{"code":"1","identifier":"user-1"}"#,
            r#"{"properties":{"code":"1","identifier":"user-1"}}"#,
            r#"{"identifier":"user-1","properties":{"code":"1"}}"#,
        ] {
            assert_eq!(asked(body).identifier.unwrap().as_str(), "user-1", "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (body, place) in [
            ("", "not json"),
            ("{", "not json"),
            ("[]", "properties"),
            ("{}", "properties"),
            (r#"{"properties":[]}"#, "properties"),
            (r#"{"shellCommand":"ls"}"#, "properties"),
            (r#"{"code":1}"#, "/code"),
            (r#"{"properties":{"code":"1","timeoutInSeconds":"60"}}"#, "/properties/timeoutInSeconds"),
            (r#"{"code":"1","timeoutInSeconds":0}"#, "/timeoutInSeconds"),
            (r#"{"code":"1","timeoutInSeconds":1.5}"#, "/timeoutInSeconds"),
            (r#"{"code":"1","codeInputType":"File"}"#, "/codeInputType"),
            (r#"{"code":"1","executionType":""}"#, "/executionType"),
            (r#"{"code":"1","identifier":"abc"}"#, "/identifier"),
        ] {
            assert_eq!(refused(body), place, "{body}");
        }
    }

    fn fixtures(folder: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/requests").join(folder);
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
    }

    #[test]
    fn the_fixtures_are_taken_and_refused() {
        for (name, body) in fixtures("valid") {
            decode(&body, Expected::Code).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        }
        // How long a timeout may be is the pool's to say.
        for (name, body) in fixtures("invalid").filter(|(name, _)| !name.ends_with("timeout-beyond-the-ceiling.json")) {
            assert!(decode(&body, Expected::Code).is_err(), "{name}");
        }
    }
}
