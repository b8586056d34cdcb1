//! The token service of a registry: who may do what, for how long, signed with a key of these tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;

/// With `?` and `>`: what the two alphabets of base64 write differently.
pub const PASSWORD: &str = "s3cret?????>>>>>";

/// The service. Everybody may pull `public/...`; `alice` everything with [`PASSWORD`]; `late` gets tokens that have expired,
/// and `narrow` such for another repository. Whoever comes with a wrong password is refused.
pub struct Tokens {
    pub realm: String,
    /// PEM.
    pub certificate: String,
    pub signer: Arc<Signer>,
}

pub struct Signer {
    key: EcdsaKeyPair,
    /// Of the certificate, DER in base64.
    chain: String,
}

impl Tokens {
    pub fn start() -> Self {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["tests".to_owned()]).unwrap().self_signed(&pair).unwrap();
        let document = pair.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &SystemRandom::new()).unwrap();
        let signer = Arc::new(Signer { key, chain: STANDARD.encode(certificate.der()) });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let signs = signer.clone();
        // It waits for callers until the test program ends.
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream, &signs))));
        Self { realm, certificate: certificate.pem(), signer }
    }
}

impl Signer {
    /// A token for one repository, good for so many seconds from now.
    pub fn token(&self, repository: &str, actions: &[&str], seconds: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let access = json!([{"type": "repository", "name": repository, "actions": actions}]);
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(json!({"typ": "JWT", "alg": "ES256", "x5c": [self.chain]})),
            part(json!({
                "iss": "tests", "sub": "", "aud": "tests", "jti": uuid::Uuid::new_v4().to_string(), "access": access,
                "iat": now - 3600, "nbf": now - 3600, "exp": now + seconds,
            }))
        );
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The token for a caller; None: refused.
    fn grant(&self, login: Option<&str>, repository: &str) -> Option<String> {
        // Longer ago than registries forgive clocks that are wrong.
        const EXPIRED: i64 = -600;
        match login {
            None if repository.starts_with("public/") => Some(self.token(repository, &["pull"], 300)),
            None => Some(self.token(repository, &[], 300)),
            Some(login) => match login.split_once(':')? {
                ("alice", PASSWORD) => Some(self.token(repository, &["pull"], 300)),
                ("late", PASSWORD) => Some(self.token(repository, &["pull"], EXPIRED)),
                ("narrow", PASSWORD) => Some(self.token("another/app", &["pull"], 300)),
                _ => None,
            },
        }
    }
}

/// `GET /token?service=…&scope=repository:NAME:pull`, with a login or without.
fn answer(mut stream: TcpStream, signer: &Signer) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let line = lines.next().unwrap_or_default();
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let login = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().strip_prefix("Basic ")?;
        name.eq_ignore_ascii_case("authorization").then(|| String::from_utf8(STANDARD.decode(value).ok()?).ok())?
    });
    let target = line.split(' ').nth(1).unwrap_or_default();
    let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy().into_owned();
    let repository =
        target.split("scope=repository:").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
    let (status, body) = match signer.grant(login.as_deref(), repository) {
        Some(token) => ("200 OK", json!({"token": token, "access_token": token, "expires_in": 300})),
        None => ("401 Unauthorized", json!({"errors": [{"code": "UNAUTHORIZED", "message": "not let in"}]})),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
