//! Clients from PyPI, unmodified and pinned, against the real gateway. What each does is in `tests/clients/`.

use crate::support::gateway::Gateway;
use crate::support::python::Python;

#[test]
fn langchain_runs_every_method() {
    Python::with("langchain").run("test_langchain.py", Gateway::shared());
}

#[test]
fn llama_index_runs_every_method() {
    Python::with("llama_index").run("test_llama_index.py", Gateway::shared());
}

#[test]
fn semantic_kernel_runs_every_method() {
    Python::with("semantic_kernel").run("test_semantic_kernel.py", Gateway::shared());
}

#[test]
fn autogen_runs_every_method() {
    Python::with("autogen").run("test_autogen.py", Gateway::shared());
}
