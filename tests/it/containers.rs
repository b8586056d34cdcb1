//! What every container backend must do: one suite, run against each that the machine has.
//!
//! A backend that is not there is passed over with a printed reason; `SANDPOOL_TEST_REQUIRE_BACKENDS=1` makes that a
//! failure.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sandpool::sandbox::container::{ContainerError, ContainerSpecification, Stream};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::container_egress::{a_way_out_leads_where_it_may, names_open_what_they_lead_to};
use crate::support::containers::{Backend, ask, ask_at, listening, specification};
use crate::support::http::eventually;
use crate::support::images::{Recipe, layer};

/// Runs a story against a backend, and looks that nothing is left of it.
async fn with(engine: &'static str, story: impl AsyncFnOnce(&Backend)) {
    let Some(backend) = Backend::open(engine).await else { return };
    let leftovers = backend.leftovers();
    story(&backend).await;
    let Backend { backend, folder: kept, .. } = backend;
    eventually("nothing left behind", async || leftovers.are_none().await).await;
    drop((backend, kept));
}

/// The suite, as tests of one engine.
macro_rules! contract {
    ($module:ident, $engine:literal: $($test:ident),* $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::with($engine, super::$test).await;
            })*
        }
    };
    ($($test:ident),* $(,)?) => {
        contract!(runc, "runc": $($test),*);
        contract!(crun, "crun": $($test),*);
        contract!(runsc, "runsc": $($test),*);
        contract!(docker, "docker": $($test),*);
        contract!(podman, "podman": $($test),*);
    };
}

contract!(
    a_container_answers_on_its_port,
    a_container_is_shut_in,
    nothing_of_the_network_is_reached,
    containers_do_not_see_each_other,
    output_comes_apart_and_whole,
    ends_are_told_as_they_were,
    limits_hold,
    a_first_process_that_ignores_sigterm_is_killed,
    a_frozen_container_waits_and_goes_on,
    command_environment_user_and_folder_are_as_told,
    a_read_only_root_is_read_only,
    a_dropped_container_goes_away,
    what_cannot_run_is_told_and_leaves_nothing,
    many_at_once,
    a_way_out_leads_where_it_may,
    names_open_what_they_lead_to,
    a_container_beside_another_shares_its_network_alone,
);

