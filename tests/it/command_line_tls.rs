//! The command line calls a gateway over https: whom it believes, and what it says when it does not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::support::gateway::Gateway;

struct Secured {
    gateway: Gateway,
    certificate: PathBuf,
    folder: TempDir,
}

/// A gateway whose certificate, signed by itself, is for `localhost` and ends then.
fn secured(until_year: i32) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let (certificate, key_file) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key_file:?} }}");
    let pool = "[[pool]]\nname = 'python'\nedition = 'base'\nready_session_instances = 1";
    Secured { gateway: Gateway::configured(&format!("{tls}\n{pool}")), certificate, folder }
}

impl Secured {
    /// By the name that is in the certificate.
    fn url(&self) -> String {
        self.gateway.url().replace("127.0.0.1", "localhost")
    }
}

fn exec(url: &str, ca: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    command.args(["exec", "6 * 7", "--url", url]).stdin(Stdio::null()).env_remove("SANDPOOL_CA");
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    command.output().expect("the binary starts")
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains(why), "{why}: {output:?}");
}

#[test]
fn the_command_line_speaks_https_and_says_whom_it_does_not_believe() {
    let secured = secured(2100);
    let ran = exec(&secured.url(), Some(&secured.certificate));
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), &b"42\n"[..]), "{ran:?}");
    let mut by_environment = Command::new(env!("CARGO_BIN_EXE_sandpool"));
    by_environment
        .args(["session", "list"])
        .env("SANDPOOL_URL", secured.url())
        .env("SANDPOOL_CA", &secured.certificate);
    assert!(by_environment.output().unwrap().status.success());

    refused(&exec(&secured.url(), None), "an authority that is not trusted here");
    refused(&exec(secured.gateway.url(), Some(&secured.certificate)), "a certificate for another name");
    refused(&exec(&secured.url(), Some(Path::new("/nowhere.pem"))), "/nowhere.pem");
    let empty = secured.folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    refused(&exec(&secured.url(), Some(&empty)), "holds no certificate");
    let plain = Gateway::shared().url().replace("http://", "https://");
    refused(&exec(&plain, Some(&secured.certificate)), "does not speak TLS");
    // Plain text to a gateway that wants TLS is answered by nobody.
    assert_eq!(exec(&secured.url().replace("https://", "http://"), None).status.code(), Some(2));
}

#[test]
fn a_certificate_that_has_expired_is_told() {
    let secured = secured(2020);
    refused(&exec(&secured.url(), Some(&secured.certificate)), "has expired");
}
