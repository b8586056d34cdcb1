//! Ways out of containers: where they lead, and where not. The first two stories are part of the contract of backends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sandpool::egress::Lookup;
use sandpool::egress::connections::{Connection, ConnectionEnd, ConnectionPolicy, NameEnd, Observer, WayOut};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::container_pools::PoolGateway;
use crate::support::containers::{Backend, ask, runtime, skip};
use crate::support::http::eventually;
use crate::support::images::Recipe;
use crate::support::managed::{GROUP, Managed};
use crate::support::server::own_address;

/// What was seen of a way out.
#[derive(Default)]
struct Watched {
    connections: Mutex<Vec<Connection>>,
    names: Mutex<Vec<NameEnd>>,
}

impl Observer for Watched {
    fn connection(&self, connection: &Connection) {
        self.connections.lock().unwrap().push(connection.clone());
    }

    fn name(&self, end: NameEnd) {
        self.names.lock().unwrap().push(end);
    }
}

/// A server on this machine that is no loopback: what containers may be let to. It answers `pong` to what it is told, and
/// counts who came.
pub struct Outside {
    pub address: SocketAddr,
    came: Arc<Mutex<usize>>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Outside {
    pub async fn start() -> Option<Self> {
        let Some(ip) = own_address() else {
            skip("egress", "this machine has no address but its loopback");
            return None;
        };
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::<Mutex<usize>>::default();
        let counted = came.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                tokio::spawn(async move {
                    let mut heard = Vec::new();
                    let _ = stream.read_to_end(&mut heard).await;
                    let _ = stream.write_all(b"pong to ").await;
                    let _ = stream.write_all(&heard).await;
                });
            }
        });
        Some(Self { address, came, _task: tokio_util::task::AbortOnDropHandle::new(task) })
    }

    fn came(&self) -> usize {
        *self.came.lock().unwrap()
    }
}

fn way_out(policy: &str, watched: &Arc<Watched>, lookup: Option<Lookup>) -> Option<Arc<WayOut>> {
    let policy: ConnectionPolicy = toml::from_str(policy).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(policy.problems(), []);
    let (policy, observer) = (Arc::new(policy), watched.clone());
    Some(match lookup {
        Some(lookup) => WayOut::resolving(policy, observer, lookup),
        None => WayOut::new(policy, observer),
    })
}

/// Whether the backend can do it at all; one that cannot must say so and make no container.
async fn can(backend: &Backend) -> bool {
    if backend.backend.report().enforced.way_out {
        return true;
    }
    let image = backend.image(&["serve"]).await;
    let mut wanted = crate::support::containers::specification();
    wanted.way_out = way_out("policy = 'enabled'", &Arc::default(), None);
    let refused = backend.backend.create(&wanted, &image).await.err().expect("it cannot be enforced");
    assert!(matches!(refused, sandpool::sandbox::container::ContainerError::Unsupported(_)), "{refused}");
    skip(backend.engine, &format!("no ways out: {:?}", backend.backend.report().warnings));
    false
}

pub async fn a_way_out_leads_where_it_may(backend: &Backend) {
    if !can(backend).await {
        return;
    }
    let Some(outside) = Outside::start().await else { return };
    let (ip, port) = (outside.address.ip(), outside.address.port());
    let host_loopback = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let loopback_port = host_loopback.local_addr().unwrap().port();
    let other = backend.serving(|_| ()).await;
    for (policy, reached) in [
        (
            format!("policy = 'allow-list'\nallow_private = ['{ip}']\nallow = [{{ host = '{ip}', port = {port} }}]"),
            true,
        ),
        (format!("policy = 'enabled'\nallow_private = ['{ip}']"), true),
        // A network around one's own address does not name it.
        (
            format!(
                "policy = 'allow-list'\nallow_private = ['0.0.0.0/0']\nallow = [{{ host = '{ip}', port = {port} }}]"
            ),
            false,
        ),
        (format!("policy = 'allow-list'\nallow = [{{ host = '{ip}', port = {port} }}]"), false),
        ("policy = 'allow-list'\nallow = [{ host = 'other.example' }]".into(), false),
        ("policy = 'enabled'".into(), false),
    ] {
        let watched = Arc::<Watched>::default();
        let container = backend.serving(|s| s.way_out = way_out(&policy, &watched, None)).await;
        let before = outside.came();
        let (status, text) = ask(&*container, &format!("/ask?{}", outside.address)).await;
        assert_eq!(status == 200, reached, "{policy}: {text}");
        assert_eq!(outside.came() > before, reached, "{policy}");
        eventually("it is told", async || !watched.connections.lock().unwrap().is_empty()).await;
        let seen = watched.connections.lock().unwrap().clone();
        let end =
            if reached { ConnectionEnd::Closed } else { ConnectionEnd::Failed(sandpool::egress::FailureKind::Refused) };
        assert_eq!((seen.len(), seen[0].host.clone(), seen[0].port, seen[0].end), (1, ip.to_string(), port, end));
        if reached {
            assert_eq!(text, "pong to ping");
            assert_eq!((seen[0].sent_bytes, seen[0].received_bytes), (4, 12));
        }
        // None of these is anybody's to reach, whatever the list says; and they are refused at once.
        let began = Instant::now();
        for address in [
            format!("127.0.0.1:{loopback_port}"),
            "169.254.169.254:80".into(),
            "168.63.129.16:80".into(),
            "10.255.255.1:80".into(),
            "192.0.0.8:8080".into(),
            "127.0.0.1:65301".into(),
            format!("{ip}:{}", if port == 9 { 10 } else { 9 }),
            format!("[::ffff:{ip}]:{loopback_port}"),
            "[2606:4700::1111]:443".into(),
            "[fd00:ec2::254]:80".into(),
        ] {
            let (status, text) = ask(&*container, &format!("/ask?{address}")).await;
            assert_eq!(status, 500, "{policy}: {address}: {text}");
        }
        for address in [format!("{ip}:53"), format!("{ip}:{port}"), "192.0.0.8:123".into()] {
            let (status, _) = ask(&*container, &format!("/udp?{address}")).await;
            assert!(status == 500 || address.ends_with(":53"), "{policy}: a packet to {address}");
        }
        assert!(began.elapsed() < Duration::from_secs(8), "something had to wait: {:?}", began.elapsed());
        assert_eq!(ask(&*container, "/ask?127.0.0.1:8080").await.0, 200, "its own loopback is its own");
        assert_eq!(ask(&*container, "/write?/proc/sys/net/ipv4/ip_forward").await.0, 500);
        container.destroy().await.unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_millis(10), host_loopback.accept()).await.is_err(), "something came");
    other.destroy().await.unwrap();
}

