//! The body of a request: read with a cap and a patience, and never left half-read on the connection.
//!
//! It does not know what the bytes mean.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Failure;

/// How long the next piece of a body may take: a client that stops sending must not hold a connection for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long and how much is read after a refusal, so that a client that is still sending gets to read the answer
/// instead of a connection reset.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_BYTES: u64 = 256 * 1024 * 1024;

/// A request body.
pub(super) struct Payload {
    body: Body,
    /// As the caller announced it.
    announced: Option<u64>,
    ended: bool,
    /// Bytes that were read.
    taken: u64,
}

impl Payload {
    pub(super) fn new(body: Body, headers: &HeaderMap) -> Self {
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let ended = body.is_end_stream();
        Self { body, announced, ended, taken: 0 }
    }

    /// The length that the caller announced, where it did.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// The body itself, for somebody who reads it at a pace of his own.
    pub(super) fn take(&mut self) -> Body {
        self.ended = true;
        std::mem::take(&mut self.body)
    }

    /// Bytes that were read so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next piece; None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(PATIENCE, self.body.frame()).await.map_err(|_| Failure::BodyTooSlow(PATIENCE))?;
            match frame {
                None => {
                    self.ended = true;
                    return Ok(None);
                }
                Some(Err(_)) => return Err(Failure::BodyBroken),
                // Trailers are no data.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.taken += data.len() as u64;
                        return Ok(Some(data));
                    }
                    Err(_) => continue,
                },
            }
        }
    }

    /// The whole body, at most `limit` bytes of it: reading stops there.
    pub(super) async fn bytes(&mut self, limit: u64) -> Result<Bytes, Failure> {
        if self.announced.is_some_and(|length| length > limit) {
            return Err(Failure::BodyTooLarge { limit });
        }
        let first = self.next().await?.unwrap_or_default();
        let mut whole = BytesMut::new();
        // Nearly every body is one piece, and is not copied.
        while let Some(more) = self.next().await? {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&more);
            if whole.len() as u64 > limit {
                return Err(Failure::BodyTooLarge { limit });
            }
        }
        let whole = if whole.is_empty() { first } else { whole.freeze() };
        if whole.len() as u64 > limit { Err(Failure::BodyTooLarge { limit }) } else { Ok(whole) }
    }

    /// Reads on and throws away what the handler left, for a while, beside the answer.
    pub(super) fn linger(mut self) {
        if self.ended || self.announced == Some(0) {
            return;
        }
        tokio::spawn(async move {
            let end = Instant::now() + LINGER;
            let mut read = 0;
            while let Ok(Some(Ok(frame))) = timeout_at(end, self.body.frame()).await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > LINGER_BYTES {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pieces: &[&'static str]) -> Payload {
        let pieces: Vec<Result<_, std::io::Error>> =
            pieces.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        Payload::new(Body::from_stream(futures_util::stream::iter(pieces)), &HeaderMap::new())
    }

    #[tokio::test]
    async fn pieces_are_joined() {
        assert_eq!(payload(&["ab", "", "cd"]).bytes(4).await.unwrap(), "abcd");
        assert_eq!(payload(&[]).bytes(4).await.unwrap(), "");
        assert_eq!(payload(&["", "cd"]).bytes(4).await.unwrap(), "cd");
    }

    #[tokio::test]
    async fn reading_stops_at_the_cap() {
        for pieces in [&["abcde"][..], &["abc", "de", "never read"]] {
            assert!(matches!(payload(pieces).bytes(4).await, Err(Failure::BodyTooLarge { limit: 4 })));
        }
        let headers = [(CONTENT_LENGTH, "5".parse().unwrap())].into_iter().collect();
        let mut announced = Payload::new(Body::from("abcde"), &headers);
        assert!(matches!(announced.bytes(4).await, Err(Failure::BodyTooLarge { limit: 4 })));
    }
}
