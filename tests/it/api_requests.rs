//! `fixtures/requests/`: bodies as clients send them, replayed against the contract over a socket.

use std::path::Path;

use crate::support::http::gateway;

fn bodies(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/requests").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = files.map(|path| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    });
    let mut bodies: Vec<_> = read.collect();
    bodies.sort();
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_bodies_are_taken_on_every_path() {
    let gateway = gateway().await;
    for (name, body) in bodies("valid") {
        for path in ["code/execute", "executions", "execute"] {
            let answer = gateway.post(&format!("/pools/python/{path}?identifier=fixture"), &body).await;
            assert!(matches!(answer.status, 200 | 202), "{name}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_bodies_are_refused_on_every_path() {
    let gateway = gateway().await;
    for (name, body) in bodies("invalid") {
        for path in ["code/execute", "executions", "execute"] {
            let answer = gateway.post(&format!("/pools/python/{path}?identifier=fixture"), &body).await;
            assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        }
    }
}
