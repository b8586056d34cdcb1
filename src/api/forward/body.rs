//! The body of a container's answer. As long as it lasts the session is in use; when the container ends, it breaks off
//! instead of waiting for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

use super::{EndsWithIt, Hold};

pub(super) struct Held {
    incoming: Incoming,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    _hold: Hold,
    _connection: EndsWithIt,
}

impl Held {
    pub(super) fn new(incoming: Incoming, hold: Hold, connection: EndsWithIt) -> Self {
        Self { incoming, cut: Box::pin(hold.cut()), _hold: hold, _connection: connection }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other))),
            Poll::Pending => match self.cut.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
