//! `sandpool exec`, `session fork` and `interpreter list`, as a terminal user meets them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::gateway::Gateway;

fn sandpool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn exec(arguments: &[&str]) -> Output {
    sandpool(&["exec", "--url", Gateway::shared().url()]).args(arguments).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn output_and_the_last_value_are_printed() {
    let ran = exec(&["import sys\nprint('out')\nprint('err', file=sys.stderr)\n{'a': 1}"]);
    assert_eq!((text(&ran.stdout), text(&ran.stderr)), ("out\n{'a': 1}\n".into(), "err\n".into()));
    assert_eq!(ran.status.code(), Some(0));
}

#[test]
fn code_that_fails_is_told_on_stderr_and_by_the_exit_status() {
    let ran = exec(&["1/0"]);
    assert!(text(&ran.stderr).contains("ZeroDivisionError: division by zero"), "{ran:?}");
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn a_named_session_stays_and_one_without_a_name_is_fresh() {
    exec(&["--session", "command-line", "kept = 5"]);
    assert_eq!(text(&exec(&["--session", "command-line", "kept"]).stdout), "5\n");
    assert_eq!(exec(&["kept"]).status.code(), Some(1));
}

#[test]
fn code_comes_from_a_file_or_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script.py");
    std::fs::write(&file, "print('from a file')").unwrap();
    assert_eq!(text(&exec(&["-f", file.to_str().unwrap()]).stdout), "from a file\n");
    let mut child = sandpool(&["exec", "--url", Gateway::shared().url(), "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"print('from stdin')").unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "from stdin\n");
}

#[test]
fn what_cannot_be_done_is_said_with_another_status() {
    let no_pool = exec(&["--pool", "nowhere", "1"]);
    assert_eq!(no_pool.status.code(), Some(2));
    assert!(text(&no_pool.stderr).contains("no session pool"), "{no_pool:?}");
    let nobody = sandpool(&["exec", "--url", "http://127.0.0.1:1", "1"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2));
}

#[test]
fn interpreters_are_listed_with_their_packages() {
    Gateway::shared();
    let listed = sandpool(&["interpreter", "list", "--packages"]).output().unwrap();
    let listed = text(&listed.stdout);
    assert!(listed.contains("python (base)\tpython 3.13"), "{listed}");
    assert!(listed.contains("python (full)\tpython 3.13"), "{listed}");
    assert!(listed.contains("ipython "), "{listed}");
}

#[test]
fn a_session_is_forked() {
    exec(&["--session", "fork-parent", "kept = 5"]);
    let forked = sandpool(&["session", "fork", "--url", Gateway::shared().url(), "fork-parent", "fork-1", "fork-2"]);
    let forked = { forked }.output().expect("the binary starts");
    assert_eq!(text(&forked.stdout), "fork-1\nfork-2\n", "{forked:?}");
    assert_eq!(text(&exec(&["--session", "fork-2", "kept"]).stdout), "5\n");
    let unknown = sandpool(&["session", "fork", "--url", Gateway::shared().url(), "nobody", "fork-3"]).output();
    let unknown = unknown.expect("the binary starts");
    assert!(text(&unknown.stderr).contains("no session"), "{unknown:?}");
    assert_eq!(unknown.status.code(), Some(2));
}
