//! Frames to and from an agent. What it announces takes no memory before it comes, and what does not come is given up.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::protocol::{FRAME_BYTES, HEAD_BYTES, head, parse_head};
use crate::sandbox::container::Io;

/// How long an agent that has something to answer may take for it, and to take what it is sent. Its container may have little
/// of a processor, and much to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an agent.
pub(super) struct Connection {
    stream: Box<dyn Io>,
    read: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Io>) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    pub(super) async fn send(&mut self, kind: u8, fields: &[u8]) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(&head(kind, fields.len())).await?;
            self.stream.write_all(fields).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, sending).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
    }

    /// The next frame, however long it takes. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the agent hangs up, or announces more than there may be.
    pub(super) async fn next(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some(bytes) = self.read.first_chunk::<HEAD_BYTES>() {
                let (kind, length) = parse_head(*bytes);
                if length > FRAME_BYTES {
                    return Err(ErrorKind::InvalidData.into());
                }
                if self.read.len() >= HEAD_BYTES + length {
                    self.read.advance(HEAD_BYTES);
                    return Ok((kind, self.read.split_to(length).freeze()));
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next frame, which must come soon.
    pub(super) async fn soon(&mut self) -> io::Result<(u8, Bytes)> {
        timeout(PATIENCE, self.next()).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
    }
}
