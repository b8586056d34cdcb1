//! The console in a real browser: a key is asked for, code runs, what it shows is shown and reaches nothing.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::support::http::gateway;

const KEY: &str = "a-key-for-the-console";

/// HTML that tries to get out: at the page, at its key, at the network.
const HOSTILE: &str = r#"
from IPython.display import display, HTML
display(HTML('''<p id=shown>rich</p><script>
  let got = [];
  try { got.push(parent.document.title) } catch { got.push("no page") }
  try { got.push(sessionStorage.getItem("sandpool-key")) } catch { got.push("no storage") }
  try { parent.document.title = "owned" } catch {}
  fetch("/pools").then(() => got.push("network"), () => got.push("no network")).then(() => {
    document.getElementById("shown").textContent = got.join();
    document.body.style.height = got.join() === "no page,no storage,no network" ? "321px" : "123px";
  });
</script>'''))
print('<img src=x onerror="document.title = 1">')
"#;

#[test]
fn somebody_with_a_key_runs_code_and_sees_what_happened() {
    let Some(mut browser) = Browser::start() else { return };
    let gateway = Gateway::configured(&format!(
        "keys = ['{KEY}']\n[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 2"
    ));
    browser.go(&format!("{}/console", gateway.url()));
    browser.until("document.getElementById('ask')?.open === true");
    browser.value(&format!(
        "document.getElementById('ask-key').value = '{KEY}'; document.querySelector('#ask button.main').click()"
    ));
    browser.until(
        "document.querySelector('h1')?.textContent === 'Overview' && document.body.innerText.includes('python')",
    );
    // The page asked for several things before it had a key.
    browser.complaints.retain(|complaint| !complaint.contains("401"));
    let paint = browser.value("performance.getEntriesByName('first-contentful-paint')[0]?.startTime");
    println!("first contentful paint: {paint} ms");

    browser.value("location.hash = '#/notebook'");
    browser.until("document.querySelector('.cell textarea') !== null");
    run(&mut browser, "import sys\nprint(6 * 7)\nprint('bad', file=sys.stderr)\n1/0");
    browser.until("document.querySelector('.output').innerText.includes('ZeroDivisionError')");
    assert_eq!(browser.value("document.querySelector('.output pre.stdout').textContent"), "42\n");
    assert_eq!(browser.value("document.querySelector('.output pre.stderr').textContent"), "bad\n");

    run(&mut browser, HOSTILE);
    // The frame tells its height, and with it what it could reach: nothing.
    browser.until("parseInt(document.querySelector('.output iframe')?.style.height) >= 321");
    assert_eq!(browser.value("document.querySelector('.output iframe').getAttribute('sandbox')"), "allow-scripts");
    assert_eq!(browser.value("document.title"), "Notebook – Sandpool");
    // It asked and was refused by its policy, which the browser tells: that is all it may complain of.
    browser.complaints.retain(|complaint| !complaint.contains("frame.html") && !complaint.contains("/pools"));

    let labelled = "[...document.querySelectorAll('input, select, textarea')].every((each) => each.labels?.length || each.ariaLabel)";
    assert_eq!(browser.value(labelled), true);
    let pages = [
        ("sessions", "console-"),
        ("executions", "finished"),
        ("logs", "42"),
        ("audit", "Execute"),
        ("", "running code"),
    ];
    for (page, words) in pages {
        browser.value(&format!("location.hash = '#/{page}'"));
        browser.until(&format!("document.querySelector('main').innerText.includes('{words}')"));
        assert_eq!(browser.value(labelled), true, "{page}");
    }
    browser.value("location.hash = '#/sessions'");
    browser.until("document.querySelector('main button[aria-label^=Stop]') !== null");
    browser.value("document.querySelector('main button[aria-label^=Stop]').click()");
    browser.until("document.querySelector('main').innerText.includes('No session is active')");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);

    if let Some(file) = std::env::var_os("SANDPOOL_SCREENSHOT") {
        screenshot(&mut browser, file.as_ref());
    }
}

/// Puts code into the first cell and runs it.
fn run(browser: &mut Browser, code: &str) {
    let code = Value::from(code);
    browser.value(&format!(
        "document.querySelector('.cell textarea').value = {code}; document.querySelector('.cell button').click()"
    ));
}

/// The picture of the README: `SANDPOOL_SCREENSHOT=file cargo test --release console`.
fn screenshot(browser: &mut Browser, file: &std::path::Path) {
    browser.value("location.hash = '#/notebook'");
    browser.until("document.querySelector('.cell textarea') !== null");
    run(
        browser,
        "from IPython.display import HTML\nsquares = {n: n * n for n in range(1, 7)}\nprint(sum(squares.values()))\n\
                  HTML('<table><tr>' + ''.join(f'<th>{n}' for n in squares) + '<tr>' + ''.join(f'<td>{n}' for n in squares.values()) + '</table>')",
    );
    browser.until("parseInt(document.querySelector('.output iframe')?.style.height) > 40");
    std::fs::write(file, browser.screenshot()).expect("the file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_have_a_policy_and_are_in_the_contract() {
    let gateway = gateway().await;
    let page = gateway.get("/console").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Everything that a file of the page names is there.
    let files = [
        "",
        "/app.js",
        "/api.js",
        "/dom.js",
        "/output.js",
        "/overview.js",
        "/notebook.js",
        "/records.js",
        "/frame.html",
    ];
    for file in files {
        let answer = gateway.get(&format!("/console{file}")).await;
        assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")), "{file}");
        let text = answer.text();
        for named in text.split(['"']).filter_map(|part| part.strip_prefix("./").or(part.strip_prefix("/console/"))) {
            assert_eq!(gateway.get(&format!("/console/{named}")).await.status, 200, "{file} names {named}");
        }
    }
    let frame = gateway.get("/console/frame.html").await;
    let policy = frame.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox allow-scripts;") && !policy.contains("connect-src"), "{policy}");
    for missing in ["/console/../Cargo.toml", "/console/nothing.js", "/console/%2e%2e/secret"] {
        assert_eq!(gateway.get(missing).await.json()["error"]["code"], json!("RouteNotFound"), "{missing}");
    }
}
