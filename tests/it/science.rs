//! The full edition of Python, end to end: the cells that generated code is made of, over HTTP, with files up and down.
//!
//! Building the edition takes the better part of an hour, so these run where it is built (`sandpool interpreter build`), and
//! everywhere with `SANDPOOL_TEST_FULL=1`, which builds it. A run that leaves them out says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::guests;
use crate::support::http::multipart;
use crate::support::server::Server;

const POOL: &str = "
[[pool]]
name = 'python'
edition = 'full'
ready_session_instances = 1
";

#[derive(Deserialize)]
struct Case {
    name: String,
    code: String,
    #[serde(default)]
    upload: BTreeMap<String, String>,
    #[serde(default)]
    stdout_contains: Vec<String>,
    /// The answer's value is an image.
    #[serde(default)]
    image: bool,
    /// Files that the cell makes, with the hexadecimal bytes that they begin with.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// The gateway with the full edition, where it is to be tested.
fn full() -> Option<Gateway> {
    guests::full_edition().map(|_| Gateway::configured(POOL))
}

#[test]
fn the_cells_that_models_write_work_end_to_end() {
    let Some(gateway) = full() else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cells/science.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 20);
    let mut problems = String::new();
    for (number, case) in cases.iter().enumerate() {
        for problem in check(&gateway, &format!("case-{number}"), case) {
            writeln!(problems, "{}: {problem}", case.name).unwrap();
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

fn check(gateway: &Gateway, session: &str, case: &Case) -> Vec<String> {
    let pool = gateway.pool_url("python");
    let query = format!("identifier={session}&api-version=2025-10-02-preview");
    for (name, content) in &case.upload {
        upload(gateway, session, name, content.as_bytes());
    }
    let mut answer = ureq::post(format!("{pool}/executions?{query}"))
        .send_json(json!({ "code": case.code, "timeoutInSeconds": 120 }))
        .expect("an answer");
    let answer: Value = answer.body_mut().with_config().limit(64 << 20).read_json().expect("JSON");
    let mut problems = Vec::new();
    if answer["status"] != "Succeeded" {
        problems.push(format!("{}: {}", answer["status"], answer["result"]["stderr"]));
    }
    let stdout = answer["result"]["stdout"].as_str().unwrap_or_default();
    let missing = case.stdout_contains.iter().filter(|part| !stdout.contains(part.as_str()));
    problems.extend(missing.map(|part| format!("stdout lacks {part:?}: {stdout:?}")));
    if case.image && answer["result"]["executionResult"]["type"] != "image" {
        problems.push(format!("no image: {}", answer["result"]["executionResult"]));
    }
    for (name, magic) in &case.files {
        let told =
            answer["files"].as_array().is_some_and(|files| files.iter().any(|file| file["name"] == name.as_str()));
        if !told {
            problems.push(format!("{name} is not told of: {}", answer["files"]));
            continue;
        }
        let mut file = ureq::get(format!("{pool}/files/{name}/content?{query}")).call().expect("the file is there");
        let content = file.body_mut().with_config().limit(64 << 20).read_to_vec().expect("its content");
        let begins: String = content.iter().take(magic.len() / 2).map(|byte| format!("{byte:02x}")).collect();
        if begins != *magic {
            problems.push(format!("{name} begins with {begins}, not {magic}"));
        }
    }
    problems
}

fn upload(gateway: &Gateway, session: &str, name: &str, content: &[u8]) {
    let body = multipart(&[(&format!("name=\"file\"; filename=\"{name}\""), content)]);
    let url = format!("{}/files?identifier={session}&api-version=2025-10-02-preview", gateway.pool_url("python"));
    let request = ureq::post(url).content_type("multipart/form-data; boundary=xyz");
    request.send(&body[..]).expect("the upload is taken");
}

/// The answer to a cell.
fn execute(gateway: &Gateway, session: &str, code: &str) -> Value {
    ureq::post(format!("{}/executions?identifier={session}", gateway.pool_url("python")))
        .send_json(json!({ "code": code, "timeoutInSeconds": 200 }))
        .expect("an answer")
        .body_mut()
        .read_json()
        .expect("JSON")
}

/// What a cell prints.
fn printed(gateway: &Gateway, session: &str, code: &str) -> String {
    let answer = execute(gateway, session, code);
    assert_eq!(answer["status"], "Succeeded", "{answer}");
    answer["result"]["stdout"].as_str().expect("text").to_owned()
}

/// The reference was drawn by the same matplotlib natively, on x86-64. (Without text: PyPI's wheel has another FreeType.)
#[test]
fn a_plot_has_the_pixels_that_it_has_natively() {
    let Some(gateway) = full() else { return };
    upload(&gateway, "pixels", "reference.png", include_bytes!("../../fixtures/plots/shapes.png"));
    let code = concat!(
        include_str!("../../fixtures/plots/shapes.py"),
        "from PIL import Image\nwanted = np.asarray(Image.open('reference.png').convert('RGB')).astype(int)\n",
        "print(wanted.shape, int((wanted != drawn[..., :3]).any(axis=2).sum()))\n"
    );
    assert_eq!(printed(&gateway, "pixels", code), "(200, 300, 3) 0\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pandas_reads_tables_from_urls() {
    if guests::full_edition().is_none() {
        return;
    }
    let server = Server::start().await;
    let rule = format!(
        "[pool.egress]\npolicy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {} }}]",
        server.address.port()
    );
    let (table, missing) = (server.url("/to?/table.csv"), server.url("/missing.csv"));
    let code = format!(
        "import pandas as pd, urllib.error\nprint(pd.read_csv({table:?}).to_dict('list'))\n\
         try:\n    pd.read_csv({missing:?})\nexcept urllib.error.HTTPError as error:\n    print(error.code)"
    );
    let ran =
        tokio::task::spawn_blocking(move || printed(&Gateway::configured(&format!("{POOL}{rule}")), "from-url", &code));
    assert_eq!(ran.await.expect("it does not panic"), "{'a': [1], 'b': [2]}\n404\n");
    assert!(server.asked().iter().any(|asked| asked.line == "GET /table.csv"));
}

/// The names of the packages that the pool tells of, in lower case.
fn packages(gateway: &Gateway) -> Vec<String> {
    let url = format!("{}/metadata", gateway.pool_url("python"));
    let metadata: Value = ureq::get(url).call().unwrap().body_mut().read_json().unwrap();
    let packages = metadata["preInstalledPackages"].as_array().unwrap();
    packages.iter().map(|package| package["name"].as_str().unwrap().to_lowercase()).collect()
}

#[test]
fn the_list_of_packages_is_what_can_be_imported() {
    let Some(gateway) = full() else { return };
    let names = packages(&gateway);
    for wanted in [
        "numpy",
        "pandas",
        "scipy",
        "matplotlib",
        "pillow",
        "lxml",
        "openpyxl",
        "sympy",
        "requests",
        "seaborn",
        "pydantic",
        "pydantic_core",
        "plotly",
        "altair",
        "jsonschema",
        "rpds-py",
        "sqlalchemy",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is missing: {names:?}");
    }
    let code = "import importlib.metadata as m, importlib\n\
                names = set(m.packages_distributions())\n\
                for d in m.distributions(): names.update((d.read_text('top_level.txt') or '').split())\nbad = []\n\
                for n in sorted(names):\n    if n.startswith('_') or not n.isidentifier(): continue\n\
                \x20   try: importlib.import_module(n)\n    except Exception as e: bad.append((n, repr(e)))\nprint(bad)";
    assert_eq!(printed(&gateway, "imports", code), "[]\n");
}

#[derive(Deserialize)]
struct FirstPages {
    package: Vec<FirstPage>,
}

/// What a package's documentation shows first, with what it prints natively.
#[derive(Deserialize)]
struct FirstPage {
    name: String,
    code: String,
    prints: String,
}

#[test]
fn every_package_does_what_its_first_page_shows() {
    let Some(gateway) = full() else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cells/packages.toml");
    let pages: FirstPages = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let shown: BTreeSet<String> = pages.package.iter().map(|page| page.name.to_lowercase()).collect();
    let missing: Vec<_> = packages(&gateway).into_iter().filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "nothing is shown of {missing:?}");
    let mut problems = String::new();
    for (number, page) in pages.package.iter().enumerate() {
        let answer = execute(&gateway, &format!("page-{number}"), &page.code);
        let result = &answer["result"];
        if answer["status"] != "Succeeded" || result["stdout"] != page.prints.as_str() {
            writeln!(problems, "{}: {}: {} {}", page.name, answer["status"], result["stdout"], result["stderr"])
                .unwrap();
        }
    }
    assert!(problems.is_empty(), "{problems}");
}
