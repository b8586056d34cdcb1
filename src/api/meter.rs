//! Counts the bytes of bodies that pass through, and of connections that became something else: their lengths are not known
//! before. Counted a piece at a time, so that a long one is noticed while it lasts.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::access::Caller;
use crate::access::limits::Limits;
use crate::pool::PoolName;

/// So many bytes are told to the limits together.
const PIECE: u64 = 64 * 1024;

/// One request's bytes.
pub(super) struct Meter {
    limits: Arc<Limits>,
    caller: Caller,
    pool: Option<PoolName>,
    untold: AtomicU64,
}

impl Meter {
    pub(super) fn new(limits: Arc<Limits>, caller: Caller, pool: Option<PoolName>) -> Arc<Self> {
        Arc::new(Self { limits, caller, pool, untold: AtomicU64::new(0) })
    }

    pub(super) fn count(&self, bytes: u64) {
        if self.untold.fetch_add(bytes, Ordering::Relaxed) + bytes >= PIECE {
            self.tell();
        }
    }

    fn tell(&self) {
        let bytes = self.untold.swap(0, Ordering::Relaxed);
        if bytes > 0 {
            self.limits.charge_bytes(&self.caller, self.pool.as_ref(), bytes);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A body, or a connection, whose bytes are counted.
pub(super) struct Metered<T> {
    inner: T,
    meter: Arc<Meter>,
}

impl<T> Metered<T> {
    pub(super) fn new(inner: T, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl HttpBody for Metered<Body> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.meter.count(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.meter.count((buffer.filled().len() - before) as u64);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.meter.count(written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
