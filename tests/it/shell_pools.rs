//! Pools of containers that run what callers send: shells, and programs in any image. Over HTTP, in real containers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use sandpool::access::Access;
use sandpool::api::contract::{Seen, check_response};
use sandpool::records::Records;
use sandpool::sandbox::container::image::builtin;
use sandpool::sandbox::container::runtime::OciSettings;
use sandpool::sandbox::container::{Credentials, ImageReference};
use serde_json::{Value, json};

use crate::support::container_pools::PoolGateway;
use crate::support::containers::{Backend, installed, runtime, skip};
use crate::support::http::eventually;
use crate::support::images::busybox;
use crate::support::managed::{GROUP, Managed};

const SHELL: &str = "interpreter = { language = 'shell' }";

/// A pool with the tests' own small system. None where the machine has no runc or no busybox.
async fn pool(user: &str, settings: &str) -> Option<PoolGateway> {
    pool_on(runtime(), user, settings).await
}

/// The same on another engine.
pub async fn pool_on(engine: &'static str, user: &str, settings: &str) -> Option<PoolGateway> {
    let backend = Backend::open(engine).await?;
    let Some(recipe) = busybox(user) else {
        skip("busybox", "not installed, or not static (apt-get install busybox-static)");
        return None;
    };
    let image = recipe.layout(&backend.folder.path().join("layout"));
    let text =
        format!("name = 'app'\nimage = '{image}'\nresources = {{ memory_mebibytes = 96, pids = 64 }}\n{settings}");
    Some(PoolGateway::specified(backend, &text, Access::open(), &Records::off()).await)
}

/// An answer, checked against the contract.
async fn ask(gateway: &PoolGateway, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, Bytes) {
    let request = gateway.request(method, path).header("content-type", kind);
    let response = gateway.send(request.body(Full::new(Bytes::from(body))).unwrap()).await;
    let status = response.status().as_u16();
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().expect("text").to_owned())
    };
    let headers: Vec<_> = response.headers().iter().map(header).collect();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    let path = format!("/pools/app{}", path.split('?').next().unwrap());
    let seen = Seen { method, path: &path, status, headers: &headers, body: &body };
    check_response(seen).unwrap_or_else(|problem| panic!("{problem}: {}", String::from_utf8_lossy(&body)));
    (status, body)
}

async fn post(gateway: &PoolGateway, path: &str, body: Value) -> (u16, Value) {
    let (status, body) = ask(gateway, "POST", path, "application/json", body.to_string().into_bytes()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

/// Runs a command in `session-1`: its exit code, what it wrote, and the whole answer.
async fn run(gateway: &PoolGateway, command: &str) -> (String, String, Value) {
    run_in(gateway, "session-1", command).await
}

/// The same in any session.
pub async fn run_in(gateway: &PoolGateway, identifier: &str, command: &str) -> (String, String, Value) {
    let path = format!("/executions?identifier={identifier}");
    let (status, answer) = post(gateway, &path, json!({"shellCommand": command})).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&answer["status"]), text(&answer["result"]["stdout"]), answer)
}

