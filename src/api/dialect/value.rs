//! The one value of an execution: what clients read as `result` or `executionResult`.
//!
//! Everything shown, in order, is in `outputs`; here is the single value that the service's clients expect. No source
//! states the service's rule; this one gives each client read what it needs:
//!
//! - **An image wins**, the result's before the last one displayed: a plot ends with `[<Line2D …>]`, and the picture is meant.
//! - **A number, `true`, `false` or `null` is JSON**: `42` arrives as a number. Not so `True` or `None`-like text (it is Python's) nor
//!   `nan` (JSON has none).
//! - **Nothing else is parsed**, though `['a', 'b']` and `"it's"` may look like JSON: AutoGen splits the *text* of a list on
//!   `,\n`, and a string would lose its quotes or keep them depending on what it holds.
//! - **No number loses a digit**: integers beyond 2^53 and decimals of more than 17 digits stay text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::Json;
use crate::execution::Outcome;
use crate::sandbox::{Display, Event};

/// The value of an execution.
#[derive(Debug, PartialEq)]
pub(super) enum ResultValue<'a> {
    /// The code showed nothing but text.
    Nothing,
    /// The value was Python's `None`.
    None,
    Scalar(serde_json::Value),
    Text(&'a str),
    Image {
        format: &'a str,
        base64: std::borrow::Cow<'a, str>,
    },
}

impl<'a> ResultValue<'a> {
    pub(super) fn of(outcome: &'a Outcome) -> Self {
        let result =
            outcome.events.iter().rev().find_map(|e| if let Event::Result(shown) = e { Some(shown) } else { None });
        if let Some(image) =
            result.and_then(image).or_else(|| outcome.events.iter().rev().filter_map(display).find_map(image))
        {
            return image;
        }
        match result.and_then(text) {
            None => Self::Nothing,
            Some("None") => Self::None,
            Some(text) => scalar(text).map_or(Self::Text(text), Self::Scalar),
        }
    }

    /// `none` stands for Python's `None`, which the generations write differently.
    pub(super) fn to_json(&self, none: &str) -> Json {
        match self {
            Self::Nothing => raw(&""),
            Self::None => {
                Json::from(serde_json::value::RawValue::from_string(none.to_owned()).expect("null and \"\" are JSON"))
            }
            Self::Scalar(value) => raw(value),
            Self::Text(text) => raw(text),
            Self::Image { format, base64 } => raw(&Image { kind: "image", format, base64_data: base64 }),
        }
    }

    /// The text, for places that only take text.
    pub(super) fn plain(outcome: &Outcome) -> &str {
        let result =
            outcome.events.iter().rev().find_map(|e| if let Event::Result(shown) = e { Some(shown) } else { None });
        result.and_then(text).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Image<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    format: &'a str,
    base64_data: &'a str,
}

fn raw(value: &impl Serialize) -> Json {
    to_raw_value(value).expect("text, numbers and flat structs become JSON")
}

fn display(event: &Event) -> Option<&Display> {
    match event {
        Event::Display(shown) | Event::UpdateDisplay(shown) => Some(shown),
        _ => None,
    }
}

/// The bundle's image: binary ones are base64 already (as in Jupyter), an SVG is text.
fn image(shown: &Display) -> Option<ResultValue<'_>> {
    ["png", "jpeg", "gif", "webp"]
        .into_iter()
        .find_map(|format| {
            let base64 = shown.data.get(&format!("image/{format}"))?.as_str()?;
            // Encoders may wrap lines or end with one; readers may not like it.
            let base64 = if base64.contains('\n') { base64.replace('\n', "").into() } else { base64.into() };
            Some(ResultValue::Image { format, base64 })
        })
        .or_else(|| {
            let svg = shown.data.get("image/svg+xml")?.as_str()?;
            Some(ResultValue::Image { format: "svg+xml", base64: STANDARD.encode(svg).into() })
        })
}

/// Plain text, or else the first textual form.
fn text(shown: &Display) -> Option<&str> {
    let plain = shown.data.get("text/plain").and_then(|value| value.as_str());
    plain.or_else(|| {
        shown.data.iter().filter(|(mime, _)| mime.starts_with("text/")).find_map(|(_, value)| value.as_str())
    })
}

/// The number, boolean or null that `text` is, when JSON can hold it exactly.
fn scalar(text: &str) -> Option<serde_json::Value> {
    const EXACT: u64 = 1 << 53;
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'-' | b't' | b'f' | b'n'))
        || text.len() > 32
        || text.ends_with(char::is_whitespace)
    {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let exact = match &value {
        serde_json::Value::Number(number) if number.is_f64() => significant_digits(text) <= 17,
        serde_json::Value::Number(number) => {
            number.as_i64().map(i64::unsigned_abs).or(number.as_u64()).is_some_and(|magnitude| magnitude <= EXACT)
        }
        serde_json::Value::Bool(_) | serde_json::Value::Null => true,
        _ => false,
    };
    exact.then_some(value)
}

fn significant_digits(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bundle, out, outcome};
    use super::*;
    use crate::sandbox::Exit;

    fn json(events: Vec<Event>) -> String {
        ResultValue::of(&outcome(Exit::Finished, events)).to_json("null").get().to_owned()
    }

    #[test]
    fn scalars_are_json_and_all_else_is_text() {
        for (text, wire) in [
            ("42", "42"),
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("1e+16", "1e+16"),
            ("0.1", "0.1"),
            ("true", "true"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "\"9007199254740993\""),
            ("123456789012345678901234567890", "\"123456789012345678901234567890\""),
            ("0.1000000000000000055511151231", "\"0.1000000000000000055511151231\""),
            ("1e400", "\"1e400\""),
            ("007", "\"007\""),
            ("1 ", "\"1 \""),
            ("nan", "\"nan\""),
            ("inf", "\"inf\""),
            ("True", "\"True\""),
            ("None", "null"),
            ("'abc'", "\"'abc'\""),
            ("\"it's\"", "\"\\\"it's\\\"\""),
            ("[1, 2]", "\"[1, 2]\""),
            ("['numpy',\n 'pandas']", "\"['numpy',\\n 'pandas']\""),
            ("{}", "\"{}\""),
        ] {
            assert_eq!(json(vec![Event::Result(bundle("text/plain", text))]), wire, "{text}");
        }
    }

    #[test]
    fn text_alone_has_no_value() {
        assert_eq!(json(vec![out("hello\n")]), "\"\"");
    }

    #[test]
    fn the_results_image_comes_before_the_last_one_shown() {
        let png = |data: &str| bundle("image/png", data);
        assert_eq!(
            json(vec![
                Event::Display(png("AA==")),
                Event::Display(png("BB==\n")),
                Event::Result(bundle("text/plain", "x"))
            ]),
            r#"{"type":"image","format":"png","base64_data":"BB=="}"#
        );
        assert_eq!(
            json(vec![Event::Result(bundle("image/jpeg", "CC==")), Event::Display(png("AA=="))]),
            r#"{"type":"image","format":"jpeg","base64_data":"CC=="}"#
        );
        assert_eq!(
            json(vec![Event::Display(bundle("image/svg+xml", "<svg/>"))]),
            r#"{"type":"image","format":"svg+xml","base64_data":"PHN2Zy8+"}"#
        );
    }

    #[test]
    fn a_value_without_plain_text_shows_its_other_text() {
        assert_eq!(json(vec![Event::Result(bundle("text/html", "<b>"))]), "\"<b>\"");
    }
}
