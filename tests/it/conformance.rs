//! The served contract against the running gateway: schemathesis makes requests out of `/openapi.json`, valid and
//! invalid ones, and holds every answer to what the document says.

use std::path::Path;

use crate::support::containers::installed;
use crate::support::gateway::{ENDS_CONTAINERS, Gateway};
use crate::support::images::Recipe;
use crate::support::python::Python;

/// Short sessions, for nearly every request has an identifier of its own; and all limits, so that any can be asked for.
const POOL: &str = "
[[pool]]
name = 'python'
edition = 'base'
max_concurrent_sessions = 200
ready_session_instances = 2
cooldown_seconds = 3

[pool.limits]
timeout_seconds = 5
cpu_seconds = 5
fuel = 100_000_000_000
memory_mebibytes = 256
files_bytes = 4_194_304
file_bytes = 2_097_152
upload_bytes = 1_048_576
";

const KEY: &str = "a-key-of-this-test";

fn hold_to(document: &str, gateway: &Gateway, more: &[&str]) {
    run(&format!("{}{document}", gateway.url()), gateway, more);
}

fn run(document: &str, gateway: &Gateway, more: &[&str]) {
    let python = Python::with("schemathesis");
    let settings = python.path("schemathesis.toml");
    let settings = settings.to_str().expect("the checkout's path is text");
    let arguments = [&["--config-file", settings, "--no-color", "run", document], more].concat();
    python.run_module("schemathesis.cli", &arguments, gateway);
}

#[test]
fn every_answer_is_one_that_the_document_declares() {
    // A pool of an interpreter has no paths of containers.
    hold_to("/openapi.json", &Gateway::configured(POOL), &["--exclude-tag", "containers"]);
}

#[test]
fn so_it_is_for_holders_of_a_key_and_for_those_who_have_none() {
    let gateway = Gateway::configured(&format!("keys = ['{KEY}']\n{POOL}"));
    let few = ["--max-examples", "5"];
    let with_key = ["--exclude-tag", "containers", "--header", &format!("Authorization: Bearer {KEY}")];
    hold_to("/openapi.json", &gateway, &[&few[..], &with_key].concat());
    // Whoever shows no key is not told that a method is wrong, nor shown the documents.
    let without = ["--exclude-checks", "unsupported_method", "--url", gateway.url()];
    for document in ["sessions", "management"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("openapi/{document}.json"));
        run(file.to_str().expect("the checkout's path is text"), &gateway, &[&few[..], &without].concat());
    }
}

/// What a container answers is not the document's: this one finds everything well, so what is refused is the gateway's word. A
/// container may know other methods.
#[test]
fn so_it_is_where_everything_is_forwarded() {
    if !installed("runc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = Recipe::app(&["agree"]).layout(folder.path());
    let gateway = Gateway::configured(&format!(
        "{ENDS_CONTAINERS}[[container_pool]]\nname = 'python'\nimage = '{image}'\ntarget_port = 8080\nready_session_instances = 2\n\
         max_concurrent_sessions = 200\ntermination_grace_seconds = 0\nresources = {{ memory_mebibytes = 32 }}\n\
         lifecycle = {{ type = 'timed', cooldown_seconds = 5 }}\n"
    ));
    hold_to(
        "/openapi.json",
        &gateway,
        &["--include-tag", "containers", "--max-examples", "10", "--exclude-checks", "unsupported_method"],
    );
}

#[test]
fn so_it_is_for_those_who_manage_the_gateway() {
    let gateway = Gateway::configured(&format!("keys = ['{KEY}']\n{POOL}"));
    hold_to("/openapi/management.json", &gateway, &["--header", &format!("Authorization: Bearer {KEY}")]);
}
