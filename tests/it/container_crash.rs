//! What a killed gateway leaves where containers cannot outlive it, and whose they are while it runs. See also
//! `container_adoption.rs`.

use std::fs;
use std::process::Command;

use crate::container_adoption::Served;
use crate::support::containers::{gateway_name, installed};
use crate::support::engines;
use crate::support::images::Recipe;

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
    let first = Served::start(folder.path());
    assert_eq!(first.get("app", "/hello?identifier=session"), "hello");
    drop(first);
    let name = gateway_name(&folder.path().join("data"));
    assert!(engine.containers(Some(&name)).await > 0, "a killed gateway cannot take its containers along");
    // It has none ready of its own as soon as it listens, and the identifier's was the first one's.
    fs::write(
        folder.path().join("sandpool.toml"),
        format!("[containers.docker]\nsocket = '{}'\n", engine.socket.display()),
    )
    .unwrap();
    let second = Served::start(folder.path());
    assert_eq!(engine.containers(Some(&name)).await, 0, "the containers of the first are there");
    second.terminate();
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
    let first = Served::start(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(folder.path().join("sandpool.toml"));
    let second = command.arg("--data-dir").arg(folder.path().join("data")).output().unwrap();
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("another gateway"), "{told}");
    drop(first);
}
