//! The way out of what makes connections by itself: containers. Their pool's policy is the one of interpreter pools, as far
//! as it can be held without looking into what is sent.
//!
//! ```text
//! query       policy: is the name listed?       resolve, leave out private addresses      granted for the answer's TTL
//! ------->    (policy, destination)         --> (WayOut)                              --> (grants)
//! connection  policy: is the address, or a name that it was granted under, listed?        connect, carry both ways, count
//! ------->    private and own addresses are not -----------------------------------------> (relay)
//! ```
//!
//! What comes from inside is hostile: queries are parsed by `dns.rs`, and where a connection was going is the kernel's word.
//! Deliberately not here: how connections are led to this (`sandbox/container/`).

mod destination;
mod dns;
mod grants;
mod policy;
mod relay;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::address;
use super::resolver::{Lookup, system};
use destination::canonical;
use dns::{Answer, Query};
use grants::Grants;

pub use destination::Destination;
pub use policy::{ConnectionLimits, ConnectionPolicy};
pub use relay::{Connection, ConnectionEnd};

/// How long a container may keep an answer.
const TTL: Duration = Duration::from_secs(60);
/// How long its addresses are allowed for: whoever uses an answer at the end of its time still has to connect.
const GRANT: Duration = Duration::from_secs(90);
/// More addresses of a name are left out: an answer fits into the 512 bytes that every client takes.
const MAX_ADDRESSES: usize = 8;
/// Questions of one container at once; others are not heard, and asked again by whoever asked.
const QUESTIONS_AT_ONCE: usize = 32;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections that are listed, the last ones.
pub const MAX_CONNECTIONS: usize = 100;

/// How a question for a name ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameEnd {
    Answered,
    /// The policy does not have the name, or it leads to private addresses alone.
    Refused,
    /// It has no address, or nobody could be asked.
    Unknown,
}

impl NameEnd {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Is told what goes out, as it ends.
pub trait Observer: Send + Sync {
    fn connection(&self, connection: &Connection);
    fn name(&self, end: NameEnd);
}

/// The way out of one container.
pub struct WayOut {
    policy: Arc<ConnectionPolicy>,
    lookup: Lookup,
    grants: Grants,
    connections: Semaphore,
    questions: Semaphore,
    seen: Mutex<Seen>,
    /// Both ways, so far.
    bytes: AtomicU64,
    observer: Arc<dyn Observer>,
}

/// What went out so far, of connections that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last [`MAX_CONNECTIONS`], the oldest first.
    pub listed: Vec<Connection>,
    /// How many there were before them.
    pub omitted: u64,
}

impl WayOut {
    /// A way out that asks the machine's own resolver for names.
    pub fn new(policy: Arc<ConnectionPolicy>, observer: Arc<dyn Observer>) -> Arc<Self> {
        Self::resolving(policy, observer, system())
    }

    /// The same with another resolver.
    pub fn resolving(policy: Arc<ConnectionPolicy>, observer: Arc<dyn Observer>, lookup: Lookup) -> Arc<Self> {
        let connections = Semaphore::new(policy.limits.connections as usize);
        Arc::new(Self {
            policy,
            lookup,
            grants: Grants::default(),
            connections,
            questions: Semaphore::new(QUESTIONS_AT_ONCE),
            seen: Mutex::default(),
            bytes: AtomicU64::new(0),
            observer,
        })
    }

