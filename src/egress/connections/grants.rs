//! Addresses that a container was told, for as long as it may use them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses, and names of each: whoever resolves names of a zone of their own can have as many as they like.
const MAX_ADDRESSES: usize = 4096;
const MAX_NAMES: usize = 64;

/// Names that an address was granted under, each with its end.
type Names = Vec<(Arc<str>, Instant)>;

/// Addresses with their names.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<IpAddr, Names>>);

impl Grants {
    /// Grants what a name was resolved to. False when there are too many already, and then nothing is granted.
    pub(super) fn add(&self, name: &str, addresses: &[Ipv4Addr], now: Instant, until: Instant) -> bool {
        let mut grants = self.lock();
        grants.retain(|_, names| {
            names.retain(|(_, end)| *end > now);
            !names.is_empty()
        });
        let new = addresses.iter().filter(|address| !grants.contains_key(&IpAddr::from(**address))).count();
        let full = |address: &Ipv4Addr| grants.get(&(*address).into()).is_some_and(|names| names.len() >= MAX_NAMES);
        if grants.len() + new > MAX_ADDRESSES || addresses.iter().any(full) {
            return false;
        }
        let name: Arc<str> = name.into();
        for address in addresses {
            let names = grants.entry((*address).into()).or_default();
            names.retain(|(known, _)| *known != name);
            names.push((name.clone(), until));
        }
        true
    }

    /// The names that an address is granted under.
    pub(super) fn names(&self, address: IpAddr, now: Instant) -> Vec<Arc<str>> {
        let grants = self.lock();
        let names = grants.get(&address).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter(|(_, end)| *end > now).map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Names>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn grants_end_and_are_renewed_and_are_not_without_number() {
        let grants = Grants::default();
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let one = Ipv4Addr::new(1, 1, 1, 1);
        assert!(grants.add("a.example", &[one], now, at(10)) && grants.add("b.example", &[one], now, at(20)));
        assert_eq!(grants.names(one.into(), at(5)).len(), 2);
        assert_eq!(grants.names(one.into(), at(15)), [Arc::from("b.example")]);
        assert!(grants.add("b.example", &[one], at(15), at(30)));
        assert_eq!(grants.names(one.into(), at(25)).len(), 1);
        let many: Vec<_> =
            (0..u32::try_from(MAX_ADDRESSES).unwrap()).map(|n| Ipv4Addr::from(0x0200_0000 + n)).collect();
        assert!(!grants.add("c.example", &many, at(25), at(60)), "one too many");
        assert!(grants.add("c.example", &many, at(31), at(60)), "those whose time is over make room");
        assert!((0..MAX_NAMES - 1).all(|n| grants.add(&format!("{n}.example"), &many[..1], at(31), at(60))));
        assert!(!grants.add("d.example", &many[..1], at(31), at(60)));
    }
}