async fn a_container_answers_on_its_port(backend: &Backend) {
    let container = backend.serving(|_| ()).await;
    assert_eq!(ask(&*container, "/hello").await, (200, "hello".into()));
    let refused = container.connect(8081).await.err().expect("nobody listens there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(container.exit(), None);
    container.destroy().await.unwrap();
    container.destroy().await.unwrap();
    assert!(container.exited().await.signal == Some(libc::SIGKILL));
    assert!(container.connect(8080).await.is_err());
}

async fn a_container_is_shut_in(backend: &Backend) {
    let mut recipe = Recipe::app(&["serve"]);
    recipe.layers.push(layer(&[("data/shared", 0o644, b"x")]));
    let image = backend.prepare(&recipe).await;
    let serving = async || {
        let container = backend.create(&image, |_| ()).await;
        container.start().await.unwrap();
        listening(&*container).await;
        container
    };
    let container = serving().await;
    let (_, status) = ask(&*container, "/id").await;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "0 0 0 0", "its root, within");
    for capabilities in ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    if backend.has_kernel() {
        // What its kernel says of itself is its own; these are the walls around that kernel.
        let processes = backend.processes(container.id());
        assert!(!processes.is_empty());
        for process in processes {
            let of_it = |name: &str| {
                let line = process.lines().find(|line| line.starts_with(name)).unwrap_or_default();
                line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!((of_it("NoNewPrivs:"), of_it("Seccomp:")), (vec!["1".into()], vec!["2".into()]), "{process}");
            assert!(of_it("Uid:").iter().all(|uid| uid.parse::<u32>().unwrap() >= 1 << 20), "{process}");
        }
    } else {
        assert_eq!(field("CapAmb:"), "0000000000000000");
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    }
    if backend.backend.report().enforced.user_namespace {
        let map = backend.numbers(&*container).await;
        assert!(map[0] == 0 && map[1] >= 1 << 20 && map[2] == 65_536, "its root is nobody outside: {map:?}");
    }
    for (path, what) in [
        ("/write?/proc/sys/kernel/hostname", "the kernel's settings"),
        ("/write?/proc/sysrq-trigger", "the machine's reset"),
        ("/read?/dev/kmsg", "the kernel's log"),
        ("/read?/sys/kernel/uevent_seqnum", "sysfs"),
    ] {
        assert_eq!(ask(&*container, path).await.0, 500, "{what}");
    }
    let (status, memory) = ask(&*container, "/read?/proc/kcore").await;
    assert!(status == 500 || memory.is_empty(), "the machine's memory");
    // The image is shared, and what a container writes is its own.
    assert_eq!(ask(&*container, "/write?/data/own").await.0, 200);
    let other = serving().await;
    assert_eq!(ask(&*other, "/read?/data/own").await.0, 500);
    other.destroy().await.unwrap();
    container.destroy().await.unwrap();
}

async fn nothing_of_the_network_is_reached(backend: &Backend) {
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let container = backend.serving(|_| ()).await;
    let mut addresses: BTreeSet<String> =
        ["127.0.0.1", "169.254.169.254", "168.63.129.16", "10.0.0.1", "93.184.215.14"].map(String::from).into();
    // The machine's own address, where it has one.
    let asked =
        std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket));
    addresses.extend(asked.and_then(|socket| socket.local_addr()).map(|address| address.ip().to_string()));
    for address in addresses {
        let began = Instant::now();
        let (status, text) = ask(&*container, &format!("/reach?{address}:{port}")).await;
        assert_eq!(status, 500, "{address}: {text}");
        assert!(began.elapsed() < Duration::from_secs(2), "{address} is refused at once");
    }
    assert_eq!(ask(&*container, "/reach?example.com:80").await.0, 500, "no names");
    assert_eq!(ask(&*container, "/reach?[::1]:8080").await.0, 500);
    assert_eq!(ask(&*container, "/reach?127.0.0.1:8080").await, (200, "reached".into()), "its own loopback is its own");
    host.set_nonblocking(true).unwrap();
    assert!(host.accept().is_err(), "something came");
    container.destroy().await.unwrap();
}

async fn containers_do_not_see_each_other(backend: &Backend) {
    let one = backend.serving(|_| ()).await;
    let other = backend.serving(|_| ()).await;
    let hidden = backend.create(&backend.image(&["serve", "8081"]).await, |_| ()).await;
    hidden.start().await.unwrap();
    eventually("listening", async || hidden.connect(8081).await.is_ok()).await;
    assert_eq!(ask(&*one, "/reach?127.0.0.1:8081").await.0, 500);
    if backend.backend.report().enforced.user_namespace {
        assert_ne!(backend.numbers(&*one).await, backend.numbers(&*other).await, "two containers share numbers");
    }
    hidden.destroy().await.unwrap();
    other.destroy().await.unwrap();
    one.destroy().await.unwrap();
}

async fn output_comes_apart_and_whole(backend: &Backend) {
    let image = backend.image(&["print"]).await;
    let container = backend.create(&image, |_| ()).await;
    assert_eq!(container.console().lines().0, [], "it was not started");
    container.start().await.unwrap();
    assert_eq!(container.exited().await.code, Some(0));
    eventually("two lines", async || container.console().lines().0.len() == 2).await;
    let mut lines: Vec<_> = container.console().lines().0.into_iter().map(|line| (line.stream, line.text)).collect();
    lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(lines, [(Stream::Stdout, "to stdout".into()), (Stream::Stderr, "to stderr".into())]);
    container.destroy().await.unwrap();
}

async fn ends_are_told_as_they_were(backend: &Backend) {
    let image = backend.image(&[]).await;
    for code in [0, 7, 255] {
        let container = backend.create(&image, |s| s.args = vec!["exit".into(), code.to_string()]).await;
        container.start().await.unwrap();
        let exit = container.exited().await;
        assert_eq!((exit.code, exit.signal, exit.out_of_memory), (Some(code), None, false));
        assert_eq!(container.exit(), Some(exit));
        container.destroy().await.unwrap();
    }
}

