//! Sessions in containers go on when the gateway is killed, or stopped, and started again; with the real binary.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandpool::sandbox::container::runtime::{OciBackend, OciSettings};
use sandpool::sandbox::container::{ContainerBackend, Credentials, Note};
use serde_json::{Value, json};

use crate::container_egress::Outside;
use crate::support::containers::{Traces, ask, installed, listening, skip, specification};
use crate::support::images::{Recipe, busybox};

/// The real binary, killed when it is dropped.
pub struct Served {
    child: Child,
    url: String,
}

impl Served {
    /// With `sandpool.toml` in the folder, and its files in `data` beside it.
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(folder.join("sandpool.toml"));
        command.arg("--data-dir").arg(folder.join("data"));
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(folder.join("log")).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}: {}", log())).to_owned();
        Self { child, url }
    }

    /// The body of an answer, or its status where it is no success.
    pub fn get(&self, pool: &str, path: &str) -> String {
        match ureq::get(format!("{}/pools/{pool}{path}", self.url)).call() {
            Ok(mut answer) => answer.body_mut().read_to_string().unwrap(),
            Err(error) => error.to_string(),
        }
    }

    fn json(&self, path: &str) -> Value {
        ureq::get(format!("{}{path}", self.url)).call().expect("an answer").body_mut().read_json().unwrap()
    }

    /// Runs a command in a pool of shells: its status, and what it wrote.
    fn shell(&self, command: &str) -> (String, String) {
        let url = format!("{}/pools/shell/executions?identifier=session&api-version=2025-10-02-preview", self.url);
        let mut answer = ureq::post(url).send_json(json!({"shellCommand": command})).expect("an answer");
        let answer: Value = answer.body_mut().read_json().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&answer["status"]), text(&answer["result"]["stdout"]))
    }

    /// Lines of the records, the oldest first.
    fn records(&self, query: &str) -> Vec<String> {
        let rows = self.json(&format!("/records/{query}&order=oldest&top=1000"));
        let text = |row: &Value| row["Log"].as_str().unwrap().to_owned();
        rows["value"].as_array().unwrap().iter().map(text).collect()
    }

    /// Ends it as an operator does.
    pub fn terminate(mut self) {
        // SAFETY: a plain system call on our own child.
        unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).unwrap(), libc::SIGTERM) };
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a configuration, and what is to be left of it in the end: nothing.
struct Place {
    folder: tempfile::TempDir,
    image: String,
}

impl Place {
    /// None where the machine has no runc.
    fn new() -> Option<Self> {
        if !installed("runc") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = Recipe::app(&["serve"]).layout(&folder.path().join("layout"));
        Some(Self { folder, image })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A pool of the tests' image, with further settings.
    fn pool(&self, name: &str, more: &str) -> String {
        format!(
            "[[container_pool]]\nname = '{name}'\nimage = '{}'\ntarget_port = 8080\nready_session_instances = 1\n\
             resources = {{ memory_mebibytes = 64 }}\ntermination_grace_seconds = 0\n{more}\n",
            self.image
        )
    }

    fn configure(&self, text: &str) {
        fs::write(self.path().join("sandpool.toml"), format!("{text}\n")).unwrap();
    }

    fn traces(&self) -> Traces {
        Traces::of(&self.path().join("data"))
    }

    /// Control groups of containers.
    fn groups(&self) -> BTreeSet<PathBuf> {
        self.traces().cgroups
    }

    /// Shims of this gateway.
    fn shims(&self) -> Vec<i32> {
        let name = crate::support::containers::gateway_name(&self.path().join("data"));
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let is_one = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("sandpool\0shim\0") && line.contains(&name)
        };
        processes.filter_map(number).filter(is_one).collect()
    }

