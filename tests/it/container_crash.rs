//! A gateway that is killed leaves its containers running; the next one with its data folder ends them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::containers::{Traces, gateway_name, installed};
use crate::support::engines;
use crate::support::images::Recipe;

/// The real binary, killed when it is dropped.
struct Killed {
    child: Child,
    url: String,
}

impl Killed {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(folder.join("sandpool.toml"));
        command.arg("--data-dir").arg(folder.join("data"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, url }
    }

    fn hello(&self, identifier: &str) -> String {
        let url = format!("{}/pools/app/hello?identifier={identifier}", self.url);
        ureq::get(url).call().expect("an answer").body_mut().read_to_string().unwrap()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes of the tests' program, by the folder of the gateway in their control groups.
fn groups(folder: &Path) -> BTreeSet<PathBuf> {
    Traces::of(&folder.join("data")).cgroups
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_killed_gateway_left_is_ended_by_the_next() {
    for runtime in ["runc", "runsc"].into_iter().filter(|runtime| installed(runtime)) {
        killed_and_followed(runtime);
    }
}

fn killed_and_followed(runtime: &str) {
    let folder = tempfile::tempdir().unwrap();
    let image = Recipe::app(&["serve"]).layout(&folder.path().join("layout"));
    let settings = format!(
        "[containers]\nruntime = '{runtime}'\n\
         [[container_pool]]\nname = 'app'\nimage = '{image}'\ntarget_port = 8080\nready_session_instances = 2\n\
         resources = {{ memory_mebibytes = 64 }}\ntermination_grace_seconds = 0\n"
    );
    fs::write(folder.path().join("sandpool.toml"), settings).unwrap();
    let first = Killed::start(folder.path());
    assert_eq!(first.hello("session"), "hello");
    drop(first);
    let left = groups(folder.path());
    assert!(!left.is_empty(), "a killed gateway cannot take its containers along");
    let mut second = Killed::start(folder.path());
    assert!(groups(folder.path()).is_disjoint(&left), "the containers of the first are there");
    assert_eq!(second.hello("session"), "hello");
    // One that is asked to end takes all along.
    // SAFETY: a plain system call on our own child.
    unsafe { libc::kill(libc::pid_t::try_from(second.child.id()).unwrap(), libc::SIGTERM) };
    assert!(second.child.wait().unwrap().success());
    eventually("nothing is left", || Traces::of(&folder.path().join("data")).are_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_left_in_docker_is_ended_by_the_next() {
    let Some(engine) = engines::engine("docker") else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = Recipe::app(&["serve"]).layout(&folder.path().join("layout"));
    let settings = format!(
        "[containers.docker]\nsocket = '{}'\n[[container_pool]]\nname = 'app'\nimage = '{image}'\ntarget_port = 8080\n\
         ready_session_instances = 1\nresources = {{ memory_mebibytes = 64 }}\ntermination_grace_seconds = 0\n\
         read_only = true\n",
        engine.socket.display()
    );
    fs::write(folder.path().join("sandpool.toml"), settings).unwrap();
    let first = Killed::start(folder.path());
    assert_eq!(first.hello("session"), "hello");
    drop(first);
    let name = gateway_name(&folder.path().join("data"));
    assert!(engine.containers(Some(&name)).await > 0, "a killed gateway cannot take its containers along");
    // It has none ready of its own as soon as it listens, and the identifier's was the first one's.
    fs::write(
        folder.path().join("sandpool.toml"),
        format!("[containers.docker]\nsocket = '{}'\n", engine.socket.display()),
    )
    .unwrap();
    let mut second = Killed::start(folder.path());
    assert_eq!(engine.containers(Some(&name)).await, 0, "the containers of the first are there");
    // SAFETY: a plain system call on our own child.
    unsafe { libc::kill(libc::pid_t::try_from(second.child.id()).unwrap(), libc::SIGTERM) };
    assert!(second.child.wait().unwrap().success());
}

#[test]
fn two_gateways_do_not_share_a_data_folder() {
    if !installed("runc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("sandpool.toml"),
        "[containers]\n[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 0\n",
    )
    .unwrap();
    let first = Killed::start(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(folder.path().join("sandpool.toml"));
    let second = command.arg("--data-dir").arg(folder.path().join("data")).output().unwrap();
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("another gateway"), "{told}");
    drop(first);
}
