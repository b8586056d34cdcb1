//! Debian's `docker-registry` on a port of its own: with Basic authentication, or with tokens of a service that runs here too.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use super::containers::skip;
use super::images::Recipe;
use super::registry_tokens::Tokens;

/// `htpasswd -Bbn alice s3cret`.
const USERS: &str = "alice:$2y$05$/V74W0ArA763Jz81WxbA1u8pwQA7qX25D2dnK6qk3C0a8upTje2Va\n";

/// A registry that lets `alice` in, with `s3cret`. It stops when this is dropped.
pub struct Registry {
    child: Child,
    pub address: String,
    pub folder: TempDir,
    tokens: Option<Tokens>,
}

impl Registry {
    /// With Basic authentication. None where the machine has none.
    pub fn start() -> Option<Self> {
        Self::with(None)
    }

    /// With tokens; see [`Tokens`].
    pub fn start_with_tokens() -> Option<Self> {
        Self::with(Some(Tokens::start()))
    }

    fn with(tokens: Option<Tokens>) -> Option<Self> {
        let program = "/usr/bin/docker-registry";
        if !fs::exists(program).unwrap() {
            skip("docker-registry", "not installed (apt-get install docker-registry)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        // It cannot tell which port it took, so one that is free just now is given to it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let (users, root) = (folder.path().join("users"), folder.path().join("storage"));
        let auth = match &tokens {
            None => {
                fs::write(&users, USERS).unwrap();
                format!("htpasswd: {{ realm: test, path: {} }}", users.display())
            }
            Some(tokens) => {
                fs::write(&users, &tokens.certificate).unwrap();
                let (realm, bundle) = (&tokens.realm, users.display());
                format!("token: {{ realm: '{realm}', service: tests, issuer: tests, rootcertbundle: {bundle} }}")
            }
        };
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: '{address}' }}\nauth: {{ {auth} }}\n",
            root.display()
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(folder.path().join("config.yml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { child, address, folder, tokens };
        for _ in 0..500 {
            if std::net::TcpStream::connect(&registry.address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the registry does not listen");
    }

    /// Pushes as a client does; gives the manifest's digest.
    pub fn push(&self, recipe: &Recipe, name: &str, tag: &str) -> String {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let login = match &self.tokens {
            None => format!("Basic {}", STANDARD.encode("alice:s3cret")),
            Some(tokens) => format!("Bearer {}", tokens.signer.token(name, &["pull", "push"], 60)),
        };
        let base = format!("http://{}/v2/{name}", self.address);
        let (mut blobs, manifest) = recipe.blobs();
        let document = blobs.remove(&manifest).unwrap();
        for (digest, bytes) in blobs {
            let begun =
                agent.post(format!("{base}/blobs/uploads/")).header("authorization", &login).send_empty().unwrap();
            let place = begun.headers()["location"].to_str().unwrap().to_owned();
            let mark = if place.contains('?') { '&' } else { '?' };
            let put = agent.put(format!("{place}{mark}digest={digest}")).header("authorization", &login);
            let put = put.header("content-type", "application/octet-stream").send(&bytes[..]).unwrap();
            assert_eq!(put.status(), 201);
        }
        let kind: Value = serde_json::from_slice(&document).unwrap();
        let put = agent.put(format!("{base}/manifests/{tag}")).header("authorization", &login);
        let put = put.header("content-type", kind["mediaType"].as_str().unwrap()).send(&document[..]).unwrap();
        assert_eq!(put.status(), 201);
        manifest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
