//! The TLS listener: who gets in, and what does not hold it up.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::gateway::Gateway;

struct Secured {
    gateway: Gateway,
    connector: TlsConnector,
    _folder: tempfile::TempDir,
}

fn secured() -> Secured {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let pool = "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1";
    let gateway = Gateway::configured(&format!("{tls}\n{pool}"));
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Secured { gateway, connector: TlsConnector::from(Arc::new(config)), _folder: folder }
}

impl Secured {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.gateway.url().trim_start_matches("https://")).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(name, self.connect().await).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_over_tls_and_links_say_so() {
    let secured = secured();
    assert!(secured.get("/livez").await.starts_with("HTTP/1.1 200"));
    let pools = secured.get("/subscriptions/s/providers/Microsoft.App/sessionPools").await;
    assert!(pools.contains("\"https://localhost/subscriptions/s/"), "{pools}");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_speak_something_else_hold_nobody_up() {
    let secured = secured();
    // One who says nothing, one who speaks plain HTTP, one who goes away in the middle.
    let silent = secured.connect().await;
    let mut plain = secured.connect().await;
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut half = secured.connect().await;
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    drop(half);
    assert!(secured.get("/livez").await.starts_with("HTTP/1.1 200"));
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), plain.read_to_end(&mut answer)).await;
    assert!(read.is_ok() && !answer.starts_with(b"HTTP/"), "{answer:?}");
    drop(silent);
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sandpool.toml");
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    let one = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let two = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("one.pem"), one.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), two.signing_key.serialize_pem()).unwrap();
    for (certificate, key) in
        [("none.pem", "key.pem"), ("empty.pem", "key.pem"), ("one.pem", "one.pem"), ("one.pem", "key.pem")]
    {
        let path = |name: &str| folder.path().join(name);
        let tls = format!("tls = {{ certificate = {:?}, key = {:?} }}\n", path(certificate), path(key));
        std::fs::write(&config, tls).unwrap();
        for command in [&["serve", "--listen", "127.0.0.1:0", "--config"][..], &["config", "check"]] {
            let mut sandpool = Command::new(env!("CARGO_BIN_EXE_sandpool"));
            sandpool.args(command).arg(&config).env("SANDPOOL_DATA_DIR", folder.path().join("data"));
            let output = sandpool.output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains("tls"), "{certificate} {key}: {told}");
        }
    }
}
