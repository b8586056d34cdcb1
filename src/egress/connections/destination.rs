//! One entry of a container pool's allow-list: where a connection may go.

use std::net::IpAddr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::egress::address::Cidr;
use crate::egress::rule::host_problem;
use crate::egress::{Rule, Scheme};

/// A destination: a rule of an interpreter pool without what cannot be seen from outside of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Destination {
    /// Only for its port; what is spoken is not looked at.
    pub scheme: Scheme,
    /// A name, `*.example.com` for every name below `example.com`, an address, or a network as `10.1.0.0/16`.
    pub host: String,
    /// None: the scheme's.
    pub port: Option<u16>,
}

/// A rule as it is written, with all that rules may have elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    scheme: Scheme,
    host: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    methods: Option<IgnoredAny>,
    #[serde(default)]
    path: Option<IgnoredAny>,
    #[serde(default)]
    headers: Option<IgnoredAny>,
}

impl TryFrom<Written> for Destination {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let set = [("methods", &written.methods), ("path", &written.path), ("headers", &written.headers)];
        match set.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(format!(
                "{name} of a rule cannot be held for containers: they make their own connections, into which the gateway \
                 does not look; name host and port alone"
            )),
            None => Ok(Self { scheme: written.scheme, host: written.host, port: written.port }),
        }
    }
}

impl Destination {
    /// Everything that makes no sense in it.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut wrong: Vec<String> =
            if self.network().is_some() { None } else { host_problem(&self.host) }.into_iter().collect();
        if self.port == Some(0) {
            wrong.push("the port is 0".into());
        }
        if self.network().is_some_and(|network| network.is_ipv6()) {
            wrong.push("containers have IPv4 alone".into());
        }
        wrong
    }

    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.port())
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.network().is_none() && Rule::host_has_name(&self.host, name)
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.network().is_some_and(|network| network.contains(address))
    }

    fn network(&self) -> Option<Cidr> {
        self.host.parse().ok()
    }
}

/// A name as rules have it: in lower case, without a dot at its end. None when no machine can have it.
pub(super) fn canonical(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let fits = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // What is an address, or is taken for one by some resolvers, is no name.
    let numeric =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
    (name.len() <= 253 && name.split('.').all(fits) && !numeric).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_refused_with_the_reason() {
        for text in ["methods = ['POST']", "path = '/v1'", "headers = { A = 's3cret' }"] {
            let error = toml::from_str::<Destination>(&format!("host = 'a.example'\n{text}")).unwrap_err().to_string();
            assert!(error.contains("cannot be held for containers"), "{error}");
        }
        assert!(toml::from_str::<Destination>("host = 'a.example'\nprot = 80").is_err());
    }

    #[test]
    fn names_are_compared_whole() {
        let below: Destination = toml::from_str("host = '*.example.com'").unwrap();
        assert!(below.has_name("a.b.example.com"));
        assert!(!["example.com", "notexample.com", ".example.com"].iter().any(|name| below.has_name(name)));
        let wrong = |text: &str| !toml::from_str::<Destination>(text).unwrap().problems().is_empty();
        for text in ["host = 'fd00::/8'", "host = '*.com'", "host = 'a.example'\nport = 0", "host = '10.0.0.1/8'"] {
            assert!(wrong(text), "{text}");
        }
        assert!(!wrong("host = '10.0.0.0/8'") && !wrong("host = '*.a.example'"));
    }

    #[test]
    fn only_names_are_names() {
        assert_eq!(canonical("A.Example.").as_deref(), Some("a.example"));
        assert_eq!(canonical("localhost").as_deref(), Some("localhost"));
        for name in ["", ".", "a..b", "127.0.0.1", "127.1", "0x7f000001", "a b", "a/b", "ü.example", "a.example\0"] {
            assert_eq!(canonical(name), None, "{name:?}");
        }
        assert_eq!(canonical(&"a.".repeat(200)), None);
    }
}
