//! Bearer tokens: those of an issuer, all that attackers make of them, and the gateway's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};
use sandpool::access::token::{IdentitySettings, IssuerSettings};
use sandpool::access::{Access, AccessSettings};
use sandpool::api::serve::Connections;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::http::{Answer, Running, gateway_with};

/// An RSA key for these tests and nothing else.
static RSA: &[u8] = include_bytes!("../../fixtures/tokens/issuer.pk8");

/// An issuer: keys, and a server of its key set that counts how often it is asked.
struct Issuer {
    rsa: RsaKeyPair,
    curve: EcdsaKeyPair,
    published: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::from_pkcs8(RSA).unwrap();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let curve = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (published, asked): (Arc<Mutex<String>>, Arc<AtomicUsize>) = Default::default();
        let (kept, counted) = (published.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                counted.fetch_add(1, Ordering::SeqCst);
                let body = kept.lock().unwrap().clone();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let issuer = Self { rsa, curve, published, asked, url };
        issuer.publish(&["rsa", "curve"]);
        issuer
    }

    fn publish(&self, ids: &[&str]) {
        let key = |id: &&str| match *id {
            "rsa" => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
                json!({"kid": "rsa", "kty": "RSA", "alg": "RS256", "use": "sig", "n": text(&n), "e": text(&e)})
            }
            id => {
                let point = self.point();
                json!({"kid": id, "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
        };
        *self.published.lock().unwrap() = json!({"keys": ids.iter().map(key).collect::<Vec<_>>()}).to_string();
    }

    fn point(&self) -> Vec<u8> {
        self.curve.public_key().as_ref().to_vec()
    }

    fn settings(&self) -> IssuerSettings {
        let settings = format!(
            "issuer = 'https://issuer.example'\njwks_url = '{}'\n\
             [[grant]]\nclaim = 'roles'\nvalue = 'Run'\nroles = ['executor']\npools = ['python']",
            self.url
        );
        toml::from_str(&settings).unwrap()
    }

    /// A token with this header and these claims, signed with the RSA or the curve's key.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = if header["kid"] == "rsa" {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(&signature::RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        } else {
            self.curve.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{message}.{}", text(&signature))
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

fn hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(header, claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{message}.{}", text(ring::hmac::sign(&key, message.as_bytes()).as_ref()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that open the pool, changed by `changes`; null takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": "https://issuer.example", "aud": "https://dynamicsessions.io", "sub": "somebody",
        "roles": ["Run"], "tid": "tenant-1", "exp": now() + 600});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

async fn gateway(issuer: &Issuer, identity: Option<IdentitySettings>) -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        AccessSettings { keys: Vec::new(), issuers: vec![issuer.settings()], identity, ..AccessSettings::default() };
    let access = Access::start(settings, folder.path()).unwrap();
    (gateway_with(access, Connections::default(), |_| ()).await, folder)
}

async fn call(gateway: &Running, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    gateway.send("GET", "/pools/python/listSessions", &[("authorization", &authorization)], b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_issuer_opens_what_is_granted() {
    let issuer = Issuer::start().await;
    let (gateway, _folder) = gateway(&issuer, None).await;
    let (rsa, curve) = (json!({"alg": "RS256", "kid": "rsa"}), json!({"alg": "ES256", "kid": "curve"}));
    for (header, changes) in [
        (&rsa, json!({})),
        (&curve, json!({})),
        (&rsa, json!({"aud": "https://acasessions.io"})),
        (&rsa, json!({"aud": ["other", "https://dynamicsessions.io/"]})),
        // Clocks differ.
        (&rsa, json!({"exp": now() - 20})),
        (&rsa, json!({"nbf": now() + 20})),
    ] {
        let answer = call(&gateway, &issuer.sign(header, &claims(changes.clone()))).await;
        assert_eq!(answer.status, 200, "{changes}: {}", answer.text());
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "keys are kept");
    let token = issuer.sign(&rsa, &claims(json!({"roles": ["Look"]})));
    assert_eq!(call(&gateway, &token).await.code(), "AuthorizationFailed", "known, and nothing is granted");
    let authorization = format!("Bearer {}", issuer.sign(&rsa, &claims(json!({}))));
    let other = gateway.send("GET", "/pools/other/listSessions", &[("authorization", &authorization)], b"").await;
    assert_eq!(other.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_attackers_make_of_tokens_is_refused() {
    let issuer = Issuer::start().await;
    let identity = toml::from_str("header = 'a-long-enough-header'").unwrap();
    let (gateway, _folder) = gateway(&issuer, Some(identity)).await;
    let rsa = json!({"alg": "RS256", "kid": "rsa"});
    let good = issuer.sign(&rsa, &claims(json!({})));
    assert_eq!(call(&gateway, &good).await.status, 200);
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let unsigned = message(&json!({"alg": "none", "kid": "rsa"}), &claims(json!({})));
    let hs = json!({"alg": "HS256", "kid": "rsa"});
    let published = issuer.published.lock().unwrap().clone();
    let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(issuer.rsa.public()).n;
    let stranger = Issuer::start().await;
    let flipped =
        if signature.starts_with('A') { signature.replacen('A', "B", 1) } else { format!("A{}", &signature[1..]) };
    let claimed = |changes: Value| issuer.sign(&rsa, &claims(changes));
    let table: Vec<(&str, String)> = vec![
        ("unsigned, no signature", format!("{unsigned}.")),
        ("unsigned, the good signature", format!("{unsigned}.{signature}")),
        (
            "unsigned, another spelling",
            format!("{}.", message(&json!({"alg": "nOnE", "kid": "rsa"}), &claims(json!({})))),
        ),
        ("no signature", format!("{head}.{body}.")),
        ("another signature", format!("{head}.{body}.{flipped}")),
        ("other claims under the good signature", {
            let claims = claims(json!({"sub": "root"}));
            format!("{head}.{}.{signature}", text(claims.to_string().as_bytes()))
        }),
        ("the public key as a secret: the modulus", hmac(&hs, &claims(json!({})), &modulus)),
        ("the public key as a secret: the key set", hmac(&hs, &claims(json!({})), published.as_bytes())),
        (
            "the public key as a secret: the point",
            hmac(&json!({"alg": "HS256", "kid": "curve"}), &claims(json!({})), &issuer.point()),
        ),
        ("an empty secret", hmac(&hs, &claims(json!({})), b"")),
        (
            "our own issuer's name, our algorithm, no secret of ours",
            hmac(&json!({"alg": "HS256"}), &claims(json!({"iss": "sandpool"})), b""),
        ),
        ("our own issuer's name, another's key", issuer.sign(&rsa, &claims(json!({"iss": "sandpool"})))),
        (
            "an algorithm of the family that the key is not for",
            issuer.sign(&json!({"alg": "RS512", "kid": "rsa"}), &claims(json!({}))),
        ),
        ("an algorithm of another family", issuer.sign(&json!({"alg": "ES256", "kid": "rsa"}), &claims(json!({})))),
        ("no key id", issuer.sign(&json!({"alg": "RS256"}), &claims(json!({})))),
        ("an unknown key id", issuer.sign(&json!({"alg": "ES256", "kid": "other"}), &claims(json!({})))),
        ("the id of another key", issuer.sign(&json!({"alg": "ES256", "kid": "curve\u{0}"}), &claims(json!({})))),
        (
            "a key of its own in the header",
            issuer.sign(
                &json!({"alg": "ES256", "kid": "x", "jku": issuer.url, "jwk": {"kty": "oct", "k": "AA"}}),
                &claims(json!({})),
            ),
        ),
        (
            "somebody else's key under a known id",
            stranger.sign(&json!({"alg": "ES256", "kid": "curve"}), &claims(json!({}))),
        ),
        ("expired", claimed(json!({"exp": now() - 120}))),
        ("expired long ago", claimed(json!({"exp": 0}))),
        ("no end", claimed(json!({"exp": null}))),
        ("an end that is text", claimed(json!({"exp": "9999999999"}))),
        ("not yet", claimed(json!({"nbf": now() + 600}))),
        ("a beginning that is text", claimed(json!({"nbf": "now"}))),
        ("another audience", claimed(json!({"aud": "https://management.azure.com"}))),
        ("an audience that only begins well", claimed(json!({"aud": "https://dynamicsessions.io.evil.example"}))),
        ("no audience", claimed(json!({"aud": null}))),
        ("another issuer", claimed(json!({"iss": "https://evil.example"}))),
        ("an issuer in a list", claimed(json!({"iss": ["https://issuer.example"]}))),
        ("no issuer", claimed(json!({"iss": null}))),
        ("no subject", claimed(json!({"sub": null}))),
        ("a subject that is no text", claimed(json!({"sub": 7}))),
        ("oversized", claimed(json!({"more": "x".repeat(17_000)}))),
        ("no JSON", format!("{}.{}.{}", text(b"{"), text(b"{"), text(b"x"))),
        ("no base64", "a.b.c".into()),
        ("four parts", format!("{good}.{signature}")),
        ("two parts", format!("{head}.{body}")),
        ("padding", format!("{head}==.{body}==.{signature}==")),
        ("nothing", String::new()),
    ];
    for (attack, token) in table {
        let answer = call(&gateway, &token).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "Unauthorized"), "{attack}: {}", answer.text());
    }
    // Many unknown key ids, and the issuer was hardly asked.
    assert!(issuer.asked.load(Ordering::SeqCst) <= 2, "{:?}", issuer.asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_issuer_is_fetched_when_it_is_first_seen() {
    let issuer = Issuer::start().await;
    issuer.publish(&["rsa"]);
    let (gateway, _folder) = gateway(&issuer, None).await;
    let young = issuer.sign(&json!({"alg": "ES256", "kid": "young"}), &claims(json!({})));
    issuer.publish(&["rsa", "young"]);
    let calls = futures_util::future::join_all((0..10).map(|_| call(&gateway, &young))).await;
    assert!(calls.iter().all(|answer| answer.status == 200));
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_be_asked_is_not_the_callers_fault() {
    let issuer = Issuer::start().await;
    *issuer.published.lock().unwrap() = "x".repeat(600_000);
    let (gateway, _folder) = gateway(&issuer, None).await;
    let answer = call(&gateway, &issuer.sign(&json!({"alg": "RS256", "kid": "rsa"}), &claims(json!({})))).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "TokenIssuerUnavailable"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_gives_tokens_to_who_knows_its_header() {
    let issuer = Issuer::start().await;
    let identity = toml::from_str("header = 'a-long-enough-header'\npools = ['python']").unwrap();
    let (gateway, _folder) = gateway(&issuer, Some(identity)).await;
    let path = "/msi/token?api-version=2019-08-01&resource=https://dynamicsessions.io";
    for wrong in [&[][..], &[("x-identity-header", "a-long-enough-heade")], &[("x-identity-header", "")]] {
        assert_eq!(gateway.send("GET", path, wrong, b"").await.status, 401, "{wrong:?}");
    }
    let answer = gateway.send("GET", path, &[("X-IDENTITY-HEADER", "a-long-enough-header")], b"").await.json();
    let expires: u64 = answer["expires_on"].as_str().unwrap().parse().unwrap();
    assert!((now() + 3000..now() + 4000).contains(&expires));
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(call(&gateway, token).await.status, 200);
    let authorization = format!("Bearer {token}");
    let body = br#"{"name":"a","roles":["executor"],"pools":["python"]}"#;
    let keys = gateway.send("POST", "/keys", &[("authorization", &authorization)], body).await;
    assert_eq!(keys.status, 403, "an executor makes no keys");
    let longer = format!("/msi/token?resource={}", "x".repeat(2000));
    let headers = [("x-identity-header", "a-long-enough-header")];
    assert_eq!(gateway.send("GET", &longer, &headers, b"").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_there_is_no_token_endpoint() {
    let issuer = Issuer::start().await;
    let (gateway, _folder) = gateway(&issuer, None).await;
    assert_eq!(gateway.get("/msi/token").await.code(), "RouteNotFound");
}
