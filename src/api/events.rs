//! An execution as server-sent events: what it shows, as it happens, for callers who accept `text/event-stream`.
//!
//! ```text
//! event: stdout | stderr | display | update_display | clear_output | result | error
//! data: the event as JSON (sandbox/event.rs)
//!
//! event: done
//! data: how it ended (dialect/done.rs)
//! ```
//!
//! The format is the WHATWG HTML standard's, section 9.2. What happens before the code's turn comes is an ordinary failure
//! with its status; a stream has begun to run.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use futures_util::stream;
use serde::Serialize;
use tokio_util::sync::DropGuard;

use super::dialect::done;
use crate::gateway::{Following, Next};
use crate::sandbox::Event;
use crate::session::Identifier;

const MEDIA_TYPE: &str = "text/event-stream";
/// Events of so long go out together: a loop that prints lines must not become a packet a line.
const PAUSE: Duration = Duration::from_millis(25);
/// A comment goes out so often while nothing happens: proxies close connections that look dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Whether the caller asks for events.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next());
    types.into_iter().any(|media| media.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

/// The stream's head; its body ends with the execution. Dropping it interrupts the guest through `stops`.
pub(super) fn response(following: Following, identifier: Identifier, stops: DropGuard) -> Response<Body> {
    let state = Some((following, identifier, stops));
    let body = stream::unfold(state, async |state| {
        let (mut following, identifier, stops) = state?;
        let waited = tokio::time::timeout(SIGN_OF_LIFE, following.next(PAUSE)).await;
        let (text, state) = match waited {
            Err(_) => (": still running\n\n".to_owned(), Some((following, identifier, stops))),
            Ok(Next::Events(events)) => (written(&events), Some((following, identifier, stops))),
            Ok(Next::Ended(ended)) => {
                // It is over: nothing is left to interrupt.
                stops.disarm();
                (last(&ended, &following, &identifier), None)
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), state))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn last(
    ended: &Result<crate::execution::Execution, crate::execution::ExecutionError>,
    following: &Following,
    identifier: &Identifier,
) -> String {
    let mut text = match ended {
        Ok(execution) => written(done::events(execution)),
        Err(_) => String::new(),
    };
    push(&mut text, "done", &done::done(ended, &following.id, identifier));
    text
}

fn written(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        push(&mut text, name(event), event);
    }
    text
}

/// JSON has no line breaks of its own, so one `data` line holds it.
fn push(text: &mut String, name: &str, data: &impl Serialize) {
    let data = serde_json::to_string(data).expect("events become JSON");
    write!(text, "event: {name}\ndata: {data}\n\n").expect("a string can be written to");
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Stdout { .. } => "stdout",
        Event::Stderr { .. } => "stderr",
        Event::Display(_) => "display",
        Event::UpdateDisplay(_) => "update_display",
        Event::ClearOutput { .. } => "clear_output",
        Event::Result(_) => "result",
        Event::Error(_) => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &'static str) -> bool {
        wanted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]))
    }

    #[test]
    fn only_who_names_the_type_gets_events() {
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json, Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*"));
        assert!(!wanted(&HeaderMap::new()));
    }

    #[test]
    fn an_event_is_one_line_of_data() {
        let text = written(&[Event::Stdout { text: "a\nb".into() }, Event::ClearOutput { wait: true }]);
        assert_eq!(
            text,
            "event: stdout\ndata: {\"event\":\"stdout\",\"text\":\"a\\nb\"}\n\n\
             event: clear_output\ndata: {\"event\":\"clear_output\",\"wait\":true}\n\n"
        );
    }
}