async fn upload(gateway: &PoolGateway, path: &str, name: &str, content: &[u8]) -> (u16, Value) {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
    let (status, body) = ask(gateway, "POST", path, "multipart/form-data; boundary=b", body).await;
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_its_exit_code_and_its_streams_apart() {
    let Some(gateway) = pool("", SHELL).await else { return };
    let (code, out, answer) = run(&gateway, "echo out; echo err >&2; exit 3").await;
    assert_eq!((code.as_str(), out.as_str()), ("3", "out\n"));
    assert_eq!(answer["result"]["stderr"], "err\n");
    assert_eq!(answer["sessionCreated"], true);
    assert_eq!(answer["error"]["message"], "the process ended with exit code 3");
    let (code, out, answer) = run(&gateway, "pwd; id -u; echo $FROM_IMAGE; echo 'héé 🦀'").await;
    assert_eq!((code.as_str(), out.as_str()), ("0", "/mnt/data\n0\nyes\nhéé 🦀\n"));
    assert_eq!((&answer["sessionCreated"], answer.get("error")), (&json!(false), None));
    // Each is a process of its own: files stay, variables do not.
    // The clock of files has ticks of some milliseconds, and what changed in the tick of the start is told of.
    run(&gateway, "x=1; echo kept > file; echo more >> /tmp/elsewhere; sleep 0.02").await;
    let (_, out, answer) = run(&gateway, "echo \"[$x]\"; cat file /tmp/elsewhere").await;
    assert_eq!(out, "[]\nkept\nmore\n");
    assert_eq!(answer["files"], json!([]), "it changed nothing");
    let (_, _, answer) = run(&gateway, "mkdir -p dir && echo x > dir/new && touch file").await;
    let mut changed: Vec<_> = answer["files"].as_array().unwrap().iter().map(|file| file["name"].clone()).collect();
    changed.sort_by_key(Value::to_string);
    assert_eq!(changed, ["dir/new", "file"]);
    assert_eq!(run(&gateway, "kill -9 $$").await.0, "137");
    assert_eq!(run(&gateway, "no-such-command").await.0, "127");
    // The other body shape and the older route are a shell's too.
    let wrapped = json!({"properties": {"shellCommand": "echo hi"}});
    let (_, old) = post(&gateway, "/code/execute?identifier=session-1", wrapped).await;
    assert_eq!((&old["properties"]["status"], &old["properties"]["stdout"]), (&json!("Success"), &json!("hi\n")));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_runs_on_the_other_engines_too() {
    for engine in ["crun", "runsc"] {
        let Some(gateway) = pool_on(engine, "user", SHELL).await else { continue };
        let (code, out, _) = run(&gateway, "id -u; pwd; echo x > file; sleep 0.1; exit 4").await;
        assert_eq!((code.as_str(), out.as_str()), ("4", "1000\n/mnt/data\n"), "{engine}");
        let path = "/files/file/content?identifier=session-1";
        let (status, body) = ask(&gateway, "GET", path, "text/plain", vec![]).await;
        assert_eq!((status, &body[..]), (200, &b"x\n"[..]), "{engine}");
        gateway.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_says_what_to_change() {
    let Some(gateway) = pool("", SHELL).await else { return };
    let at = "/executions?identifier=session-1";
    let code = |answer: &Value| answer["error"]["code"].as_str().unwrap().to_owned();
    for (body, expected) in [
        (json!({"code": "echo hi"}), "SessionPropertiesMissing"),
        (json!({}), "SessionPropertiesMissing"),
        (json!({"shellCommand": 1}), "SessionRequestValidationFailed"),
        (json!({"shellCommand": "x", "timeoutInSeconds": 601}), "SessionRequestValidationFailed"),
        (json!({"shellCommand": "x", "cpuTimeInSeconds": 1}), "SessionRequestValidationFailed"),
        (json!({"shellCommand": "x", "fuel": 1}), "SessionRequestValidationFailed"),
        (json!({"shellCommand": "echo \0"}), "SessionRequestValidationFailed"),
    ] {
        let (status, answer) = post(&gateway, at, body.clone()).await;
        assert_eq!((status, code(&answer).as_str()), (400, expected), "{body}: {answer}");
    }
    let long = "x".repeat(128 * 1024);
    assert_eq!(post(&gateway, at, json!({"shellCommand": long})).await.0, 413);
    assert_eq!(post(&gateway, "/executions", json!({"shellCommand": "x"})).await.0, 400);
    for (method, path, expected) in [
        ("POST", "/sessions/session-1/fork", (400, "SessionRequestNotSupported")),
        ("GET", "/sessions/session-1/export", (400, "SessionRequestNotSupported")),
        ("GET", "/metadata?identifier=session-1", (400, "SessionRequestNotSupported")),
        ("GET", "/anything?identifier=session-1", (404, "RouteNotFound")),
        ("PUT", "/files?identifier=session-1", (405, "MethodNotAllowed")),
        ("GET", "/session?identifier=session-1", (400, "SessionWithIdentifierNotFound")),
    ] {
        let (status, body) = ask(&gateway, method, path, "application/json", b"{}".to_vec()).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, code(&answer).as_str()), expected, "{path}: {answer}");
    }
    assert_eq!(gateway.pool.census().sessions, 0, "nothing of this made a session");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_the_whole_group_and_keeps_the_session() {
    let Some(gateway) = pool("", SHELL).await else { return };
    run(&gateway, "echo kept > file").await;
    // Neither a child, nor whoever ignores the request to end.
    let command = "trap '' TERM; echo before; (trap '' TERM; sleep 100) & while true; do sleep 1; done";
    let body = json!({"shellCommand": command, "timeoutInSeconds": 1});
    let began = Instant::now();
    let (_, answer) = post(&gateway, "/executions?identifier=session-1", body).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!((&answer["status"], &answer["result"]["stdout"]), (&json!("124"), &json!("before\n")));
    let told = answer["result"]["stderr"].as_str().unwrap();
    assert!(told.ends_with("Request timed out waiting for code execution to complete"), "{told}");
    assert_eq!((&answer["error"]["code"], &answer["sessionDiscarded"]), (&json!("ExecutionTimedOut"), &json!(false)));
    let (_, out, _) = run(&gateway, "cat file; pidof sleep | wc -w").await;
    assert_eq!(out, "kept\n0\n");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_ends_what_it_asked_for() {
    let Some(gateway) = pool("", SHELL).await else { return };
    run(&gateway, "true").await;
    let waiting = post(&gateway, "/executions?identifier=session-1", json!({"shellCommand": "echo > begun; sleep 60"}));
    assert!(tokio::time::timeout(Duration::from_secs(2), waiting).await.is_err());
    let began = Instant::now();
    let (_, out, _) = run(&gateway, "ls; pidof sleep | wc -w").await;
    assert_eq!(out, "begun\n0\n");
    assert!(began.elapsed() < Duration::from_secs(5), "its turn came at once: {:?}", began.elapsed());
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_in_the_background_holds_nobody_up() {
    let Some(gateway) = pool("", SHELL).await else { return };
    let began = Instant::now();
    let (code, out, _) = run(&gateway, "(sleep 30; echo late) & echo done").await;
    assert_eq!((code.as_str(), out.as_str()), ("0", "done\n"));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(run(&gateway, "pidof sleep | wc -w").await.1, "1\n", "it goes on");
    // Orphans are collected.
    run(&gateway, "for i in 1 2 3; do (sleep 0.1 &) ; done").await;
    let gone = async || run(&gateway, "sleep 0.2; cat /proc/[0-9]*/status | grep -c 'State:.Z'").await.1 == "0\n";
    eventually("no process that has ended stays", gone).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_cut_at_the_pools_limit_and_says_so() {
    let settings = "interpreter = { language = 'shell', limits = { output_bytes = 1000 } }";
    let Some(gateway) = pool("", settings).await else { return };
    let (code, out, answer) = run(&gateway, "head -c 300000 /dev/zero | tr '\\0' x; echo end >&2").await;
    assert_eq!((code.as_str(), out.len()), ("0", 1000));
    assert!(answer["result"]["stderr"].as_str().unwrap().contains("299004 bytes beyond the limit"), "{answer}");
    // Bytes that are no text are told as such.
    assert_eq!(run(&gateway, "printf 'a\\377b'").await.1, "a\u{fffd}b");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_is_discarded_and_the_answer_says_so() {
    let Some(gateway) = pool("", SHELL).await else { return };
    let memory = "x=x; while true; do x=$x$x$x$x; done";
    let (code, _, _) = run(&gateway, memory).await;
    assert_eq!(code, "137", "the command went, not its container");
    assert_eq!(run(&gateway, "echo there").await.1, "there\n");
    let forks = "b() { b | b & }; b; sleep 1; echo over";
    let body = json!({"shellCommand": forks, "timeoutInSeconds": 5});
    post(&gateway, "/executions?identifier=session-1", body).await;
    let (status, answer) =
        post(&gateway, "/executions?identifier=session-2", json!({"shellCommand": "echo other"})).await;
    assert_eq!((status, &answer["result"]["stdout"]), (200, &json!("other\n")), "another session notices nothing");
    let (status, _) = ask(&gateway, "DELETE", "/session?identifier=session-1", "text/plain", Vec::new()).await;
    assert_eq!(status, 204);
    let (_, out, answer) = run(&gateway, "echo fresh").await;
    assert_eq!((out.as_str(), &answer["sessionCreated"]), ("fresh\n", &json!(true)));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_of_a_session_take_turns_and_the_queue_ends() {
    let settings = "interpreter = { language = 'shell', queue_length = 1 }";
    let Some(gateway) = pool("", settings).await else { return };
    run(&gateway, "true").await;
    let slow =
        || json!({"shellCommand": "echo begin >> log; sleep 1; echo end >> log", "executionType": "Asynchronous"});
    let at = "/executions?identifier=session-1";
    let (status, first) = post(&gateway, at, slow()).await;
    assert_eq!((status, &first["status"]), (202, &json!("NotStarted")));
    let (_, second) = post(&gateway, at, slow()).await;
    let where_it_stands = async |execution: &Value| {
        let path = format!("/executions/{}?identifier=session-1", execution["id"].as_str().unwrap());
        let (_, body) = ask(&gateway, "GET", &path, "text/plain", Vec::new()).await;
        serde_json::from_slice::<Value>(&body).unwrap()["status"].as_str().unwrap().to_owned()
    };
    eventually("the first runs", async || where_it_stands(&first).await == "Running").await;
    let (status, refused) = post(&gateway, at, json!({"shellCommand": "true"})).await;
    assert_eq!((status, &refused["error"]["code"]), (429, &json!("SessionQueueFull")));
    eventually("both have ended", async || where_it_stands(&second).await == "0").await;
    assert_eq!(where_it_stands(&first).await, "0");
    assert_eq!(run(&gateway, "cat log").await.1, "begin\nend\nbegin\nend\n");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_as_it_is_written() {
    let Some(gateway) = pool("", SHELL).await else { return };
    let body = json!({"shellCommand": "echo one; sleep 1; echo two >&2"}).to_string();
    let request = gateway.request("POST", "/executions?identifier=session-1").header("accept", "text/event-stream");
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body))).unwrap();
    let mut body = gateway.send(request).await.into_body();
    let began = Instant::now();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: stdout\ndata: {\"event\":\"stdout\",\"text\":\"one\\n\"}"), "{first:?}");
    assert!(began.elapsed() < Duration::from_millis(900));
    let rest = body.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.contains("event: stderr") && rest.contains("\"status\":\"0\""), "{rest}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out() {
    // Nobody's root: the folder is the user's all the same.
    let Some(gateway) = pool("user", SHELL).await else { return };
    let none = ask(&gateway, "GET", "/files?identifier=session-1", "text/plain", Vec::new()).await;
    assert_eq!((none.0, serde_json::from_slice::<Value>(&none.1).unwrap()["value"].clone()), (200, json!([])));
    assert_eq!(gateway.pool.census().sessions, 0, "looking makes no session");
    let version = "api-version=2025-02-02-preview&identifier=session-1";
    let content: Vec<u8> = (0..300_001_u32).map(|number| number as u8).collect();
    let (status, stored) = upload(&gateway, &format!("/files?{version}&path=/mnt/data"), "dir/a b.bin", &content).await;
    assert_eq!((status, &stored["name"], &stored["sizeInBytes"]), (200, &json!("dir/a b.bin"), &json!(300_001)));
    let (_, out, answer) = run(&gateway, "id -u; wc -c < 'dir/a b.bin'; ls -a; echo made > made.txt").await;
    assert_eq!(out, "1000\n300001\n.\n..\ndir\n", "the upload left nothing else");
    assert_eq!(answer["files"][0]["name"], "made.txt");
    let get = async |path: &str| ask(&gateway, "GET", path, "text/plain", Vec::new()).await;
    let (status, body) = get(&format!("/files/dir/a%20b.bin/content?{version}")).await;
    assert!(status == 200 && body == content);
    let (_, listed) = get(&format!("/files?{version}&recursive=true")).await;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let names: Vec<_> =
        listed["value"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dir", "dir/a b.bin", "made.txt"]);
    let (_, old) = get("/files?api-version=2024-02-02-preview&identifier=session-1").await;
    let old: Value = serde_json::from_slice(&old).unwrap();
    assert_eq!(old["value"][1]["properties"]["filename"], "made.txt");
    let (_, entry) = get(&format!("/files/made.txt?{version}")).await;
    assert_eq!(serde_json::from_slice::<Value>(&entry).unwrap()["sizeInBytes"], 5);
    let (status, body) =
        ask(&gateway, "POST", &format!("/files/made.txt:downloadFile?{version}"), "text/plain", vec![]).await;
    assert_eq!((status, serde_json::from_slice::<Value>(&body).unwrap()), (200, json!({"content": "bWFkZQo="})));
    let removed = ask(&gateway, "DELETE", &format!("/files/made.txt?{version}"), "text/plain", Vec::new()).await;
    assert_eq!(removed.0, 204);
    for (path, expected) in [("made.txt", 404), ("dir", 409), ("../x", 400), ("none/at/all", 404)] {
        let path = path.replace('/', "%2F");
        assert_eq!(get(&format!("/files/{path}/content?{version}")).await.0, expected, "{path}");
    }
    let full = ask(&gateway, "DELETE", &format!("/files/dir?{version}"), "text/plain", Vec::new()).await;
    assert_eq!(full.0, 409, "it is not empty");
    let (status, _) = upload(&gateway, &format!("/files?{version}"), "dir", b"x").await;
    assert_eq!(status, 409, "a folder stays one");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_leads_out_of_the_folder_or_holds_anybody_up() {
    let settings = "interpreter = { language = 'shell', limits = { upload_bytes = 1000000 } }";
    let Some(gateway) = pool("", settings).await else { return };
    let make = "echo secret > /root-file; ln -s /root-file out; ln -s ../../root-file up; ln -s inner in; echo x > inner; \
        ln -s loop loop; mkfifo pipe; mkdir -p \"$(printf 'odd\\nname')\"; ln -s / folder";
    assert_eq!(run(&gateway, make).await.0, "0");
    let get = async |path: &str| ask(&gateway, "GET", path, "text/plain", Vec::new()).await;
    for (name, expected) in
        [("out", 409), ("up", 409), ("in", 200), ("loop", 400), ("pipe", 409), ("folder%2Froot-file", 409)]
    {
        let (status, body) =
            get(&format!("/files/{name}/content?identifier=session-1&api-version=2025-02-02-preview")).await;
        assert_eq!(status, expected, "{name}: {}", String::from_utf8_lossy(&body));
        assert!(!body.windows(6).any(|bytes| bytes == b"secret"));
    }
    let (status, _) = upload(&gateway, "/files?identifier=session-1", "folder/escaped", b"x").await;
    assert_eq!(status, 409);
    let (_, listed) = get("/files?identifier=session-1&api-version=2025-02-02-preview&recursive=true").await;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let names: Vec<_> =
        listed["value"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["folder", "in", "inner", "loop", "out", "up"]);
    // An upload replaces a link, and what it led to stays.
    assert_eq!(upload(&gateway, "/files?identifier=session-1", "out", b"new").await.0, 200);
    assert_eq!(run(&gateway, "cat /root-file out").await.1, "secret\nnew");
    let (status, answer) = upload(&gateway, "/files?identifier=session-1", "big", &vec![0; 1_000_001]).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("RequestBodyTooLarge")));
    // No room: the container's disk is half of its memory.
    run(&gateway, "head -c 60000000 /dev/zero > fill").await;
    let (status, answer) = upload(&gateway, "/files?identifier=session-1", "more", &vec![0; 900_000]).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("SessionFileQuotaExceeded")), "{answer}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_run_in_any_image_as_in_an_interpreter() {
    // The interpreter of this image is its shell, which takes a program as its input.
    let settings = "interpreter = { language = 'code', command = ['/bin/sh', '-'] }";
    let Some(gateway) = pool("", settings).await else { return };
    let at = "/executions?identifier=session-1";
    let (_, answer) = post(&gateway, at, json!({"code": "echo \"$((6 * 7))\"\necho err >&2"})).await;
    assert_eq!((&answer["status"], &answer["result"]["stdout"]), (&json!("Succeeded"), &json!("42\n")));
    let (_, answer) = post(&gateway, at, json!({"code": "exit 7"})).await;
    assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!("Failed"), &json!("ExecutionRaised")));
    let (status, answer) = post(&gateway, at, json!({"shellCommand": "x"})).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("SessionPropertiesMissing")));
    let (_, old) =
        post(&gateway, "/code/execute?identifier=session-1", json!({"properties": {"code": "echo $0"}})).await;
    assert_eq!(old["properties"]["status"], "Success");
    let long = format!("{}echo end", "# filler\n".repeat(10_000));
    assert_eq!(post(&gateway, at, json!({"code": long})).await.1["result"]["stdout"], "end\n");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_command_is_not_there_says_so() {
    let settings = "interpreter = { language = 'code', command = ['/no/python', '-'] }";
    let Some(gateway) = pool("", settings).await else { return };
    let (_, answer) = post(&gateway, "/executions?identifier=session-1", json!({"code": "1"})).await;
    assert_eq!(answer["status"], "Failed");
    assert!(answer["result"]["stderr"].as_str().unwrap().contains("No such file"), "{answer}");
    gateway.end().await;
}

/// With the command line, as an operator does it. The first time takes some minutes.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_image_has_what_commands_take_for_granted() {
    let Some(backend) = own_images().await else { return };
    let pool = format!("name = 'app'\nresources = {{ memory_mebibytes = 512 }}\n{SHELL}");
    let gateway = PoolGateway::specified(backend, &pool, Access::open(), &Records::off()).await;
    let command = "set -e -o pipefail; x=(a b); echo ${x[1]}; python3 -c 'print(6 * 7)'; echo '{\"a\": 1}' | jq .a; \
        curl --version | head -c 4; git init -q repo; ls -d repo/.git; echo; id -u; ls -A /dev/shm /tmp";
    let (code, out, answer) = run(&gateway, command).await;
    assert_eq!((code.as_str(), out.as_str()), ("0", "b\n42\n1\ncurlrepo/.git\n\n0\n/dev/shm:\n\n/tmp:\n"), "{answer}");
    gateway.end().await;
}

