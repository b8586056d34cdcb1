//! The HTTP client of a pool.
//!
//! It has a thread of its own. On the guest threads a TLS handshake would wait behind spinning guests, and on the API's
//! an answer would wait behind guests' downloads; and what holds credentials can leave the process one day. A
//! connection serves one request: what a server ties to a connection must not pass from one session to another.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::address::Cidr;
use super::exchange::{Failure, FailureKind, Request, Response};
use super::resolver::{Guarded, Lookup, system};
use super::rule::Secret;
use super::target::Target;

/// Requests of a pool at once; more wait, within their timeout.
const MAX_AT_ONCE: usize = 64;
/// Threads for the machine's resolver, which blocks.
const RESOLVER_THREADS: usize = 8;
/// Header lines of a request.
const MAX_HEADERS: usize = 200;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that tell how this request travels. That is the host's business: a guest's word on it could make two
/// requests of one, or name another host than the one that was allowed.
const HOP_BY_HOP: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request as it will be sent. No `Debug`: it holds the credentials of its rule.
pub struct Outgoing {
    method: Method,
    url: reqwest::Url,
    headers: HeaderMap,
    body: Vec<u8>,
    timeout: Duration,
    /// The largest body that is taken.
    response_bytes: u64,
}

impl Outgoing {
    /// Puts together what is sent: the guest's request, without what is not its to say, and what the rule adds.
    ///
    /// # Errors
    /// When it is no request.
    pub fn new(
        request: Request,
        target: &Target,
        added: Vec<(&str, &Secret)>,
        timeout: Duration,
        response_bytes: u64,
    ) -> Result<Self, Failure> {
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|_| Failure::invalid("the method is malformed"))?;
        let mut headers = guest_headers(&request.headers)?;
        for (name, value) in added {
            let unsound = || Failure::new(FailureKind::Gateway, "a header of the allow-list cannot be sent");
            let name: HeaderName = name.parse().map_err(|_| unsound())?;
            let mut value = HeaderValue::from_str(&value.0).map_err(|_| unsound())?;
            value.set_sensitive(true);
            // Replaces what the guest has set.
            headers.try_insert(name, value).map_err(|_| unsound())?;
        }
        Ok(Self { method, url: target.url().clone(), headers, body: request.body, timeout, response_bytes })
    }
}

fn guest_headers(given: &[(String, String)]) -> Result<HeaderMap, Failure> {
    if given.len() > MAX_HEADERS {
        return Err(Failure::invalid(format!("the request has more than {MAX_HEADERS} headers")));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let malformed = || Failure::invalid("a header of the request is malformed");
        let name: HeaderName = name.parse().map_err(|_| malformed())?;
        if HOP_BY_HOP.contains(&name.as_str()) {
            continue;
        }
        // ISO 8859-1, as bytes on the wire are.
        let bytes: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let value = HeaderValue::from_bytes(&bytes.ok_or_else(malformed)?).map_err(|_| malformed())?;
        headers.try_append(name, value).map_err(|_| malformed())?;
    }
    Ok(headers)
}

/// A running client.
pub struct Client {
    http: reqwest::Client,
    runtime: Option<Runtime>,
    at_once: Arc<Semaphore>,
}

impl Client {
    /// Starts its thread and reads the machine's certificate authorities.
    ///
    /// # Errors
    /// When the machine gives no thread, or has no certificate authorities.
    pub fn start(allow_private: Vec<Cidr>) -> Result<Self, Failure> {
        Self::resolving(system(), &allow_private)
    }

