//! Clients from PyPI, unmodified and pinned, against the real gateway. What each does is in `tests/clients/`.

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::support::containers::{installed, skip};
use crate::support::gateway::{ENDS_CONTAINERS, Gateway};
use crate::support::images::busybox;
use crate::support::python::Python;

const POOL: &str = "\n[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\n";

#[test]
fn langchain_runs_every_method() {
    Python::with("langchain").run("test_langchain.py", Gateway::shared());
}

/// Its tool for shells, in pools of shells.
#[test]
fn langchain_runs_every_method_in_a_shell() {
    let Some(recipe) = installed("runc").then(|| busybox("")).flatten() else {
        return skip("langchain's shell", "it takes runc and a static busybox");
    };
    let folder = tempfile::tempdir().unwrap();
    let image = recipe.layout(&folder.path().join("layout"));
    let pool = |name: &str, timeout: u32| {
        format!(
            "[[container_pool]]\nname = '{name}'\nimage = '{image}'\nresources = {{ memory_mebibytes = 64 }}\n\
             interpreter = {{ language = 'shell', limits = {{ timeout_seconds = {timeout} }} }}\n\
             termination_grace_seconds = 0\n"
        )
    };
    let gateway = Gateway::configured(&format!("{ENDS_CONTAINERS}{}{}", pool("python", 60), pool("brief", 2)));
    Python::with("langchain").run("test_bash.py", &gateway);
}

/// Its backend for deepagents, which asks more of the image than a tool does.
#[test]
fn deepagents_works_in_a_shell() {
    if !installed("runc") {
        return skip("deepagents", "it takes runc");
    }
    let built = std::process::Command::new(env!("CARGO_BIN_EXE_sandpool")).args(["image", "build", "shell"]).output();
    let built = built.expect("the binary runs");
    if !built.status.success() {
        return skip("deepagents", &String::from_utf8_lossy(&built.stderr));
    }
    let pool = |name: &str| {
        format!(
            "[[container_pool]]\nname = '{name}'\ninterpreter = {{ language = 'shell' }}\ntermination_grace_seconds = 0\n"
        )
    };
    let gateway = Gateway::configured(&format!("{ENDS_CONTAINERS}{}{}", pool("python"), pool("brief")));
    Python::with("deepagents").run("test_deepagents.py", &gateway);
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

/// It takes https endpoints only: here it gets one, and its own HTTP client checks the certificate.
#[test]
fn semantic_kernel_runs_over_tls() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}\n");
    let brief =
        "[[pool]]\nname = 'brief'\nedition = 'base'\nready_session_instances = 1\nlimits = { timeout_seconds = 2 }\n";
    let gateway = Gateway::configured(&format!("{tls}{POOL}{brief}"));
    assert!(gateway.url().starts_with("https://"), "{}", gateway.url());
    let authority = certificate.to_str().expect("the temporary folder's path is text");
    Python::with("semantic_kernel").run_with("test_semantic_kernel.py", &gateway, &[("SANDPOOL_CA", authority)]);
}

#[test]
fn azure_identity_gets_its_token_from_the_gateway() {
    let header = "the-header-of-this-test";
    let gateway =
        Gateway::configured(&format!("keys = ['a-key-of-this-test']\n[identity]\nheader = '{header}'\n{POOL}"));
    let endpoint = format!("{}/msi/token", gateway.url());
    let environment = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", header)];
    Python::with("langchain").run_with("test_identity.py", &gateway, &environment);
}

#[test]
fn azure_management_does_everything_with_pools() {
    Python::with("management").run("test_management.py", &Gateway::configured(POOL));
}
