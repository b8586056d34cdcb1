//! Where a request goes: a URL in its canonical form. Only this form is compared with rules and sent, so that no
//! spelling (case, dots, percent signs, numbers as addresses, null bytes) means one thing here and another there.

use std::net::IpAddr;

use reqwest::Url;

use super::exchange::Failure;
use super::rule::Scheme;

/// The longest URL; servers take 8 KiB.
const MAX_URL_BYTES: usize = 16 << 10;
/// The longest name in the DNS.
const MAX_HOST_BYTES: usize = 253;

/// A URL that was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Target {
    /// Reads a URL of a guest.
    ///
    /// # Errors
    /// When it is none that can be asked for.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() > MAX_URL_BYTES {
            return Err(Failure::invalid(format!("the URL has more than {MAX_URL_BYTES} bytes")));
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Failure::invalid("the URL holds spaces or control characters"));
        }
        let mut url = Url::parse(text).map_err(|error| Failure::invalid(format!("the URL is malformed: {error}")))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(Failure::refused("only http and https URLs can be asked for")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::invalid("the URL holds a user name or a password; send an Authorization header"));
        }
        url.set_fragment(None);
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
        if host.is_empty() || host.len() > MAX_HOST_BYTES {
            return Err(Failure::invalid("the URL names no host"));
        }
        // `example.com.` is `example.com`, and must meet the same rules.
        url.set_host(Some(&host)).map_err(|_| Failure::invalid("the URL names no host"))?;
        let port = url.port_or_known_default().unwrap_or_default();
        if port == 0 {
            return Err(Failure::invalid("the URL has port 0"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { url, scheme, host, port })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name in lower case and ASCII, or the address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The host, where it is an address and no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `https://host:port`.
    pub fn origin(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}:{}", self.scheme.as_str(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> String {
        Target::parse(url).unwrap().host
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for url in ["http://EXAMPLE.com/", "http://example.com./", "http://ex%61mple.com/", "http:\\\\example.com\\"] {
            assert_eq!(host(url), "example.com", "{url}");
        }
        for url in
            ["http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/", "http://127.0.0.1./"]
        {
            assert_eq!(Target::parse(url).unwrap().address(), Some("127.0.0.1".parse().unwrap()), "{url}");
        }
        assert_eq!(host("http://[::FFFF:1.2.3.4]/"), "::ffff:102:304");
        assert_eq!(host("http://bücher.example/"), "xn--bcher-kva.example");
    }

    #[test]
    fn paths_are_walked_before_they_are_compared() {
        assert_eq!(Target::parse("http://h.example/a/../b/./%2e%2E/c").unwrap().path(), "/c");
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for url in [
            "",
            "example.com",
            "file:///etc/passwd",
            "ftp://h.example/",
            "http://",
            "http:///",
            "http://u:p@h.example/",
            "http://h.example:0/",
            "http://h.example:99999/",
            "http://h.exa\0mple/",
            "http://h.exa%00mple/",
            "http://h.example/\n",
            "http://h.example/ HTTP/1.1",
            "http://./",
            "http://[::1/",
            "data:text/plain,x",
        ] {
            assert!(Target::parse(url).is_err(), "{url:?}");
        }
        assert!(Target::parse(&format!("http://h.example/{}", "x".repeat(MAX_URL_BYTES))).is_err());
        assert!(Target::parse(&format!("http://{}/", "x".repeat(300))).is_err());
    }
}
