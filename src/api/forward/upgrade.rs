//! Connections that become something else: after the container's 101, bytes go both ways until one side has enough, or the
//! session ends.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{EndsWithIt, Hold, head};
use crate::api::meter::{Meter, Metered};

/// The caller's side of a connection that is to be upgraded.
pub(super) fn wanted(parts: &Parts) -> Option<OnUpgrade> {
    parts.extensions.get::<OnUpgrade>().filter(|_| head::wants_upgrade(&parts.headers)).cloned()
}

/// Answers the caller as the container did, and joins both sides once the answer is out.
pub(super) fn join(
    container: hyper::Response<Incoming>,
    caller: OnUpgrade,
    hold: Hold,
    connection: EndsWithIt,
    meter: Arc<Meter>,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head::switching(container.headers());
    tokio::spawn(async move {
        let _connection = connection;
        let joined = async {
            let (caller, container) = tokio::try_join!(caller, hyper::upgrade::on(container))?;
            // What one side sends the other gets: one side is counted.
            let mut caller = Metered::new(TokioIo::new(caller), meter);
            let mut container = TokioIo::new(container);
            tokio::io::copy_bidirectional(&mut caller, &mut container).await.map_err(Box::from)
        };
        let ended: Result<_, Box<dyn std::error::Error + Send + Sync>> = tokio::select! {
            ended = joined => ended,
            () = hold.cut() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(error, "an upgraded connection ended early");
        }
    });
    response
}
