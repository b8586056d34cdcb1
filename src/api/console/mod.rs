//! The console: a page for people. Static files, embedded as they are written; no build step.
//!
//! The page is a caller like any other: it asks its user for a key, keeps it for the tab alone, and calls the API. What code
//! shows as HTML gets a document of its own (`frame.html`) in a sandboxed frame, from which nothing can be reached: not the
//! page, not its key, not the network.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};

use super::call::Answer;
use super::error::Failure;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Name, media type, text. The page itself has no name.
const FILES: [(&str, &str, &str); 11] = [
    ("", HTML, include_str!("index.html")),
    ("frame.html", HTML, include_str!("frame.html")),
    ("console.css", STYLE, include_str!("console.css")),
    ("icon.svg", ICON, include_str!("icon.svg")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("output.js", SCRIPT, include_str!("output.js")),
    ("overview.js", SCRIPT, include_str!("overview.js")),
    ("notebook.js", SCRIPT, include_str!("notebook.js")),
    ("records.js", SCRIPT, include_str!("records.js")),
];

/// Only what the gateway serves; images of code come as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What code shows may have scripts and styles of its own, and reaches nothing, whoever opens it.
const FRAME_POLICY: &str = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// `GET /console` and what the page loads.
pub(super) fn file(name: &str) -> Answer {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, media_type, text) = found.ok_or(Failure::NoRoute)?;
    let policy = if name == "frame.html" { FRAME_POLICY } else { POLICY };
    let mut response = Response::new(Body::from(*text));
    let headers = response.headers_mut();
    let told = [
        (CONTENT_TYPE, *media_type),
        (CONTENT_SECURITY_POLICY, policy),
        // Another build has other files under the same names.
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    headers.extend(told.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(response)
}
