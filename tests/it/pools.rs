//! Session pools as resources: made, changed under running sessions, kept over restarts, deleted.

use sandpool::access::keys::NewKey;
use sandpool::access::{Access, AccessSettings, Grant, Pools, Role};
use sandpool::api::serve::Connections;
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::http::{Answer, Running, gateway_at};

const GROUP: &str = "/subscriptions/s-1/resourceGroups/g-1/providers/Microsoft.App/sessionPools";

async fn gateway(folder: &TempDir) -> Running {
    gateway_at(Some(folder.path()), Access::open(), Connections::default(), |_| ()).await
}

fn pool(most: u64) -> Value {
    json!({"location": "here", "properties": {"containerType": "PythonLTS",
        "scaleConfiguration": {"maxConcurrentSessions": most, "readySessionInstances": 0},
        "sandpool": {"limits": {"memory_mebibytes": 256}}}})
}

async fn send(gateway: &Running, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    gateway.send(method, path, &[("content-type", "application/json")], body.as_bytes()).await
}

async fn run(gateway: &Running, pool: &str, session: &str, code: &str) -> Answer {
    let path = format!("/pools/{pool}/executions?identifier={session}");
    gateway.post(&path, &json!({ "code": code }).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_made_serves_and_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    assert_eq!(run(&gateway, "mine", "session", "1").await.status, 404);
    let made = send(&gateway, "PUT", &format!("{GROUP}/Mine?api-version=2025-07-01"), &pool(2)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let endpoint = made.json()["properties"]["poolManagementEndpoint"].as_str().unwrap().to_owned();
    assert_eq!(endpoint, format!("http://{}/subscriptions/s-1/resourceGroups/g-1/sessionPools/mine", gateway.address));
    assert_eq!(run(&gateway, "mine", "session", "1").await.status, 200);
    let path = endpoint.split_once(&gateway.address.to_string()).unwrap().1;
    let by_endpoint = gateway.post(&format!("{path}/executions?identifier=session"), r#"{"code":"2"}"#).await;
    assert_eq!(by_endpoint.status, 200);
    assert_eq!(send(&gateway, "PUT", &format!("{GROUP}/mine"), &pool(2)).await.status, 200);
    for _ in 0..2 {
        let path = format!("{}/mine", GROUP.to_uppercase());
        assert_eq!(send(&gateway, "DELETE", &path, &Value::Null).await.status, 204);
    }
    assert_eq!(run(&gateway, "mine", "session", "1").await.code(), "SessionPoolNotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_running_sessions_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    send(&gateway, "PUT", &format!("{GROUP}/p"), &pool(2)).await;
    assert_eq!(run(&gateway, "p", "old-1", "1").await.status, 200);
    assert_eq!(run(&gateway, "p", "old-2", "1").await.status, 200);
    assert_eq!(run(&gateway, "p", "new-1", "1").await.code(), "SessionPoolFull");
    let change = json!({"properties": {"scaleConfiguration": {"maxConcurrentSessions": 1}}});
    assert_eq!(send(&gateway, "PATCH", &format!("{GROUP}/p"), &change).await.status, 200);
    // The old ones are there, and do not count in the new generation.
    let sessions = gateway.get("/pools/p/listSessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2);
    let again = run(&gateway, "p", "old-1", "1").await.json();
    assert_eq!(again["sessionCreated"], json!(false), "{again}");
    assert_eq!(run(&gateway, "p", "new-1", "1").await.status, 200);
    assert_eq!(run(&gateway, "p", "new-2", "1").await.code(), "SessionPoolFull");
    assert_eq!(gateway.send("DELETE", "/pools/p/session?identifier=old-1", &[], b"").await.status, 204);
    assert_eq!(run(&gateway, "p", "old-1", "1").await.code(), "SessionPoolFull", "it would start in the new one");
    let sessions = gateway.get("/pools/p/listSessions?skip=1").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = gateway(&folder).await;
    let mut body = pool(3);
    body["tags"] = json!({"team": "red"});
    body["properties"]["secrets"] = json!([{"name": "a", "value": "s3cret"}]);
    let made = send(&first, "PUT", &format!("{GROUP}/p"), &body).await;
    assert!(!made.text().contains("s3cret"), "{}", made.text());
    drop(first);
    let second = gateway(&folder).await;
    let read = second.get(&format!("{GROUP}/p")).await;
    let strip = |answer: &Answer| {
        let mut json = answer.json();
        json["properties"]["poolManagementEndpoint"] = Value::Null;
        json
    };
    assert_eq!(strip(&read), strip(&made));
    assert_eq!(run(&second, "p", "session", "1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_lie_where_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    send(&gateway, "PUT", &format!("{GROUP}/p"), &pool(1)).await;
    let other = GROUP.replace("g-1", "g-2");
    assert_eq!(gateway.get(&format!("{other}/p")).await.code(), "ResourceNotFound");
    assert_eq!(send(&gateway, "PATCH", &format!("{other}/p"), &json!({})).await.code(), "ResourceNotFound");
    assert_eq!(send(&gateway, "PUT", &format!("{other}/p"), &pool(1)).await.code(), "SessionPoolNameTaken");
    assert_eq!(send(&gateway, "DELETE", &format!("{other}/p"), &Value::Null).await.status, 204);
    assert_eq!(run(&gateway, "p", "session", "1").await.status, 200, "another group's deletion does not reach it");
    let names = async |path: &str| {
        let listed = gateway.get(path).await.json();
        listed["value"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(GROUP).await, ["p"]);
    assert_eq!(names(&other).await, Vec::<String>::new());
    assert_eq!(names("/subscriptions/S-1/providers/microsoft.app/sessionpools").await, ["p", "python"]);
    assert_eq!(names("/subscriptions/another/providers/Microsoft.App/sessionPools").await, ["python"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_the_configuration_file_is_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    let path = GROUP.replace("g-1", "configuration") + "/python";
    assert_eq!(gateway.get(&path).await.json()["properties"]["scaleConfiguration"]["maxConcurrentSessions"], 6);
    for (method, body) in [("PUT", pool(1)), ("PATCH", json!({})), ("DELETE", Value::Null)] {
        assert_eq!(send(&gateway, method, &path, &body).await.code(), "SessionPoolIsConfigured", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_about_pools_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    let path = format!("{GROUP}/p");
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"properties":{}}"#,
        r#"{"properties":{"containerType":7}}"#,
        r#"{"properties":{"containerType":"PythonLTS","scaleConfiguration":{"maxConcurrentSessions":-1}}}"#,
        r#"{"properties":{"containerType":"PythonLTS","scaleConfiguration":{"maxConcurrentSessions":99999999}}}"#,
        r#"{"properties":{"containerType":"GpuBase"}}"#,
        r#"{"properties":{"containerType":"CustomContainer"}}"#,
        r#"{"properties":{"containerType":"PythonLTS","sandpool":{"interpreter":"../x","fule":1}}}"#,
        r#"{"tags":{"a":7},"properties":{"containerType":"PythonLTS"}}"#,
    ] {
        let answer = gateway.send("PUT", &path, &[("content-type", "application/json")], body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let huge = format!(r#"{{"properties":{{"containerType":"{}"}}}}"#, "x".repeat(1 << 20));
    assert_eq!(gateway.send("PUT", &path, &[], huge.as_bytes()).await.status, 413);
    for name in ["3p", "a_b", "%00", &"a".repeat(64)] {
        let answer = send(&gateway, "PUT", &format!("{GROUP}/{name}"), &pool(1)).await;
        assert_eq!(answer.code(), "InvalidResourceName", "{name}");
    }
    assert_eq!(gateway.get(&path).await.code(), "ResourceNotFound", "nothing of it was kept");
    send(&gateway, "PUT", &path, &pool(1)).await;
    let change = json!({"properties": {"containerType": "NodeLTS"}});
    assert_eq!(send(&gateway, "PATCH", &path, &change).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_leave_one_pool() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&folder).await;
    let path = format!("{GROUP}/p");
    let bodies: Vec<_> = (1..=8).map(pool).collect();
    let answers = futures_util::future::join_all(bodies.iter().map(|body| send(&gateway, "PUT", &path, body))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.status == 200).count()), (1, 7));
    let scale = gateway.get(&path).await.json()["properties"]["scaleConfiguration"]["maxConcurrentSessions"].clone();
    assert!((1..=8).contains(&scale.as_u64().unwrap()));
    assert_eq!(run(&gateway, "p", "session", "1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_and_makes_its_own_pools_only() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::start(AccessSettings::default(), folder.path()).unwrap();
    let pools = Pools::try_from(vec!["mine".to_owned()]).unwrap();
    let grant = Grant { roles: [Role::Contributor].into(), pools };
    let new = NewKey { name: "k".into(), grant, tenant: None, expires_at: None };
    let key = access.keys().unwrap().create(new).unwrap().0.reveal();
    let gateway = gateway_at(Some(folder.path()), access, Connections::default(), |_| ()).await;
    let authorization = format!("Bearer {key}");
    let send = async |method: &str, path: &str, body: &str| {
        gateway.send(method, path, &[("authorization", &authorization)], body.as_bytes()).await
    };
    let body = pool(1).to_string();
    assert_eq!(send("PUT", &format!("{GROUP}/mine"), &body).await.status, 201);
    assert_eq!(send("PUT", &format!("{GROUP}/yours"), &body).await.status, 403);
    let listed = send("GET", "/subscriptions/s-1/providers/Microsoft.App/sessionPools", "").await.json();
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);
}

/// What a platform engineer does on the first day, with the command line alone.
#[test]
fn a_pool_a_key_and_code_from_the_command_line() {
    let gateway = Gateway::configured("[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1");
    let sandpool = |arguments: &[&str], key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
        command.args(arguments).env("SANDPOOL_URL", gateway.url()).env_remove("SANDPOOL_KEY");
        command.envs(key.map(|key| ("SANDPOOL_KEY", key)));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (ok, endpoint, told) = sandpool(
        &[
            "pool",
            "create",
            "team",
            "--edition",
            "base",
            "--max-sessions",
            "3",
            "--ready-sessions",
            "1",
            "--tag",
            "a=b",
        ],
        None,
    );
    assert!(ok && endpoint.ends_with("/sessionPools/team"), "{endpoint} {told}");
    let (ok, admin, told) = sandpool(
        &["key", "create", "--name", "admin", "--role", "executor", "--role", "contributor", "--all-pools"],
        None,
    );
    assert!(ok, "{told}");
    assert!(!sandpool(&["pool", "list"], None).0, "the gateway asks for a key now");
    let (ok, key, told) = sandpool(&["key", "create", "--name", "team", "--pool", "team"], Some(&admin));
    assert!(ok, "{told}");
    assert_eq!(sandpool(&["exec", "--pool", "team", "6*7"], Some(&key)).1, "42");
    let (ok, _, told) = sandpool(&["exec", "--pool", "python", "6*7"], Some(&key));
    assert!(!ok && told.contains("does not allow"), "{told}");
    let (_, listed, _) = sandpool(&["pool", "list"], Some(&admin));
    assert!(listed.contains("team") && listed.contains("configuration"), "{listed}");
    assert!(sandpool(&["pool", "update", "team", "--max-sessions", "5"], Some(&admin)).0);
    let (_, shown, _) = sandpool(&["pool", "show", "team"], Some(&admin));
    assert!(shown.contains("\"maxConcurrentSessions\": 5") && shown.contains("\"a\": \"b\""), "{shown}");
    let (_, keys, _) = sandpool(&["key", "list"], Some(&admin));
    let id = keys.lines().find(|line| line.contains(" team ")).and_then(|line| line.split(' ').next()).unwrap();
    let (ok, rotated, _) = sandpool(&["key", "rotate", id, "--overlap", "60"], Some(&admin));
    assert!(ok && sandpool(&["exec", "--pool", "team", "1"], Some(&rotated)).0);
    assert!(sandpool(&["key", "revoke", id], Some(&admin)).0);
    assert!(!sandpool(&["exec", "--pool", "team", "1"], Some(&key)).0);
    assert!(sandpool(&["pool", "delete", "team"], Some(&admin)).0);
    assert!(!sandpool(&["exec", "--pool", "team", "1"], Some(&rotated)).0);
}

/// The first key of a gateway that nobody may reach without one.
#[test]
fn a_key_made_in_the_data_directory_opens_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sandpool.toml");
    let data = folder.path().join("data");
    std::fs::write(&config, format!("data_dir = {data:?}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sandpool"))
        .args(["key", "create", "--local", "--name", "first", "--role", "contributor", "--all-pools", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let key = String::from_utf8(output.stdout).unwrap();
    let access = Access::start(AccessSettings::default(), &data).unwrap();
    assert!(!access.is_open());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let caller = runtime.block_on(access.admit(Some(format!("Bearer {}", key.trim()).as_bytes()))).unwrap();
    assert_eq!(caller.grants[0].roles, [Role::Contributor].into());
}

/// A pool of the API whose sessions go to disk; the status of the answer.
fn put_durable(gateway: &Gateway, more: Value) -> u16 {
    let mut own = json!({"edition": "base", "durable": true, "limits": {"memory_mebibytes": 256}});
    own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let scale = json!({"maxConcurrentSessions": 3, "readySessionInstances": 0});
    let body = json!({"properties": {"containerType": "PythonLTS", "scaleConfiguration": scale, "sandpool": own}});
    let put = ureq::put(format!("{}{GROUP}/kept", gateway.url()));
    put.send_json(body).expect("it is taken").status().as_u16()
}

/// What code prints in a session of it.
fn printed(gateway: &Gateway, session: &str, code: &str) -> String {
    let url = format!("{}/pools/kept/executions?identifier={session}", gateway.url());
    let answer = ureq::post(url).send_json(json!({ "code": code })).expect("it runs").body_mut().read_json::<Value>();
    answer.unwrap()["result"]["stdout"].as_str().unwrap().trim().to_owned()
}

const TRY: &str = "print(globals().get('x'))";

#[test]
fn sessions_of_a_made_pool_survive_and_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 0";
    let gateway = Gateway::on_data(settings, folder.path());
    assert_eq!(put_durable(&gateway, json!({})), 201);
    printed(&gateway, "session-1", "x = 41");
    // A change: the sessions stay where they are, on disk too, and the new template does not take them for its own.
    assert_eq!(put_durable(&gateway, json!({"queue_length": 3})), 200);
    assert_eq!(printed(&gateway, "session-1", TRY), "41");
    printed(&gateway, "session-2", "x = 42");
    gateway.kill();
    let gateway = Gateway::on_data(settings, folder.path());
    assert_eq!([printed(&gateway, "session-1", TRY), printed(&gateway, "session-2", TRY)], ["41", "42"]);
    gateway.terminate();
    assert!(gateway.wait().success());
    let gateway = Gateway::on_data(settings, folder.path());
    assert_eq!(printed(&gateway, "session-2", TRY), "42");
    ureq::delete(format!("{}{GROUP}/kept", gateway.url())).call().expect("it is deleted");
    let left = || {
        let store = rusqlite::Connection::open(folder.path().join("snapshots/snapshots.db")).unwrap();
        store.query_row("SELECT count(*) FROM session", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(left(), 0, "off the disk when it is answered");
    assert_eq!(put_durable(&gateway, json!({"on_cooldown": "hibernate"})), 201);
    assert_eq!([printed(&gateway, "session-1", TRY), printed(&gateway, "session-2", "x = 1")], ["None", ""]);
    // One that keeps nothing any more keeps nothing after a restart.
    assert_eq!(put_durable(&gateway, json!({"durable": false})), 200);
    gateway.kill();
    let gateway = Gateway::on_data(settings, folder.path());
    assert_eq!(printed(&gateway, "session-2", TRY), "None");
    assert_eq!(left(), 0);
}