    /// Folders of containers.
    fn containers(&self) -> BTreeSet<PathBuf> {
        let name = crate::support::containers::gateway_name(&self.path().join("data"));
        let folder = Path::new("/run/sandpool").join(name).join("containers");
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Whether so many, or more, stand for a session, or are ready to; and none is just being started.
    fn has_noted(&self, least: usize) -> bool {
        let states = || self.containers().into_iter().map(|folder| fs::read_to_string(folder.join("state/state.json")));
        let noted = states().flatten().filter(|state| state.contains("\"facts\"")).count();
        let others = states().flatten().filter(|state| state.contains("\"beside\":\"")).count();
        noted >= least && noted + others == states().count()
    }

    /// The one that an identifier has.
    fn container_of(&self, identifier: &str) -> PathBuf {
        let has = |folder: &PathBuf| {
            let state = fs::read_to_string(folder.join("state/state.json")).unwrap_or_default();
            state.contains(&format!("\"identifier\":\"{identifier}\""))
        };
        self.containers().into_iter().find(has).expect("there is one")
    }

    fn is_clear(&self) -> bool {
        self.traces().are_none() && self.shims().is_empty()
    }

    /// Starts a gateway whose sessions end with it, has it end, and looks that nothing is left.
    fn end(self) {
        let settings = fs::read_to_string(self.path().join("sandpool.toml")).unwrap().replace("[containers]\n", "");
        self.configure(&format!("[containers]\noutlive_gateway = false\n{settings}"));
        Served::start(self.path()).terminate();
        eventually("nothing is left", || self.is_clear());
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_on_after_their_gateway_was_killed() {
    let Some(place) = Place::new() else { return };
    let Some(outside) = Outside::start().await else { return };
    let Some(shell) = busybox("") else { return skip("busybox", "not installed, or not static") };
    let shell = shell.layout(&place.path().join("shell"));
    let beside = Recipe::app(&["serve", "8081"]).layout(&place.path().join("beside"));
    let (ip, port) = (outside.address.ip(), outside.address.port());
    let settings = [
        place.pool("app", ""),
        place.pool(
            "pair",
            &format!(
                "[[container_pool.sidecar]]\nname = 'helper'\nimage = '{beside}'\nresources = {{ memory_mebibytes = 32 }}"
            ),
        ),
        place.pool(
            "out",
            &format!(
                "[container_pool.egress]\npolicy = 'allow-list'\nallow_private = ['{ip}']\n\
                 allow = [{{ host = '{ip}', port = {port} }}]"
            ),
        ),
        format!(
            "[[container_pool]]\nname = 'shell'\nimage = '{shell}'\ninterpreter = {{ language = 'shell' }}\n\
             termination_grace_seconds = 0\nresources = {{ memory_mebibytes = 64 }}"
        ),
    ]
    .concat();
    place.configure(&settings);
    let story = move || {
        let first = Served::start(place.path());
        let count = |gateway: &Served| -> u64 { gateway.get("app", "/count?identifier=session").parse().unwrap() };
        let ask = |gateway: &Served, to: &str| gateway.get("out", &format!("/ask?{to}&identifier=session"));
        first.get("app", "/tick?50&identifier=session");
        let counted = count(&first);
        eventually("it listens", || first.get("pair", "/get?8081/write?/mine&identifier=session").is_empty());
        assert_eq!(ask(&first, &outside.address.to_string()), "pong to ping");
        assert_eq!(first.shell("echo kept > file; echo done"), ("0".into(), "done\n".into()));
        eventually("all are ready", || place.has_noted(8));
        std::thread::sleep(Duration::from_millis(300));
        eventually("all are ready", || place.has_noted(8));
        let before = place.containers();
        drop(first);
        std::thread::sleep(Duration::from_secs(1));
        let second = Served::start(place.path());
        assert_eq!(place.containers(), before, "the ready ones are there too, and nothing was started");
        assert_eq!(count(&second), counted + 1);
        assert_eq!(second.get("pair", "/get?8081/read?/mine&identifier=session"), "x");
        assert_eq!(ask(&second, &outside.address.to_string()), "pong to ping");
        assert!(ask(&second, "10.0.0.1:80").contains("500"), "what the list does not have stays shut");
        assert_eq!(second.shell("cat file"), ("0".into(), "kept\n".into()));
        // An operator's stop leaves them too.
        std::thread::sleep(Duration::from_millis(300));
        second.terminate();
        std::thread::sleep(Duration::from_millis(300));
        let third = Served::start(place.path());
        assert_eq!(count(&third), counted + 2);
        assert_eq!(place.containers(), before);
        let ticks = || -> Vec<u64> {
            let lines = third.records("console?identifier=session&pool=app");
            lines.iter().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect()
        };
        let so_far = ticks().len();
        eventually("more ticks", || ticks().len() > so_far + 5);
        let ticks = ticks();
        let once: Vec<u64> = (0..ticks.len() as u64).collect();
        assert_eq!(ticks, once, "what was written before, meanwhile and after, all of it once");
        let console = third.json("/pools/app/.management/console?identifier=session");
        assert_eq!(console["value"][0]["text"], "serving on 8080", "what an earlier gateway has seen is shown");
        // A new identifier gets one that was ready before.
        assert_eq!(third.get("app", "/count?identifier=another"), "1");
        assert_eq!(third.records("lifecycle?operation=SessionAdopted").len(), 8);
        assert!(third.records("lifecycle?operation=SessionEnded").is_empty());
        third.terminate();
        place.end();
    };
    tokio::task::spawn_blocking(story).await.unwrap();
}

#[test]
fn one_that_ended_meanwhile_is_told_of_as_any_other() {
    let Some(place) = Place::new() else { return };
    place.configure(&place.pool("app", ""));
    let first = Served::start(place.path());
    assert_eq!(first.get("app", "/count?identifier=session"), "1");
    drop(first);
    let group = place.container_of("session");
    let group = group.file_name().unwrap().to_str().unwrap();
    let path = place.groups().into_iter().find(|path| path.ends_with(group)).unwrap();
    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap().lines() {
        // SAFETY: a plain system call; a process of the container of this test.
        unsafe { libc::kill(pid.parse().unwrap(), libc::SIGKILL) };
    }
    let second = Served::start(place.path());
    eventually("its end is told", || second.records("lifecycle?operation=ContainerExited").len() == 1);
    assert!(second.records("lifecycle?operation=ContainerExited")[0].contains("signal 9"));
    assert_eq!(second.records("lifecycle?operation=SessionEnded").len(), 1);
    assert_eq!(second.get("app", "/count?identifier=session"), "1", "a fresh one");
    second.terminate();
    place.end();
}

#[test]
fn what_cannot_be_taken_over_is_taken_away_and_the_gateway_starts() {
    let Some(place) = Place::new() else { return };
    let pools = |names: &[&str]| names.iter().map(|name| place.pool(name, "")).collect::<String>();
    place.configure(&pools(&["app", "gone", "changed"]));
    let first = Served::start(place.path());
    for (pool, identifier) in
        [("app", "damaged"), ("app", "older"), ("app", "whole"), ("gone", "orphan"), ("changed", "kept")]
    {
        assert_eq!(first.get(pool, &format!("/count?identifier={identifier}")), "1");
    }
    drop(first);
    let folder = |identifier: &str| place.container_of(identifier);
    let (damaged, older, orphan) = (folder("damaged"), folder("older"), folder("orphan"));
    fs::write(damaged.join("state/state.json"), "{\"version\":1,").unwrap();
    let text = fs::read_to_string(older.join("state/state.json")).unwrap();
    fs::write(older.join("state/state.json"), text.replace("\"version\":1", "\"version\":99")).unwrap();
    let changed = place.pool("changed", "env = [{ name = 'NEW', value = 'yes' }]");
    place.configure(&format!("{}{changed}", pools(&["app"])));
    let second = Served::start(place.path());
    for gone in [damaged, older, orphan] {
        assert!(!gone.exists());
        let name = gone.file_name().unwrap().to_owned();
        assert!(!place.groups().iter().any(|path| path.ends_with(&name)));
    }
    assert_eq!(second.get("app", "/count?identifier=whole"), "2");
    assert_eq!(second.get("app", "/count?identifier=damaged"), "1", "a fresh one");
    assert_eq!(second.get("changed", "/count?identifier=kept"), "2", "a session keeps its template");
    assert_eq!(second.get("changed", "/env?NEW&identifier=kept"), "");
    assert_eq!(second.get("changed", "/env?NEW&identifier=newer"), "yes");
    second.terminate();
    place.end();
}

#[test]
fn what_another_runtime_made_is_taken_away() {
    let Some(place) = Place::new().filter(|_| installed("crun")) else { return };
    let with = |runtime: &str| format!("[containers]\nruntime = '{runtime}'\n{}", place.pool("app", ""));
    place.configure(&with("runc"));
    let first = Served::start(place.path());
    assert_eq!(first.get("app", "/count?identifier=session"), "1");
    let session = place.container_of("session");
    drop(first);
    place.configure(&with("crun"));
    let second = Served::start(place.path());
    assert!(!session.exists());
    let name = session.file_name().unwrap().to_owned();
    assert!(!place.groups().iter().any(|path| path.ends_with(&name)));
    assert_eq!(
        second.get("app", "/count?identifier=session"),
        "1",
        "a fresh one, behind the walls that were asked for"
    );
    second.terminate();
    place.end();
}

#[test]
fn a_session_that_is_left_alone_ends_by_itself() {
    let Some(place) = Place::new() else { return };
    let short = "lifecycle = { type = 'timed', cooldown_seconds = 2 }";
    place.configure(&format!("[containers]\nunattended_seconds = 900\n{}", place.pool("app", short)));
    let first = Served::start(place.path());
    assert_eq!(first.get("app", "/count?identifier=session"), "1");
    eventually("two", || place.has_noted(2));
    let session = place.container_of("session");
    drop(first);
    let others = place.containers().len() - 1;
    eventually("its own time was over", || !session.exists());
    eventually("its shim ended", || place.shims().len() == others);
    assert!(others > 0 && place.containers().len() == others, "the ready one waits on");
    let (limit, long) = ("[containers]\nunattended_seconds = 1\n", "");
    place.configure(&format!("{limit}{}", place.pool("app", long)));
    let second = Served::start(place.path());
    assert_eq!(second.get("app", "/count?identifier=session"), "1");
    eventually("a ready one", || place.has_noted(2));
    drop(second);
    eventually("nothing is left though nobody came", || place.is_clear());
}

#[test]
fn time_goes_on_while_no_gateway_runs() {
    let Some(place) = Place::new() else { return };
    place.configure(&place.pool("app", "lifecycle = { type = 'on-container-exit', max_alive_seconds = 6 }"));
    let first = Served::start(place.path());
    assert_eq!(first.get("app", "/count?identifier=session"), "1");
    let began = Instant::now();
    drop(first);
    std::thread::sleep(Duration::from_secs(2));
    let second = Served::start(place.path());
    assert_eq!(second.get("app", "/count?identifier=session"), "2");
    eventually("it is over", || second.records("lifecycle?operation=SessionEnded").len() == 1);
    let lived = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&lived), "{lived:?}");
    second.terminate();
    place.end();
}

#[test]
fn a_shim_that_is_killed_takes_its_session_along() {
    let Some(place) = Place::new() else { return };
    place.configure(&place.pool("app", ""));
    let gateway = Served::start(place.path());
    assert_eq!(gateway.get("app", "/count?identifier=session"), "1");
    let session = place.container_of("session");
    let shim = place.shims().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(session.to_str().unwrap())
    });
    // SAFETY: a plain system call; the shim of this test's container.
    unsafe { libc::kill(shim.unwrap(), libc::SIGKILL) };
    eventually("the session is over", || !session.exists());
    assert_eq!(gateway.get("app", "/count?identifier=session"), "1", "a fresh one");
    gateway.terminate();
    place.end();
}