    fn resolving(lookup: Lookup, allow_private: &[Cidr]) -> Result<Self, Failure> {
        let failed = |error: &dyn Error| {
            tracing::error!(cause = %innermost(error), "a pool's way out cannot be opened");
            Failure::new(FailureKind::Gateway, "the gateway cannot open this pool's way out; its log says why")
        };
        let http = reqwest::Client::builder()
            .dns_resolver(Arc::new(Guarded::new(lookup, allow_private)))
            // Each hop is a request of its own, which the guest's library makes and the policy sees.
            .redirect(redirect::Policy::none())
            // A proxy from the environment would resolve names by itself.
            .no_proxy()
            .pool_max_idle_per_host(0)
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(RESOLVER_THREADS)
            .thread_name("egress")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self { http, runtime: Some(runtime), at_once: Arc::new(Semaphore::new(MAX_AT_ONCE)) })
    }

    /// Sends on the client's own thread. Dropping the future ends the request.
    ///
    /// # Errors
    /// What came in its way.
    pub async fn send(&self, request: Outgoing) -> Result<Response, Failure> {
        let (http, at_once) = (self.http.clone(), self.at_once.clone());
        let runtime = self.runtime.as_ref().expect("the runtime is there until drop");
        let sent = runtime.spawn(async move {
            let timeout = request.timeout;
            let exchanged = async {
                let _turn = at_once.acquire().await;
                exchange(&http, request).await
            };
            let slow = |_| Err(Failure::new(FailureKind::Timeout, format!("no whole answer within {timeout:?}")));
            tokio::time::timeout(timeout, exchanged).await.unwrap_or_else(slow)
        });
        let ended = AbortOnDropHandle::new(sent).await;
        ended.unwrap_or_else(|_| Err(Failure::new(FailureKind::Gateway, "the gateway failed to send the request")))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Without waiting: the last hand may let go of it on an async thread, where waiting is forbidden.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn exchange(http: &reqwest::Client, request: Outgoing) -> Result<Response, Failure> {
    let mut sending = http.request(request.method, request.url).headers(request.headers);
    if !request.body.is_empty() {
        sending = sending.body(request.body);
    }
    let mut answer = sending.send().await.map_err(|error| failure(&error))?;
    let limit = request.response_bytes;
    let too_large =
        || Failure::new(FailureKind::Limit, format!("the answer has more than {limit} bytes, this pool's limit"));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let status = answer.status();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().iter().map(|&byte| char::from(byte)).collect())
    };
    let headers = answer.headers().iter().map(header).collect();
    let reason = status.canonical_reason().unwrap_or_default().to_owned();
    Ok(Response { status: status.as_u16(), reason, headers, body })
}

/// What the guest is told. The resolver's refusal travels as a cause; of the rest only the innermost text, which holds
/// neither the URL nor an address.
fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if let Some(own) = at.downcast_ref::<Failure>() {
            return own.clone();
        }
        cause = at.source();
    }
    let why = innermost(error);
    if error.is_connect() {
        return match error.is_timeout() {
            true => Failure::new(FailureKind::Timeout, "no connection in time"),
            false => Failure::new(FailureKind::Connect, format!("no connection: {why}")),
        };
    }
    Failure::new(FailureKind::Protocol, format!("the server broke off, or does not speak HTTP: {why}"))
}

fn innermost(error: &dyn Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { method: "GET".into(), headers, ..Request::default() }
    }

    fn outgoing(request: Request, url: &str, added: &[(&str, &str)]) -> Result<Outgoing, Failure> {
        let secrets: Vec<_> = added.iter().map(|(name, value)| (*name, Secret((*value).to_owned()))).collect();
        let added = secrets.iter().map(|(name, value)| (*name, value)).collect();
        Outgoing::new(request, &Target::parse(url).unwrap(), added, Duration::from_secs(5), 100)
    }

    #[test]
    fn the_rules_headers_replace_the_guests_and_framing_is_not_the_guests() {
        let given =
            [("authorization", "guest"), ("Host", "evil.example"), ("Transfer-Encoding", "chunked"), ("X", "\u{e9}")];
        let sent = outgoing(request(&given), "http://h.example/", &[("Authorization", "host")]).ok().unwrap();
        assert_eq!(sent.headers.get_all("authorization").iter().collect::<Vec<_>>(), ["host"]);
        assert!(sent.headers["authorization"].is_sensitive());
        assert_eq!(sent.headers["x"].as_bytes(), b"\xe9");
        assert_eq!(sent.headers.len(), 2);
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in [("a b", "x"), ("", "x"), ("A", "x\r\nB: y"), ("A", "x\0"), ("A", "\u{100}"), ("A:", "x")] {
            assert!(outgoing(request(&[header]), "http://h.example/", &[]).is_err(), "{header:?}");
        }
        let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("A", "x")).collect();
        assert!(outgoing(request(&many), "http://h.example/", &[]).is_err());
    }

    /// A name whose first address is public and whose later ones are this machine.
    #[tokio::test]
    async fn a_name_that_turns_private_is_not_followed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let lookup: Lookup = Arc::new(move |_| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            // 192.0.2.1 would hang, were it not left out as well: that is fine for a first answer here.
            let address = if first { "192.0.2.1" } else { "127.0.0.1" };
            Box::pin(async move { Ok(vec![SocketAddr::new(address.parse().unwrap(), 0)]) })
        });
        let client = Client::resolving(lookup, &[]).unwrap();
        for _ in 0..3 {
            let sent = outgoing(request(&[]), &format!("http://rebinding.example:{port}/"), &[]).ok().unwrap();
            assert_eq!(client.send(sent).await.unwrap_err().kind, FailureKind::Refused);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3, "each connection is checked anew");
        let none = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(none.is_err(), "nothing reached this machine");
    }
}
