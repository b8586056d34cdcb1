//! The corpora of `interpreters/*/guest/tests/cells.json`, replayed on the real images: what cells mean.
//! `interpreters/shared/tests/README.md` says what their entries mean.

use std::fmt::Write as _;
use std::sync::Arc;

use sandpool::interpreter::Recipe;
use sandpool::sandbox::output::Stream;
use sandpool::sandbox::wasm::Image;
use sandpool::sandbox::{Event, GuestError, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::guests::{Guest, Ran, full_image, image_of};

#[derive(Deserialize)]
struct Case {
    name: String,
    cells: Vec<Map<String, Value>>,
}

#[tokio::test]
async fn cells_do_what_the_corpora_say() {
    let mut problems = String::new();
    for interpreter in Recipe::names() {
        replay(&format!("{interpreter}/guest/tests/cells.json"), &image_of(&interpreter), &mut problems).await;
    }
    assert!(problems.is_empty(), "{problems}");
}

#[tokio::test]
async fn cells_of_the_full_edition_do_what_its_corpus_says() {
    let Some(image) = full_image() else { return };
    let mut problems = String::new();
    replay("python/guest/tests/full.json", &image, &mut problems).await;
    replay("python/guest/tests/cells.json", &image, &mut problems).await;
    assert!(problems.is_empty(), "{problems}");
}

/// Runs the cases of a corpus, each in a session of its own.
async fn replay(corpus: &str, image: &Arc<Image>, problems: &mut String) {
    let path = format!("{}/interpreters/{corpus}", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() > 5, "{corpus} is there");
    for case in cases {
        let mut guest = Guest::on(image.clone()).await;
        for cell in &case.cells {
            let ran = guest.run(cell["code"].as_str().unwrap()).await;
            for problem in check(cell, &ran) {
                writeln!(problems, "{corpus}: {}: {problem}\n  after {}", case.name, cell["code"]).unwrap();
            }
        }
    }
}

/// Every way in which a cell did not do what its entry says.
fn check(cell: &Map<String, Value>, ran: &Ran) -> Vec<String> {
    let nothing = GuestError::default();
    let error = ran.events.iter().find_map(|e| if let Event::Error(error) = e { Some(error) } else { None });
    let traceback = error.unwrap_or(&nothing).traceback.join("\n");
    let mut problems: Vec<_> = cell
        .iter()
        .filter_map(|(key, wanted)| {
            let (subject, how) = key.split_once('_').map_or((key.as_str(), ""), |(subject, how)| (subject, how));
            let (subject, how) = if key.starts_with("error_value") {
                ("error_value", key.trim_start_matches("error_value").trim_start_matches('_'))
            } else {
                (subject, how)
            };
            let got = match subject {
                "code" => return None,
                "events" => {
                    return (events(wanted) != ran.events).then(|| format!("wanted {wanted}, got {:?}", ran.events));
                }
                "displays" => {
                    let got = json!(displays(ran));
                    return (got != *wanted).then(|| format!("displays: wanted {wanted}, got {got}"));
                }
                "stdout" => Some(ran.stdout()),
                "stderr" => Some(stderr(ran)),
                "result" => ran.result().map(str::to_owned),
                "html" => shown(ran, "text/html").and_then(|html| html.as_str().map(str::to_owned)),
                "json" => {
                    let got = shown(ran, "application/json").cloned();
                    let wanted = Some(wanted).filter(|wanted| !wanted.is_null());
                    return (got.as_ref() != wanted).then(|| format!("json: wanted {wanted:?}, got {got:?}"));
                }
                "error" => error.map(|error| error.name.clone()),
                "error_value" => error.map(|error| error.value.clone()),
                "traceback" => Some(traceback.clone()),
                other => return Some(format!("the corpus says {other}, which nothing checks")),
            };
            let good = match (how, wanted) {
                (_, Value::Null) => got.is_none(),
                ("contains", Value::Array(parts)) => parts.iter().all(|part| holds(&got, part)),
                ("contains", part) => holds(&got, part),
                ("lacks", part) => !holds(&got, part),
                (_, text) => got.as_deref() == text.as_str(),
            };
            (!good).then(|| format!("{key}: wanted {wanted}, got {got:?}"))
        })
        .collect();
    if !cell.contains_key("error")
        && let Some(error) = error
    {
        problems.push(format!("unexpected {error:?}"));
    }
    problems
}

fn holds(got: &Option<String>, part: &Value) -> bool {
    got.as_deref().unwrap_or("").contains(part.as_str().unwrap())
}

/// The result event in one of its forms.
fn shown<'a>(ran: &'a Ran, mime: &str) -> Option<&'a Value> {
    ran.events.iter().find_map(|e| if let Event::Result(shown) = e { shown.data.get(mime) } else { None })
}

/// The forms of each thing that was displayed.
fn displays(ran: &Ran) -> Vec<Vec<String>> {
    let forms = |event: &Event| -> Option<Vec<String>> {
        if let Event::Display(shown) = event { Some(shown.data.keys().cloned().collect()) } else { None }
    };
    ran.events.iter().filter_map(forms).collect()
}

fn stderr(ran: &Ran) -> String {
    ran.events.iter().filter_map(|e| if let Event::Stderr { text } = e { Some(text.as_str()) } else { None }).collect()
}

/// The raw events of an entry, as the host keeps them (neighbouring text joined, updates and clearings carried out).
fn events(wanted: &Value) -> Vec<Event> {
    let output = Output::new(1 << 20);
    for event in wanted.as_array().unwrap() {
        let (kind, payload) = (event[0].as_str().unwrap(), &event[1]);
        match kind {
            "stdout" => output.text(Stream::Stdout, payload.as_str().unwrap().as_bytes()),
            "stderr" => output.text(Stream::Stderr, payload.as_str().unwrap().as_bytes()),
            _ => {
                let mut tagged = json!({ "event": kind });
                tagged.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
                output.rich(serde_json::from_value(tagged).unwrap(), 1);
            }
        }
    }
    output.take().0
}
