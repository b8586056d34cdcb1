//! The served contract against the running gateway: schemathesis makes requests out of `/openapi.json`, valid and
//! invalid ones, and holds every answer to what the document says.

use crate::support::gateway::Gateway;
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
    let document = format!("{}{document}", gateway.url());
    let python = Python::with("schemathesis");
    let settings = python.path("schemathesis.toml");
    let settings = settings.to_str().expect("the checkout's path is text");
    let arguments = [&["--config-file", settings, "--no-color", "run", &document], more].concat();
    python.run_module("schemathesis.cli", &arguments, gateway);
}

#[test]
fn every_answer_is_one_that_the_document_declares() {
    // A pool of an interpreter has no paths of containers.
    hold_to("/openapi.json", &Gateway::configured(POOL), &["--exclude-tag", "containers"]);
}

#[test]
fn so_it_is_for_those_who_manage_the_gateway() {
    let gateway = Gateway::configured(&format!("keys = ['{KEY}']\n{POOL}"));
    hold_to("/openapi/management.json", &gateway, &["--header", &format!("Authorization: Bearer {KEY}")]);
}
