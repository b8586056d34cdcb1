//! What a pool lets out. It looks at what was asked for, and at nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::{self, Cidr};
use super::exchange::Failure;
use super::rule::{Rule, Secret, may_be_sent};
use super::target::Target;

/// `[pool.egress]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressPolicy {
    pub policy: Mode,
    /// What `allow-list` lets out; the first rule that fits counts. With `enabled` a rule adds its headers only.
    pub allow: Vec<Rule>,
    /// Networks that are reached although they are private, as `10.1.0.0/16`. A cloud's metadata service and the addresses of
    /// the gateway's own machine must be named as single addresses (or, for its loopback, as a network of that).
    pub allow_private: Vec<Cidr>,
    pub limits: EgressLimits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing.
    #[default]
    Disabled,
    /// Everything that is not private.
    Enabled,
    /// What a rule names.
    AllowList,
}

/// Limits of one execution, and of each of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressLimits {
    /// Requests of one execution, those that were refused included.
    pub requests: u32,
    /// Body of one request.
    pub request_bytes: u64,
    /// Body of one answer.
    pub response_bytes: u64,
    /// From a request to the end of its answer.
    pub timeout_seconds: u64,
}

impl Default for EgressLimits {
    fn default() -> Self {
        // A scraper's loop; data sets of some million rows.
        Self { requests: 100, request_bytes: 16 << 20, response_bytes: 64 << 20, timeout_seconds: 30 }
    }
}

impl EgressLimits {
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

const NO_NETWORK: &str =
    "this pool has no network access; its operator can grant some ([pool.egress] of the configuration)";

impl EgressPolicy {
    /// Everything that makes no sense in it: the setting, and what is wrong.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let limits = &self.limits;
        let within = |setting, value: u64, max: u64| {
            (!(1..=max).contains(&value)).then(|| (setting, format!("is {value}; it must be from 1 to {max}")))
        };
        let mut wrong: Vec<_> = [
            within("egress.limits.requests", limits.requests.into(), 1_000_000),
            within("egress.limits.request_bytes", limits.request_bytes, 1 << 30),
            within("egress.limits.response_bytes", limits.response_bytes, 1 << 30),
            within("egress.limits.timeout_seconds", limits.timeout_seconds, 3600),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (self.policy, self.allow.is_empty()) {
            (Mode::AllowList, true) => wrong.push(("egress.allow", "is empty; name what may be reached".into())),
            (Mode::Disabled, false) => {
                wrong.push(("egress.policy", "is disabled, and yet there are rules; make it allow-list".into()));
            }
            _ => {}
        }
        for (number, rule) in self.allow.iter().enumerate() {
            wrong.extend(rule.problems().into_iter().map(|problem| {
                ("egress.allow", format!("has a rule, number {}, that makes no sense: {problem}", number + 1))
            }));
        }
        wrong
    }

    /// Whether any request may go to this host and port.
    ///
    /// # Errors
    /// The refusal.
    pub fn reachable(&self, target: &Target) -> Result<(), Failure> {
        self.open()?;
        if self.policy == Mode::AllowList && !self.allow.iter().any(|rule| rule.matches_host(target)) {
            let (host, port) = (target.host(), target.port());
            return Err(Failure::refused(format!("{host} with port {port} is not in this pool's allow-list; {ASK}")));
        }
        self.literal(target)
    }

    /// The headers to add to a request.
    ///
    /// # Errors
    /// The refusal.
    pub fn decide(&self, method: &str, target: &Target) -> Result<Vec<(&str, &Secret)>, Failure> {
        self.open()?;
        if !may_be_sent(method) {
            return Err(Failure::refused(format!("requests with the method {} are not let out", shown(method))));
        }
        self.literal(target)?;
        let there: Vec<_> =
            self.allow.iter().filter(|rule| rule.matches_host(target) && rule.scheme == target.scheme()).collect();
        let with_method: Vec<_> = there.iter().filter(|rule| rule.matches_method(method)).collect();
        if let Some(rule) = with_method.iter().find(|rule| rule.matches_path(target.path())) {
            return Ok(rule.headers.iter().map(|(name, value)| (name.as_str(), value)).collect());
        }
        if self.policy == Mode::Enabled {
            return Ok(Vec::new());
        }
        let origin = target.origin();
        Err(Failure::refused(if there.is_empty() {
            format!("{origin} is not in this pool's allow-list; {ASK}")
        } else if with_method.is_empty() {
            format!("this pool's allow-list does not have {} for {origin}; {ASK}", shown(method))
        } else {
            format!("this path of {origin} is not in this pool's allow-list; {ASK}")
        }))
    }