/// A backend that knows where images of our own are, once the one of shells is built.
async fn own_images() -> Option<Backend> {
    if !installed(runtime()) {
        return None;
    }
    let build = std::process::Command::new(env!("CARGO_BIN_EXE_sandpool")).args(["image", "build", "shell"]).output();
    let built = build.expect("the binary runs");
    if !built.status.success() {
        skip("the image of shells", &String::from_utf8_lossy(&built.stderr));
        return None;
    }
    let folder = builtin::folder(&sandpool::config::default_cache_dir());
    Some(
        Backend::with(OciSettings { runtime: Some(runtime().into()), built_in: folder, ..OciSettings::default() })
            .await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_built_is_told_of_with_what_to_do() {
    let Some(backend) = Backend::open("runc").await else { return };
    let reference = ImageReference::shell();
    let refused = backend.backend.prepare_image(&reference, &Credentials::Anonymous).await.unwrap_err().told();
    assert!(refused.contains("sandpool image build shell"), "{refused}");
    assert!(backend.backend.lacks(&reference).unwrap().contains("sandpool image build shell"));
    let gateway = Managed::with(backend, Value::Null).await;
    let body = json!({"location": "here", "properties": {"containerType": "Shell"}});
    let refused = gateway.call("PUT", &format!("{GROUP}/shell"), &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidSessionPoolProperties"));
    assert!(refused.text().contains("sandpool image build shell"), "{}", refused.text());
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_made_through_the_api_and_what_it_did_is_in_the_records() {
    let Some(backend) = Backend::open("runc").await else { return };
    let Some(recipe) = busybox("") else { return skip("busybox", "not installed, or not static") };
    let image = recipe.layout(&backend.folder.path().join("layout"));
    let gateway = Managed::with(backend, json!([image])).await;
    let container = json!({"image": image, "resources": {"cpu": 0.5, "memory": "64Mi"}});
    let body = json!({"location": "here", "properties": {"containerType": "Shell",
        "scaleConfiguration": {"maxConcurrentSessions": 3, "readySessionInstances": 1},
        "customContainerTemplate": {"containers": [container]},
        "sandpool": {"termination_grace_seconds": 0, "interpreter": {"limits": {"timeout_seconds": 5}}}}});
    let made = gateway.call("PUT", &format!("{GROUP}/shell"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = made.json();
    assert_eq!(shown["properties"]["containerType"], "Shell");
    assert_eq!(shown["properties"]["templateUpdateStatus"]["activeTemplate"]["ingress"], json!({}));
    let endpoint = shown["properties"]["poolManagementEndpoint"].as_str().unwrap().to_owned();
    let path = endpoint[endpoint.find("/subscriptions").unwrap()..].to_owned();
    let at = format!("{path}/executions?identifier=session-1");
    let answer = gateway.call("POST", &at, &json!({"shellCommand": "echo hi"})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("0")), "{}", answer.text());
    // As an interpreter's: what it used, what it wrote, who asked.
    for (table, word) in [("usage", "finished"), ("console", "hi"), ("audit", "Execute")] {
        let path = format!("{path}/records/{table}");
        let told = async || gateway.call("GET", &path, &Value::Null).await.text().contains(word);
        eventually(table, told).await;
    }
    let metrics = gateway.call("GET", "/metrics", &Value::Null).await.text();
    let counted = |line: &str| line.contains("outcome=\"finished\"") && line.contains("poolName=\"shell\"");
    assert!(metrics.lines().any(counted), "{metrics}");
    let changed = gateway
        .call(
            "PUT",
            &format!("{GROUP}/shell"),
            &json!({"location": "here", "properties":
        {"containerType": "CustomContainer"}}),
        )
        .await;
    assert_eq!(changed.status, 400, "its kind stays");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_in_the_agents_place_gets_nothing_by_lying() {
    let Some(gateway) = pool("", SHELL).await else { return };
    // The agent is the container's first process, whom nobody in it can end; so its place cannot be taken.
    let (_, out, _) = run(&gateway, "kill -9 1; kill -9 -1; sleep 1; echo alive").await;
    assert!(out.is_empty() || out == "alive\n");
    let (_, out, answer) = run(&gateway, "nc -l -p 61357 -s 127.0.0.1 < /dev/zero; echo $?").await;
    assert_eq!((out.as_str(), &answer["sessionCreated"]), ("1\n", &json!(false)), "the port is taken");
    // Nonsense from inside costs the agent nothing.
    run(&gateway, "for i in $(seq 20); do head -c 2000 /dev/urandom | nc -w 1 127.0.0.1 61357 > /dev/null; done").await;
    assert_eq!(run(&gateway, "echo fine").await.1, "fine\n");
    gateway.end().await;
}