pub async fn names_open_what_they_lead_to(backend: &Backend) {
    if !can(backend).await {
        return;
    }
    let Some(outside) = Outside::start().await else { return };
    let (ip, port) = (outside.address.ip(), outside.address.port());
    // Every name leads to the server; one that is to lead inside, to the machine's loopback and the metadata service.
    let lookup: Lookup = Arc::new(move |name| {
        Box::pin(async move {
            let inside = ["127.0.0.1", "169.254.169.254"].map(|text| SocketAddr::new(text.parse().unwrap(), 0));
            Ok(if name.starts_with("inside.") { inside.to_vec() } else { vec![SocketAddr::new(ip, 0)] })
        })
    });
    let policy = format!(
        "policy = 'allow-list'\nallow_private = ['{ip}']\n\
         allow = [{{ host = 'a.example', port = {port} }}, {{ host = '*.b.example', port = 9 }}, {{ host = 'inside.example' }}]"
    );
    let watched = Arc::<Watched>::default();
    let container = backend.serving(|s| s.way_out = way_out(&policy, &watched, Some(lookup))).await;
    let asked = async |target: &str| ask(&*container, &format!("/ask?{target}")).await;
    let direct = format!("{ip}:{port}");
    assert_eq!(asked(&direct).await.0, 500, "an address that no name led to");
    let began = Instant::now();
    for name in ["evil.example", "a.example.evil.example", "b.example", "inside.example"] {
        assert_eq!(ask(&*container, &format!("/names?{name}")).await.0, 500, "{name}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "a name that is not told is told so at once");
    assert_eq!(ask(&*container, "/names?x.b.example").await, (200, ip.to_string()));
    assert_eq!(asked(&direct).await.0, 500, "another rule's name, with another port");
    assert_eq!(asked(&format!("a.example:{port}")).await, (200, "pong to ping".into()));
    assert_eq!(asked(&direct).await.0, 200, "as long as the answer may be used");
    assert_eq!(asked("a.example:9").await.0, 500);
    let hosts: Vec<_> = watched.connections.lock().unwrap().iter().map(|seen| seen.host.clone()).collect();
    assert!(hosts.contains(&"a.example".to_owned()), "{hosts:?}");
    let names = watched.names.lock().unwrap().clone();
    assert_eq!(names.iter().filter(|end| **end == NameEnd::Refused).count(), 4, "{names:?}");
    container.destroy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pools_connections_are_bounded_counted_and_shown() {
    let Some(outside) = Outside::start().await else { return };
    let (ip, port) = (outside.address.ip(), outside.address.port());
    let settings = format!(
        "[egress]\npolicy = 'allow-list'\nallow_private = ['{ip}']\nallow = [{{ host = '{ip}', port = {port} }}]\n\
         limits = {{ connections = 2, idle_seconds = 1 }}"
    );
    let Some(gateway) = PoolGateway::open(&settings).await else { return };
    if !gateway.pool.report().enforced.way_out {
        skip(runtime(), "no ways out");
        return gateway.end().await;
    }
    let target = outside.address;
    assert_eq!(gateway.get(&format!("/ask?{target}&identifier=session")).await, (200, "pong to ping".into()));
    assert_eq!(gateway.get("/ask?10.0.0.1:80&identifier=session").await.0, 500);
    // Two that say nothing, which the container keeps; a third one finds no place, until they are cut.
    for _ in 0..2 {
        assert_eq!(gateway.get(&format!("/keep?{target}&identifier=session")).await.0, 200);
    }
    eventually("both are carried", async || outside.came() == 3).await;
    assert_eq!(gateway.get(&format!("/ask?{target}&identifier=session")).await.0, 500);
    eventually("idle ones are cut", async || gateway.get(&format!("/ask?{target}&identifier=session")).await.0 == 200)
        .await;
    let (status, network) = gateway.json("GET", "/.management/network?identifier=session").await;
    assert_eq!(status, 200);
    let listed = network["network"].as_array().unwrap();
    let first = json!({"host": ip.to_string(), "port": port, "bytesSent": 4, "bytesReceived": 12});
    assert_eq!(listed[0], first, "{network}");
    assert_eq!(
        listed[1],
        json!({"host": "10.0.0.1", "port": 80, "failure": "refused", "bytesSent": 0, "bytesReceived": 0})
    );
    for failure in ["limit", "timeout"] {
        assert!(listed.iter().any(|seen| seen["failure"] == failure), "{failure}: {network}");
    }
    let nobody = async |what: &str| gateway.refusal("GET", &format!("/.management/{what}?identifier=nobody")).await;
    assert_eq!(nobody("network").await, nobody("console").await);
    let metrics = gateway.gateway.metrics().text();
    for series in [
        "sandpool_egress_connections_total{end=\"refused\",poolName=\"app\"} 1",
        "sandpool_egress_connections_total{end=\"timeout\",poolName=\"app\"} 2",
        "sandpool_egress_bytes_total{direction=\"sent\",poolName=\"app\"} 8",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_given_a_way_out_by_its_resource() {
    let Some(outside) = Outside::start().await else { return };
    let (ip, port) = (outside.address.ip(), outside.address.port());
    let Some(gateway) = Managed::open().await else { return };
    if !gateway.gateway.containers().unwrap().backend.report().enforced.way_out {
        skip(runtime(), "no ways out");
        return gateway.end().await;
    }
    let image = Recipe::app(&["serve"]).layout(&gateway.folder().join("layout"));
    let pool = |status: &str, egress: serde_json::Value| {
        json!({"location": "here", "properties": {
            "containerType": "CustomContainer",
            "scaleConfiguration": {"maxConcurrentSessions": 4, "readySessionInstances": 0},
            "sessionNetworkConfiguration": {"status": status},
            "customContainerTemplate": {
                "containers": [{"image": image, "resources": {"memory": "64Mi"}}], "ingress": {"targetPort": 8080}},
            "sandpool": {"termination_grace_seconds": 0, "egress": egress},
        }})
    };
    let rule = json!({"host": ip.to_string(), "port": port});
    let list = json!({"policy": "allow-list", "allow": [rule], "allow_private": [ip.to_string()]});
    for (status, egress, said) in [
        ("EgressDisabled", list.clone(), "must be EgressEnabled"),
        ("EgressEnabled", json!({"policy": "allow-list"}), "is empty"),
        (
            "EgressEnabled",
            json!({"policy": "allow-list", "allow": [{"host": "a.example", "path": "/v1"}]}),
            "cannot be held",
        ),
        (
            "EgressEnabled",
            json!({"policy": "allow-list", "allow": [{"host": "a.example", "headers": {"K": "s3cret"}}]}),
            "cannot be held",
        ),
    ] {
        let refused = gateway.call("PUT", &format!("{GROUP}/app"), &pool(status, egress)).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(said) && !refused.text().contains("s3cret"), "{}", refused.text());
    }
    let reach = async |identifier: &str| {
        gateway.ask("app", &format!("/ask?{}&identifier={identifier}", outside.address)).await.0
    };
    let put =
        async |status: &str, egress| gateway.call("PUT", &format!("{GROUP}/app"), &pool(status, egress)).await.status;
    assert_eq!(put("EgressEnabled", list).await, 201);
    assert_eq!(gateway.pool("app").await["properties"]["sessionNetworkConfiguration"]["status"], "EgressEnabled");
    assert_eq!(reach("session-1").await, 200);
    assert_eq!(put("EgressEnabled", serde_json::Value::Null).await, 200);
    assert_eq!(reach("session-2").await, 500, "enabled is what is public, and this is not");
    assert_eq!(put("EgressDisabled", serde_json::Value::Null).await, 200);
    assert_eq!(reach("session-3").await, 500);
    assert_eq!(reach("session-1").await, 200, "it stays as it began");
    let stop = "/pools/app/.management/stopSession?identifier=session-1";
    assert_eq!(gateway.call("POST", stop, &json!({})).await.status, 200);
    let sums = || gateway.call("GET", "/records/usage/sums?by=pool", &serde_json::Value::Null);
    eventually("its use is recorded", async || sums().await.json()["value"][0]["networkBytes"] == 32).await;
    gateway.end().await;
}