/// Part of what a backend must do whose containers outlive the gateway; apart from the others, since the backend itself goes.
async fn a_container_that_is_left_is_adopted(engine: &str) {
    if !installed(engine) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        let program = env!("CARGO_BIN_EXE_sandpool").into();
        let settings = OciSettings { runtime: Some(engine.into()), program, ..OciSettings::default() };
        Arc::new(OciBackend::open(&settings, folder.path()).await.unwrap_or_else(|error| panic!("{}", error.told())))
    };
    let backend = open().await;
    let image = Recipe::app(&["serve"]).layout(&folder.path().join("layout")).parse().unwrap();
    let image = backend.prepare_image(&image, &Credentials::Anonymous).await.unwrap();
    let first = backend.create(&specification(), &image).await.unwrap();
    let mut other = specification();
    other.args = vec!["serve".into(), "8081".into()];
    let beside = first.beside(&other, &image).await.unwrap();
    let forgotten = backend.create(&specification(), &image).await.unwrap();
    for container in [&first, &beside, &forgotten] {
        container.start().await.unwrap();
    }
    listening(&*first).await;
    assert_eq!(ask(&*first, "/write?/mark").await.0, 200);
    first.note(&Note { facts: json!("mine"), ends_at: None }).await.unwrap();
    let ids = (first.id().clone(), beside.id().clone(), forgotten.id().clone());
    for container in [&first, &beside, &forgotten] {
        container.leave().await.unwrap();
    }
    drop((first, beside, forgotten, backend));
    let backend = open().await;
    let left = backend.left();
    assert!(!Traces::of(folder.path()).cgroups.iter().any(|path| path.ends_with(ids.2.as_str())));
    assert_eq!((left.len(), &left[0].id, &left[0].facts), (1, &ids.0, &json!("mine")));
    let first = backend.adopt(&ids.0, None).await.unwrap();
    let beside = backend.adopt(&ids.1, None).await.unwrap();
    assert!(backend.adopt(&ids.0, None).await.is_err(), "it has its owner");
    assert_eq!(backend.clear().await.unwrap(), 0, "the one that nobody made a note on is gone already");
    assert_eq!(first.id(), &ids.0);
    assert_eq!(ask(&*first, "/read?/mark").await, (200, "x".into()));
    assert_eq!(ask(&*first, "/get?8081/hello").await, (200, "hello".into()));
    assert_eq!(first.exit(), None);
    let text = |container: &dyn sandpool::sandbox::container::Container| container.console().lines().0;
    crate::support::http::eventually("what it had written", async || text(&*first).len() == 1).await;
    assert_eq!(text(&*first)[0].text, "serving on 8080");
    let _ = ask_and_forget(&*first).await;
    assert_eq!(first.exited().await.code, Some(7));
    first.destroy().await.unwrap();
    beside.destroy().await.unwrap();
    drop((first, beside, backend));
    eventually("nothing is left", || Traces::of(folder.path()).are_none());
}

/// Has it exit, which it does without an answer.
async fn ask_and_forget(container: &dyn sandpool::sandbox::container::Container) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = container.connect(8080).await?;
    stream.write_all(b"GET /exit?7 HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_left_is_adopted_with_runc() {
    a_container_that_is_left_is_adopted("runc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_left_is_adopted_with_crun() {
    a_container_that_is_left_is_adopted("crun").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_left_is_adopted_with_runsc() {
    a_container_that_is_left_is_adopted("runsc").await;
}