    fn open(&self) -> Result<(), Failure> {
        if self.policy == Mode::Disabled { Err(Failure::refused(NO_NETWORK)) } else { Ok(()) }
    }

    /// An address in place of a name never meets the resolver, so it is checked here.
    fn literal(&self, target: &Target) -> Result<(), Failure> {
        match target.address() {
            Some(address) if !address::allowed(address, &self.allow_private) => Err(address::refusal(target.host())),
            _ => Ok(()),
        }
    }
}

const ASK: &str = "its operator can add it ([[pool.egress.allow]] of the configuration)";

fn shown(method: &str) -> String {
    method.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> EgressPolicy {
        toml::from_str(text).unwrap()
    }

    fn said(policy: &EgressPolicy, method: &str, url: &str) -> String {
        match policy.decide(method, &Target::parse(url).unwrap()) {
            Ok(added) => format!("ok {}", added.len()),
            Err(failure) => failure.message,
        }
    }

    #[test]
    fn nothing_goes_out_unless_somebody_said_so() {
        assert!(said(&EgressPolicy::default(), "GET", "https://example.com/").contains("no network access"));
        assert_eq!(EgressPolicy::default().problems(), []);
    }

    #[test]
    fn enabled_is_everything_public() {
        let open = policy("policy = 'enabled'\n[[allow]]\nhost = 'k.example'\nheaders = { A = 'x' }");
        assert_eq!(said(&open, "PUT", "http://example.com:8080/"), "ok 0");
        assert_eq!(said(&open, "GET", "https://k.example/"), "ok 1");
        assert_eq!(said(&open, "POST", "https://k.example/"), "ok 0");
        for url in ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://0x7f.1/"] {
            assert!(said(&open, "GET", url).contains("private"), "{url}");
        }
        for method in ["TRACE", "connect", "", "G T"] {
            assert!(said(&open, method, "https://example.com/").contains("method"), "{method}");
        }
    }

    #[test]
    fn a_list_lets_out_what_it_names_and_says_what_is_missing() {
        let list = policy("policy = 'allow-list'\n[[allow]]\nhost = 'a.example'\npath = '/v1/'\nheaders = { K = 'x' }");
        assert_eq!(said(&list, "GET", "https://a.example/v1/x?q"), "ok 1");
        assert!(said(&list, "GET", "https://b.example/v1/x").starts_with("https://b.example:443 is not in"));
        assert!(said(&list, "GET", "http://a.example:443/v1/x").contains("not in"), "the scheme counts");
        assert!(said(&list, "POST", "https://a.example/v1/x").contains("does not have POST"));
        assert!(said(&list, "get", "https://a.example/v1/x").contains("does not have get"), "methods have a case");
        assert!(said(&list, "GET", "https://a.example/v2").contains("this path"));
        assert!(list.reachable(&Target::parse("http://a.example:443/").unwrap()).is_ok());
        assert!(list.reachable(&Target::parse("http://a.example/").unwrap()).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let settings = |text: &str| policy(text).problems().into_iter().map(|(setting, _)| setting).collect::<Vec<_>>();
        assert_eq!(settings("policy = 'allow-list'"), ["egress.allow"]);
        assert_eq!(settings("[[allow]]\nhost = 'a.example'"), ["egress.policy"]);
        assert_eq!(settings("policy = 'enabled'\n[[allow]]\nhost = 'A.example'"), ["egress.allow"]);
        assert_eq!(settings("limits = { requests = 0 }"), ["egress.limits.requests"]);
        assert!(toml::from_str::<EgressPolicy>("polcy = 'enabled'").is_err());
        assert!(toml::from_str::<EgressPolicy>("allow_private = ['10.0.0.1/8']").is_err());
    }
}
