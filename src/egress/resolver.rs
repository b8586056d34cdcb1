//! Names to addresses that may be connected to. The connection is made to what is given out here and nothing resolves
//! the name again, so a name that changes its address between two questions (DNS rebinding) gains nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{self, Cidr};
use super::exchange::{Failure, FailureKind};

/// Asks for the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> Looking + Send + Sync>;
pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A resolver that gives out only what its pool may reach.
pub struct Guarded {
    lookup: Lookup,
    allow_private: Arc<[Cidr]>,
}

impl Guarded {
    pub fn new(lookup: Lookup, allow_private: &[Cidr]) -> Self {
        Self { lookup, allow_private: allow_private.into() }
    }
}

/// The machine's own resolver.
pub fn system() -> Lookup {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, networks) = ((self.lookup)(name.as_str().to_owned()), self.allow_private.clone());
        Box::pin(async move {
            let none = || Failure::new(FailureKind::Resolve, format!("{} has no address", name.as_str()));
            let found = found.await.map_err(|_| none())?;
            if found.is_empty() {
                return Err(none().into());
            }
            let open: Vec<_> = found.into_iter().filter(|at| address::allowed(at.ip(), &networks)).collect();
            if open.is_empty() {
                return Err(address::refusal(name.as_str()).into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(addresses: &'static [&'static str], networks: &[&str]) -> Result<Vec<String>, Failure> {
        let lookup: Lookup = Arc::new(move |_| {
            Box::pin(async move { Ok(addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect()) })
        });
        let networks: Vec<Cidr> = networks.iter().map(|network| network.parse().unwrap()).collect();
        let answer = Guarded::new(lookup, &networks).resolve("h.example".parse().unwrap()).await;
        answer
            .map(|found| found.map(|at| at.ip().to_string()).collect())
            .map_err(|error| *error.downcast::<Failure>().unwrap())
    }

    #[tokio::test]
    async fn private_addresses_are_left_out() {
        assert_eq!(resolved(&["10.0.0.1", "1.1.1.1", "::1"], &[]).await.unwrap(), ["1.1.1.1"]);
        assert_eq!(resolved(&["10.0.0.1", "127.0.0.1"], &["10.0.0.0/8"]).await.unwrap(), ["10.0.0.1"]);
        let refused = resolved(&["10.0.0.1", "::ffff:127.0.0.1"], &[]).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(!refused.message.contains("10.0"), "the address is not told");
        assert_eq!(resolved(&[], &[]).await.unwrap_err().kind, FailureKind::Resolve);
    }
}