async fn limits_hold(backend: &Backend) {
    let container = backend.serving(|s| s.resources.pids = 40).await;
    let made: u32 = ask(&*container, "/fork?200").await.1.parse().unwrap();
    assert!((10..40).contains(&made), "{made} threads of 200");
    if backend.backend.report().enforced.disk {
        assert_eq!(ask(&*container, "/fill?4").await.0, 200);
        let (status, text) = ask(&*container, "/fill?9").await;
        assert_eq!(status, 500, "9 MiB of 8: {text}");
        assert!(text.contains("space"), "{text}");
    }
    assert_eq!(ask(&*container, "/hello").await.0, 200, "it lives on");
    // More than its memory: the kernel ends it, and says so.
    let mut stream = container.connect(8080).await.unwrap();
    stream.write_all(b"GET /eat?200 HTTP/1.1\r\n\r\n").await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(30), container.exited()).await.unwrap();
    assert_eq!((exit.signal, exit.out_of_memory), (Some(libc::SIGKILL), true));
    container.destroy().await.unwrap();
}

async fn a_first_process_that_ignores_sigterm_is_killed(backend: &Backend) {
    for command in ["sleep", "ignore"] {
        let image = backend.image(&[command]).await;
        let container = backend.create(&image, |_| ()).await;
        container.start().await.unwrap();
        eventually("it runs", async || !container.console().lines().0.is_empty() || command == "sleep").await;
        let exit = container.stop(Duration::from_millis(200)).await.unwrap();
        // To be the first process is no protection by itself where the kernel is gVisor's.
        let expected = if backend.has_kernel() && command == "sleep" { libc::SIGTERM } else { libc::SIGKILL };
        assert_eq!(exit.signal, Some(expected), "{command}");
        assert!(!exit.out_of_memory);
        container.destroy().await.unwrap();
    }
}

async fn a_frozen_container_waits_and_goes_on(backend: &Backend) {
    if !backend.backend.report().enforced.freeze {
        return eprintln!("skipped: {}: this machine cannot freeze", backend.engine);
    }
    let container = backend.serving(|_| ()).await;
    container.set_frozen(true).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(300), ask(&*container, "/hello")).await;
    assert!(answered.is_err(), "a frozen container answered");
    container.set_frozen(false).await.unwrap();
    assert_eq!(ask(&*container, "/hello").await.0, 200);
    // One that is frozen is taken away all the same.
    container.set_frozen(true).await.unwrap();
    container.destroy().await.unwrap();
}

async fn command_environment_user_and_folder_are_as_told(backend: &Backend) {
    let passwd = layer(&[("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")]);
    let mut recipe = Recipe::app(&["serve"]);
    recipe.layers.push(passwd);
    recipe.config["User"] = json!("app");
    recipe.config["Env"] = json!(["FROM_IMAGE=yes", "BOTH=image"]);
    let image = backend.prepare(&recipe).await;
    let container = backend
        .create(&image, |s| {
            s.environment = [("BOTH".to_owned(), "pool".to_owned()), ("SECRET".to_owned(), "x".to_owned())].into();
        })
        .await;
    container.start().await.unwrap();
    listening(&*container).await;
    for (name, value) in [("FROM_IMAGE", "yes"), ("BOTH", "pool"), ("SECRET", "x"), ("HOME_OF_THE_GATEWAY", "")] {
        assert_eq!(ask(&*container, &format!("/env?{name}")).await.1, value, "{name}");
    }
    let (_, environment) = ask(&*container, "/read?/proc/self/environ").await;
    // The engines add words of their own.
    let known = ["", "FROM_IMAGE", "BOTH", "SECRET", "PATH", "HOME", "HOSTNAME", "TERM", "container"];
    let names: BTreeSet<_> = environment.split('\0').filter_map(|pair| pair.split('=').next()).collect();
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    let (_, status) = ask(&*container, "/id").await;
    assert!(status.contains("Uid:\t1000") && status.contains("Gid:\t1001"), "{status}");
    assert_eq!(ask(&*container, "/read?/proc/sys/kernel/hostname").await.1.trim(), "session");
    container.destroy().await.unwrap();
}

async fn a_read_only_root_is_read_only(backend: &Backend) {
    let container = backend.serving(|s| s.read_only = true).await;
    let (status, text) = ask(&*container, "/write?/x").await;
    assert_eq!(status, 500, "{text}");
    assert_eq!(ask(&*container, "/write?/tmp/x").await.0, 200);
    assert_eq!(ask(&*container, "/fill-tmp?4").await.0, 200);
    let (status, text) = ask(&*container, "/fill-tmp?9").await;
    assert_eq!(status, 500, "9 MiB of 8: {text}");
    container.destroy().await.unwrap();
}