    /// What went out so far.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// So much went out and came in by the way out that this one takes the place of.
    pub fn carried_before(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that went out and came in so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Answers a message to a name server; None when there is nothing to say to it.
    pub async fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let _turn = self.questions.try_acquire().ok()?;
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(malformed) => return malformed,
        };
        let (answer, end) = self.resolve(&query).await;
        if query.asks_for_addresses() {
            self.observer.name(end);
        }
        Some(query.answer(&answer))
    }

    async fn resolve(&self, query: &Query<'_>) -> (Answer, NameEnd) {
        // A name that does not exist is told at once to every program; a refusal by the server makes some try again.
        let refused = (Answer::NoSuchName, NameEnd::Refused);
        let Some(name) = canonical(&query.name).filter(|name| self.policy.resolves(name)) else { return refused };
        if !query.asks_for_addresses() {
            // There is IPv4 alone.
            return (Answer::Addresses(Vec::new()), NameEnd::Answered);
        }
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, (self.lookup)(name.clone())).await;
        let found: Vec<Ipv4Addr> = match found {
            Ok(Ok(found)) => {
                found.iter().filter_map(|at| if let IpAddr::V4(v4) = at.ip() { Some(v4) } else { None }).collect()
            }
            Ok(Err(_)) => return (Answer::NoSuchName, NameEnd::Unknown),
            Err(_) => return (Answer::Failed, NameEnd::Unknown),
        };
        if found.is_empty() {
            return (Answer::NoSuchName, NameEnd::Unknown);
        }
        let open = found
            .into_iter()
            .filter(|v4| !v4.is_loopback() && address::allowed((*v4).into(), &self.policy.allow_private));
        let open: Vec<_> = open.take(MAX_ADDRESSES).collect();
        if open.is_empty() {
            return refused;
        }
        let now = Instant::now();
        if !self.grants.add(&name, &open, now, now + GRANT) {
            return (Answer::Failed, NameEnd::Unknown);
        }
        (Answer::Addresses(open), NameEnd::Answered)
    }

    fn ended(&self, connection: Connection) {
        self.observer.connection(&connection);
        let mut seen = self.lock();
        if seen.listed.len() == MAX_CONNECTIONS {
            seen.listed.remove(0);
            seen.omitted += 1;
        }
        seen.listed.push(connection);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    struct Deaf;

    impl Observer for Deaf {
        fn connection(&self, _: &Connection) {}
        fn name(&self, _: NameEnd) {}
    }

    fn way_out(policy: &str, addresses: &'static [&'static str]) -> Arc<WayOut> {
        let policy: ConnectionPolicy = toml::from_str(policy).unwrap();
        let lookup: Lookup = Arc::new(move |_| {
            Box::pin(async move { Ok(addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect()) })
        });
        WayOut::resolving(Arc::new(policy), Arc::new(Deaf), lookup)
    }

    /// Code and addresses of an answer to a question for `name`.
    async fn asked(way_out: &WayOut, name: &str) -> (u8, usize) {
        let answer = way_out.answer(&dns::tests::question(name, 1)).await.unwrap();
        (answer[3] & 15, usize::from(answer[7]))
    }

    #[tokio::test]
    async fn a_name_opens_its_addresses_to_its_rule_alone() {
        let list = "policy = 'allow-list'\nallow = [{ host = 'a.example' }, { host = '*.b.example', port = 8443 }]";
        let out = way_out(list, &["93.184.215.14", "10.0.0.1"]);
        let to = |port| SocketAddr::new("93.184.215.14".parse().unwrap(), port);
        let now = Instant::now();
        let open = |port| out.policy.lets_out(to(port), &out.grants.names(to(port).ip(), now));
        assert!(!open(443), "nobody asked for a name that leads there");
        assert_eq!(asked(&out, "A.Example").await, (0, 1), "the private address is left out");
        assert!(open(443) && !open(80) && !open(8443));
        assert_eq!(asked(&out, "x.b.example").await, (0, 1));
        assert!(open(8443));
        for name in ["b.example", "evil.example", "a.example.evil.example", "a.exam\\ple"] {
            assert_eq!(asked(&out, name).await, (3, 0), "{name}");
        }
        assert_eq!(out.grants.names(to(443).ip(), now + 2 * GRANT), Vec::<Arc<str>>::new(), "the time is over");
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_does_not_exist() {
        let out = way_out("policy = 'enabled'", &["127.0.0.1", "169.254.169.254", "::1"]);
        assert_eq!(asked(&out, "rebind.example").await, (3, 0));
        let listed = way_out("policy = 'enabled'\nallow_private = ['10.0.0.0/8']", &["10.0.0.1"]);
        assert_eq!(asked(&listed, "rebind.example").await, (0, 1));
    }
}
