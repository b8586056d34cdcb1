//! The way out: HTTP(S) requests on behalf of guests, under their pool's policy.
//!
//! ```text
//! Request   policy: host, port, method, path     resolve, check each address    connect to what was checked, send
//! --------> canonical before it is compared ---> private ones are left out ---> once; a redirect is an answer
//!           (policy, rule, target)               (address, own, resolver)       (client)
//! ```
//!
//! The guest has no socket and no resolver: it hands over a request and takes an answer. What it hands over is hostile.
//! It never sees the headers that a rule adds. Containers do have sockets: `connections/`. Deliberately not here: the guest's memory, and how many requests an
//! execution has made (`sandbox/wasm/http.rs`).

pub mod address;
mod client;
pub mod connections;
mod exchange;
mod own;
mod policy;
mod record;
mod resolver;
mod rule;
mod target;

use std::sync::{Arc, LazyLock, OnceLock};

pub use exchange::{Failure, FailureKind, Request, Response};
pub use policy::{EgressLimits, EgressPolicy, Mode};
pub use record::{Call, CallEnd, Calls, MAX_CALLS};
pub use resolver::{Looking, Lookup};
pub use rule::{Rule, Scheme, Secret};
pub use target::Target;

use client::{Client, Outgoing};

/// A pool's way out. Its thread and its certificates are loaded with the first request that is let through.
pub struct Egress {
    policy: EgressPolicy,
    client: OnceLock<Result<Client, Failure>>,
}

/// A request that the policy lets through.
pub struct Admitted(Outgoing);

impl Egress {
    pub fn new(policy: EgressPolicy) -> Arc<Self> {
        Arc::new(Self { policy, client: OnceLock::new() })
    }

    /// No way out.
    pub fn disabled() -> Arc<Self> {
        static DISABLED: LazyLock<Arc<Egress>> = LazyLock::new(|| Egress::new(EgressPolicy::default()));
        DISABLED.clone()
    }

    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Whether any request may go to this host and port.
    ///
    /// # Errors
    /// Why none may.
    pub fn probe(&self, target: &Target) -> Result<(), Failure> {
        self.policy.reachable(target)
    }

    /// Decides about a request. Nothing is resolved or connected yet.
    ///
    /// # Errors
    /// Why it may not go out, or what is wrong with it.
    pub fn admit(&self, request: Request, target: &Target) -> Result<Admitted, Failure> {
        let added = self.policy.decide(&request.method, target)?;
        let timeout = self.policy.limits.timeout();
        let timeout = request.timeout.map_or(timeout, |asked| asked.min(timeout));
        Outgoing::new(request, target, added, timeout, self.policy.limits.response_bytes).map(Admitted)
    }

    /// Sends a request and gathers the answer. Dropping the future ends the request.
    ///
    /// # Errors
    /// What came in its way.
    pub async fn send(&self, admitted: Admitted) -> Result<Response, Failure> {
        let client = self.client.get_or_init(|| Client::start(self.policy.allow_private.clone()));
        client.as_ref().map_err(Clone::clone)?.send(admitted.0).await
    }
}
