//! What of a request a container gets to see, and what of its answer the caller.

use axum::http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Headers of one connection (RFC 9110, section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// The gateway's own credentials: code in a container must not get to use them.
const OWN: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-ms-apikey")];
/// Parameters of the query that are the gateway's own.
const PARAMETERS: [&str; 2] = ["identifier", "api-version"];

/// Path and query for the container: the path as it was sent, after the pool's; the query without the gateway's own
/// parameters. None when they make no target.
pub(super) fn target(rest: &str, query: Option<&str>) -> Option<Uri> {
    let own = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    let left: Vec<&str> = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !own(pair)).collect();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let mark = if left.is_empty() { "" } else { "?" };
    Uri::try_from(format!("{slash}{rest}{mark}{}", left.join("&"))).ok().filter(|uri| uri.authority().is_none())
}

/// The headers of a request for the container.
pub(super) fn request(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let mut kept = end_to_end(headers);
    for name in OWN {
        kept.remove(name);
    }
    // The gateway reads the body as it comes, so the caller was told to go on.
    kept.remove(EXPECT);
    // The one word of TE that outlives a connection: the caller understands trailers.
    if words(headers, &TE).any(|word| word.eq_ignore_ascii_case("trailers")) {
        kept.insert(TE, HeaderValue::from_static("trailers"));
    }
    if upgrades {
        kept.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        kept.extend(headers.get_all(UPGRADE).iter().map(|value| (UPGRADE, value.clone())));
    }
    kept
}

/// The headers of an answer for the caller.
pub(super) fn response(headers: &HeaderMap) -> HeaderMap {
    end_to_end(headers)
}

/// The headers of an answer that switches protocols.
pub(super) fn switching(headers: &HeaderMap) -> HeaderMap {
    let mut kept = end_to_end(headers);
    kept.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    kept.extend(headers.get_all(UPGRADE).iter().map(|value| (UPGRADE, value.clone())));
    kept
}

/// Whether the sender wants another protocol on this connection.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && words(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = words(headers, &CONNECTION).filter_map(|word| word.parse().ok()).collect();
    let mut kept = headers.clone();
    for name in HOP_BY_HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_path_stays_and_our_parameters_go() {
        for (rest, query, expected) in [
            ("", None, "/"),
            ("/a//b%2Fc/", Some("identifier=x"), "/a//b%2Fc/"),
            ("/a", Some("x=1&identifier=s&api-version=v&y=%20&x=2"), "/a?x=1&y=%20&x=2"),
            ("/a", Some("API-Version=v&identifiers=1&flag"), "/a?identifiers=1&flag"),
            ("//host/a", None, "//host/a"),
        ] {
            assert_eq!(target(rest, query).unwrap().to_string(), expected);
        }
        assert!(target("/a b", None).is_none());
    }

    #[test]
    fn credentials_and_what_belongs_to_the_connection_stay_here() {
        let sent = headers(&[
            ("authorization", "Bearer key"),
            ("x-ms-apikey", "key"),
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("upgrade", "websocket"),
            ("host", "gateway"),
            ("cookie", "a=1"),
            ("content-length", "3"),
        ]);
        let expected = headers(&[("host", "gateway"), ("cookie", "a=1"), ("content-length", "3"), ("te", "trailers")]);
        assert_eq!(request(&sent, false), expected);
    }

    #[test]
    fn an_upgrade_is_named_twice() {
        assert!(wants_upgrade(&headers(&[("connection", "Keep-Alive, Upgrade"), ("upgrade", "websocket")])));
        assert!(!wants_upgrade(&headers(&[("connection", "keep-alive"), ("upgrade", "websocket")])));
        let sent = request(&headers(&[("connection", "upgrade"), ("upgrade", "websocket")]), true);
        assert_eq!(sent, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }
}
