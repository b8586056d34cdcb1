//! One entry of a pool's allow-list: which requests it lets out, and what the host adds to them.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};

use super::target::Target;

/// A destination that code may ask, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub scheme: Scheme,
    /// A name, an address, or `*.example.com` for every name below `example.com` (not that name itself).
    pub host: String,
    /// None: the scheme's.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default = "read_only")]
    pub methods: Vec<String>,
    /// The path must be this one or lie below it.
    #[serde(default = "everything")]
    pub path: String,
    /// Added by the host, and taken away where the guest sets them itself: the place for credentials. The guest never
    /// sees them, unless the server tells what it was sent.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    #[default]
    Https,
}

/// A header's value. Neither logged nor written anywhere.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

fn read_only() -> Vec<String> {
    vec!["GET".into(), "HEAD".into()]
}

fn everything() -> String {
    "/".into()
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(super) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What is wrong with the `host` of a rule.
pub(super) fn host_problem(host: &str) -> Option<String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let wildcard = name.len() < host.len();
    let bracketed = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    match Target::parse(&format!("http://{bracketed}/")) {
        Ok(target) if target.host() != name => Some(format!("the host {host:?} must be written {:?}", target.host())),
        Ok(target) if target.path() != "/" || name.contains(['*', '/', '?', '#', '@']) => {
            Some(format!("{host:?} is no host"))
        }
        Ok(target) if wildcard && (target.address().is_some() || !name.contains('.')) => {
            Some(format!("the host {host:?} is too wide"))
        }
        Ok(_) => None,
        Err(_) => Some(format!("{host:?} is no host")),
    }
}

impl Rule {
    /// Everything that makes no sense in it. Never tells a header's value.
    pub fn problems(&self) -> Vec<String> {
        let mut wrong: Vec<String> = host_problem(&self.host).into_iter().collect();
        if self.port == Some(0) {
            wrong.push("the port is 0".into());
        }
        if self.methods.is_empty() {
            wrong.push("there are no methods".into());
        }
        for method in &self.methods {
            if !may_be_sent(method) || method.chars().any(|c| c.is_ascii_lowercase()) {
                wrong.push(format!("{method:?} is no method that can be allowed"));
            }
        }
        let walked = Target::parse(&format!("http://h.example{}", self.path));
        if !self.path.starts_with('/') || !walked.is_ok_and(|target| target.path() == self.path) {
            wrong.push(format!("the path {:?} is no plain path", self.path));
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(&value.0).is_err() {
                wrong.push(format!("the header {name:?} cannot be sent"));
            }
        }
        wrong
    }

    pub(super) fn matches_host(&self, target: &Target) -> bool {
        let by_name = match target.address() {
            // An address has no names below it.
            Some(_) => target.host() == self.host,
            None => Self::host_has_name(&self.host, target.host()),
        };
        by_name && target.port() == self.port.unwrap_or(self.scheme.port())
    }

    /// Whether the `host` of a rule is this name, or lies above it.
    pub(super) fn host_has_name(host: &str, name: &str) -> bool {
        match host.strip_prefix('*') {
            // The rest begins with a dot.
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => name == host,
        }
    }

    pub(super) fn matches_method(&self, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method)
    }

    pub(super) fn matches_path(&self, path: &str) -> bool {
        if self.path == "/" {
            return true;
        }
        let below = path
            .strip_prefix(&self.path)
            .is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'));
        below && !is_ambiguous(path)
    }
}

/// Servers disagree about what such a path is, and some would walk out of the prefix by it: encoded separators and dots,
/// parameters of a segment (`/a/..;/b`), and what would be decoded twice.
fn is_ambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains("//") || ["%2e", "%2f", "%5c", "%25", "%00", "%3b", ";", "\\"].iter().any(|part| path.contains(part))
}

/// CONNECT would be a tunnel; TRACE answers with the headers that were sent, those of a rule included.
pub(super) fn may_be_sent(method: &str) -> bool {
    let known = method.len() <= 32 && Method::from_bytes(method.as_bytes()).is_ok();
    known && !["CONNECT", "TRACE", "TRACK"].iter().any(|refused| method.eq_ignore_ascii_case(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    fn to(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn hosts_and_ports_are_compared_whole() {
        let one = rule("host = 'api.example.com'");
        assert!(one.matches_host(&to("https://API.example.com./x")));
        for url in
            ["https://api.example.com:444/", "https://xapi.example.com/", "https://api.example.com.evil.example/"]
        {
            assert!(!one.matches_host(&to(url)), "{url}");
        }
        let below = rule("host = '*.example.com'");
        assert!(below.matches_host(&to("https://a.b.example.com/")));
        for url in ["https://example.com/", "https://notexample.com/", "https://example.com.evil.example/"] {
            assert!(!below.matches_host(&to(url)), "{url}");
        }
        assert!(rule("host = '::1'\nscheme = 'http'\nport = 8080").matches_host(&to("http://[::1]:8080/")));
    }

    #[test]
    fn a_path_is_a_folder_and_not_a_beginning() {
        let api = rule("host = 'h.example'\npath = '/v1'");
        assert!(["/v1", "/v1/", "/v1/x"].iter().all(|path| api.matches_path(path)));
        for path in ["/v10", "/", "/v1/..%2fadmin", "/v1/%2e%2e/x", "/v1/..;/x", "/v1/%252e%252e/x", "/v1//x"] {
            assert!(!api.matches_path(path), "{path}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_and_no_secret_is() {
        assert_eq!(rule("host = 'h.example'").problems(), Vec::<String>::new());
        for text in [
            "host = 'H.example'",
            "host = 'h.example/x'",
            "host = '*'",
            "host = '*.com'",
            "host = 'a.*.example'",
            "host = ''",
            "host = '*.127.0.0.1'",
            "host = 'h.example:80'",
            "host = 'h.example'\nport = 0",
            "host = 'h.example'\nmethods = []",
            "host = 'h.example'\nmethods = ['get']",
            "host = 'h.example'\nmethods = ['TRACE']",
            "host = 'h.example'\npath = 'x'",
            "host = 'h.example'\npath = '/a/../b'",
            "host = 'h.example'\npath = '/a?b'",
            "host = 'h.example'\nheaders = { 'a b' = 'x' }",
        ] {
            assert!(!rule(text).problems().is_empty(), "{text}");
        }
        let bad = rule("host = 'h.example'\nheaders = { A = \"s3cret\\n\" }");
        assert!(!format!("{bad:?} {:?}", bad.problems()).contains("s3cret"));
        assert!(!serde_json::to_string(&bad).unwrap().contains("s3cret"));
    }
}
