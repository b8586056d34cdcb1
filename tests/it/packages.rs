//! Packages of a pool's own: resolved and imported when the pool is opened.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sandpool::config::default_cache_dir;
use serde_json::{Value, json};

use crate::process::refused;
use crate::support::gateway::Gateway;

/// A wheel with a module `tinier`, always the same bytes in the same place: the image that is built with it is cached.
fn wheel() -> PathBuf {
    let path = default_cache_dir().join("tests/tinier-1.0-py3-none-any.whl");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1] + '.new', 'w') as wheel:\n\
        \x20   for name, text in (('tinier.py', 'LOADED = []'), ('tinier-1.0.dist-info/RECORD', ''),\n\
        \x20       ('tinier-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tinier\\nVersion: 1.0\\nRequires-Dist: ipython>=9\\n'),\n\
        \x20       ('tinier-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')):\n\
        \x20       wheel.writestr(zipfile.ZipInfo(name), text)\n\
        import os; os.replace(sys.argv[1] + '.new', sys.argv[1])";
    assert!(Command::new("python3").args(["-c", script]).arg(&path).status().unwrap().success());
    path
}

fn pool(package: &str, preload: &str) -> String {
    format!(
        "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1\n\
         packages = ['{package}']\npreload = \"{preload}\"\n"
    )
}

#[test]
fn a_pools_own_packages_are_in_every_session() {
    let wheel = wheel();
    let gateway = Gateway::configured(&pool(wheel.to_str().unwrap(), "import tinier; tinier.LOADED.append(1)"));
    let code = "import sys\nloaded = 'tinier' in sys.modules\nimport tinier\nprint(loaded, tinier.LOADED)";
    for session in ["first", "second"] {
        let url = format!("{}/executions?identifier={session}", gateway.pool_url("python"));
        let mut answer = ureq::post(url).send_json(json!({ "code": code })).unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(answer["result"]["stdout"], "True [1]\n", "{answer}");
    }
    let metadata = ureq::get(format!("{}/metadata", gateway.pool_url("python"))).call().unwrap();
    assert!(metadata.into_body().read_to_string().unwrap().contains("tinier"));
}

#[test]
fn what_cannot_be_had_or_imported_is_told_to_whoever_opens_the_pool() {
    let wheel = wheel();
    let wheel = wheel.to_str().unwrap();
    // ipython is there in another version, and no index is asked for a name that none can have.
    let said = refused(&[], &pool("ipython==1.0", ""));
    assert!(said.contains("pip says") && said.contains("ipython==1.0"), "{said}");
    let said = refused(&[], &pool(wheel, "import tiniest"));
    assert!(said.contains("No module named 'tiniest'"), "{said}");
    let said = refused(&[], &pool("--index-url=http://127.0.0.1:1", ""));
    assert!(said.contains("packages has"), "{said}");
    let said = refused(&[], "[[pool]]\nname = 'sql'\ninterpreter = 'sqlite'\npackages = ['a']\n");
    assert!(said.contains("takes no packages"), "{said}");
}