async fn a_dropped_container_goes_away(backend: &Backend) {
    let container = backend.serving(|_| ()).await;
    let leftovers = backend.leftovers();
    assert!(!leftovers.are_none().await);
    drop(container);
    eventually("it went", async || leftovers.are_none().await).await;
}

async fn what_cannot_run_is_told_and_leaves_nothing(backend: &Backend) {
    let image = backend.image(&[]).await;
    let mut wanted = specification();
    wanted.command = vec!["/not/there".into()];
    // Some engines notice when it is made, some when it is started.
    let problem = match backend.backend.create(&wanted, &image).await {
        Err(error) => error,
        Ok(container) => container.start().await.expect_err("there is no such program"),
    };
    assert!(
        matches!(problem, ContainerError::Failed { .. }) && problem.told().contains("not/there"),
        "{}",
        problem.told()
    );
    let silent = backend.prepare(&Recipe { layers: vec![layer(&[])], config: json!({}) }).await;
    let nothing = backend.backend.create(&specification(), &silent).await.err().expect("it says nothing to run");
    assert!(matches!(nothing, ContainerError::Unsupported(_)), "{nothing}");
    let leftovers = backend.leftovers();
    eventually("nothing is left", async || leftovers.are_none().await).await;
}

async fn a_container_beside_another_shares_its_network_alone(backend: &Backend) {
    let first = backend.create(&backend.image(&["serve"]).await, |_| ()).await;
    let beside = first.beside(&specification(), &backend.image(&["serve", "8081"]).await).await;
    if matches!(backend.backend.report().engine.as_str(), "docker" | "podman") {
        assert!(matches!(beside, Err(ContainerError::Unsupported(_))), "engines are not asked for sidecars");
        let shell = ContainerSpecification { agent: true, ..specification() };
        let refused = backend.backend.create(&shell, &backend.image(&["serve"]).await).await.err();
        assert!(matches!(refused, Some(ContainerError::Unsupported(_))), "nor given the agent");
        return first.destroy().await.unwrap();
    }
    let beside = beside.unwrap_or_else(|error| panic!("{}", error.told()));
    first.start().await.unwrap();
    beside.start().await.unwrap();
    listening(&*first).await;
    eventually("both listen", async || first.connect(8081).await.is_ok()).await;
    assert_eq!(ask(&*first, "/reach?127.0.0.1:8081").await, (200, "reached".into()));
    assert_eq!(ask(&*first, "/reach?192.0.2.1:80").await.0, 500, "and there is no way out");
    assert_eq!(ask(&*first, "/write?/own").await.0, 200);
    assert_eq!(ask_at(&*beside, 8081, "/read?/own").await.0, 500, "its files are its own");
    assert_eq!(ask_at(&*beside, 8081, "/read?/proc/2/status").await.0, 500, "its processes too");
    assert_ne!(backend.numbers(&*first).await, backend.numbers_at(&*beside, 8081).await, "and its users");
    let capabilities = ask_at(&*beside, 8081, "/id").await.1;
    assert!(capabilities.contains("CapBnd:\t0000000000000000"), "{capabilities}");
    // Each ends by itself.
    let mut stream = beside.connect(8081).await.unwrap();
    stream.write_all(b"GET /exit?7 HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(beside.exited().await.code, Some(7));
    assert_eq!(ask(&*first, "/hello").await.0, 200);
    beside.destroy().await.unwrap();
    first.destroy().await.unwrap();
}

async fn many_at_once(backend: &Backend) {
    let image = backend.image(&["serve"]).await;
    let one = async || {
        let container = backend.create(&image, |_| ()).await;
        container.start().await.unwrap();
        listening(&*container).await;
        assert_eq!(ask(&*container, "/hello").await.0, 200);
        container
    };
    let all = futures_util::future::join_all((0..12).map(|_| one())).await;
    let ids: BTreeSet<_> = all.iter().map(|container| container.id().clone()).collect();
    assert_eq!(ids.len(), 12);
    futures_util::future::join_all(all.iter().map(|container| async { container.destroy().await.unwrap() })).await;
}
