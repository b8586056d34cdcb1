//! HTTPS: the host does the TLS, trusts whom the machine trusts, and the guest cannot talk it out of it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::gateway::Gateway;

/// A server for `localhost`, and its authority's certificate as PEM. It answers everything with its request's head.
async fn secure_server() -> (u16, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let Ok(read) = stream.read(&mut head).await else { continue };
            let line = String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, pem)
}

fn run(gateway: &Gateway, code: &str) -> Value {
    let url = format!("{}/executions?identifier=secure", gateway.pool_url("python"));
    ureq::post(url).send_json(json!({ "code": code })).unwrap().body_mut().read_json().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_works_and_certificates_are_always_checked() {
    let (port, authority) = secure_server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let settings = format!(
        "[[pool]]\nname = 'python'\nready_session_instances = 1\n[pool.egress]\npolicy = 'allow-list'\n\
         allow_private = ['127.0.0.0/8', '::1']\n\
         allow = [{{ host = 'localhost', port = {port} }}, {{ host = '127.0.0.1', port = {port} }}]"
    );
    let code =
        |url: &str, more: &str| format!("import urllib.request, ssl\nurllib.request.urlopen('{url}'{more}).read()");
    tokio::task::spawn_blocking(move || {
        let trusting = Gateway::with_environment(&settings, &[("SSL_CERT_FILE", &file)]);
        let answer = run(&trusting, &code(&format!("https://localhost:{port}/x"), ""));
        assert_eq!(answer["result"]["executionResult"], "b'GET /x HTTP/1.1'", "{answer}");
        let unchecked = ", context=ssl._create_unverified_context()";
        let elsewhere = run(&trusting, &code(&format!("https://127.0.0.1:{port}/x"), unchecked));
        assert!(elsewhere["error"]["message"].as_str().unwrap().contains("certificate"), "{elsewhere}");
        drop(trusting);
        let stranger = Gateway::configured(&settings);
        let untrusted = run(&stranger, &code(&format!("https://localhost:{port}/x"), unchecked));
        assert!(untrusted["error"]["message"].as_str().unwrap().contains("certificate"), "{untrusted}");
        assert_eq!(untrusted["network"][0]["failure"], "connect", "{untrusted}");
    })
    .await
    .unwrap();
}
