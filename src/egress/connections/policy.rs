//! What a pool of containers lets out. It looks at where a connection goes, and at nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use crate::egress::Mode;
use crate::egress::address::{self, Cidr};

/// `[container_pool.egress]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionPolicy {
    pub policy: Mode,
    /// What `allow-list` lets out.
    pub allow: Vec<Destination>,
    /// Networks that are reached although they are private, as `10.1.0.0/16`. A cloud's metadata service and the addresses of
    /// the gateway's own machine must be named as single addresses. A container's loopback is always its own.
    pub allow_private: Vec<Cidr>,
    pub limits: ConnectionLimits,
}

/// Limits of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Connections at once; more are refused.
    pub connections: u32,
    /// A connection on which nothing was sent for so long is cut.
    pub idle_seconds: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        // A browser with some pages, a package manager; a model that thinks before it answers.
        Self { connections: 256, idle_seconds: 600 }
    }
}

impl ConnectionPolicy {
    /// Whether anything may go out.
    pub fn is_open(&self) -> bool {
        self.policy != Mode::Disabled
    }

    /// Everything that makes no sense in it: the setting, and what is wrong.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let within = |setting, value: u64, max: u64| {
            (!(1..=max).contains(&value)).then(|| (setting, format!("is {value}; it must be from 1 to {max}")))
        };
        let mut wrong: Vec<_> = [
            within("egress.limits.connections", self.limits.connections.into(), 10_000),
            within("egress.limits.idle_seconds", self.limits.idle_seconds, 86_400),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (self.policy, self.allow.is_empty()) {
            (Mode::AllowList, true) => wrong.push(("egress.allow", "is empty; name what may be reached".into())),
            (Mode::Disabled | Mode::Enabled, false) => {
                wrong.push(("egress.policy", "must be allow-list where there are rules".into()));
            }
            _ => {}
        }
        for (number, destination) in self.allow.iter().enumerate() {
            wrong.extend(destination.problems().into_iter().map(|problem| {
                ("egress.allow", format!("has a rule, number {}, that makes no sense: {problem}", number + 1))
            }));
        }
        wrong
    }

    /// Whether addresses of this name are told, in lower case and without a dot at its end.
    pub(super) fn resolves(&self, name: &str) -> bool {
        match self.policy {
            Mode::Disabled => false,
            Mode::Enabled => true,
            Mode::AllowList => self.allow.iter().any(|destination| destination.has_name(name)),
        }
    }

    /// Whether a connection goes out, to an address that was granted under these names.
    pub(super) fn lets_out(&self, to: SocketAddr, names: &[Arc<str>]) -> bool {
        let listed = |destination: &Destination| {
            let named = || names.iter().any(|name| destination.has_name(name));
            destination.port() == to.port() && (destination.has_address(to.ip()) || named())
        };
        let wanted = match self.policy {
            Mode::Disabled => false,
            Mode::Enabled => true,
            Mode::AllowList => self.allow.iter().any(listed),
        };
        // Its loopback is the container's own; a connection to ours that comes here was made to the gate itself.
        wanted && !to.ip().is_loopback() && address::allowed(to.ip(), &self.allow_private)
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.limits.idle_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> ConnectionPolicy {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn open(policy: &ConnectionPolicy, to: &str) -> bool {
        policy.lets_out(to.parse().unwrap(), &[])
    }

    #[test]
    fn nothing_goes_out_unless_somebody_said_so() {
        let closed = ConnectionPolicy::default();
        assert!(!closed.is_open() && !closed.resolves("example.com") && !open(&closed, "1.1.1.1:443"));
        assert_eq!(closed.problems(), []);
    }

    #[test]
    fn enabled_is_everything_public() {
        let enabled = policy("policy = 'enabled'\nallow_private = ['10.1.0.0/16']");
        for to in ["1.1.1.1:443", "8.8.8.8:22", "10.1.2.3:5432"] {
            assert!(open(&enabled, to), "{to}");
        }
        for to in
            ["127.0.0.1:80", "10.2.0.1:80", "169.254.169.254:80", "168.63.129.16:80", "192.0.0.8:80", "224.0.0.1:80"]
        {
            assert!(!open(&enabled, to), "{to}");
        }
    }

    #[test]
    fn the_gate_leads_nowhere() {
        let wide = policy("policy = 'enabled'\nallow_private = ['0.0.0.0/0', '127.0.0.1']");
        assert!(!open(&wide, "127.0.0.1:65301") && open(&wide, "192.168.0.1:80"));
    }

    #[test]
    fn a_list_is_of_addresses_and_ports() {
        let list = policy(
            "policy = 'allow-list'\nallow_private = ['203.0.113.0/24', '10.0.0.5']\nallow = [\n\
             { host = '203.0.113.0/28', port = 5432 }, { host = '10.0.0.5', scheme = 'http' }, { host = '10.0.0.6' },\n\
             { host = '1.1.1.1' }]",
        );
        assert_eq!(list.problems(), []);
        for to in ["203.0.113.15:5432", "10.0.0.5:80", "1.1.1.1:443"] {
            assert!(open(&list, to), "{to}");
        }
        for to in ["203.0.113.16:5432", "203.0.113.1:443", "10.0.0.5:443", "10.0.0.6:443", "1.1.1.1:80", "8.8.8.8:443"]
        {
            assert!(!open(&list, to), "{to}");
        }
        assert!(!list.resolves("example.com") && !list.resolves("1.1.1.1"));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let settings = |text: &str| policy(text).problems().into_iter().map(|(setting, _)| setting).collect::<Vec<_>>();
        assert_eq!(settings("policy = 'allow-list'"), ["egress.allow"]);
        assert_eq!(settings("policy = 'enabled'\nallow = [{ host = 'a.example' }]"), ["egress.policy"]);
        assert_eq!(settings("policy = 'allow-list'\nallow = [{ host = 'A.example' }]"), ["egress.allow"]);
        assert_eq!(settings("limits = { connections = 0, idle_seconds = 0 }").len(), 2);
    }
}
