//! What a container wrote, the last of it, until a gateway has written it down: bounded, and with an account of what went.

use std::collections::VecDeque;

use crate::sandbox::container::Stream;

/// The most that is kept, both streams together; the same that a gateway keeps to show.
pub(super) const KEPT_BYTES: usize = crate::sandbox::container::KEPT_BYTES;
/// A piece takes room besides what it holds.
const PIECE_BYTES: usize = 64;

/// What was read from a pipe at once.
pub(super) struct Piece {
    /// Bytes of both streams that came before it.
    pub start: u64,
    pub stream: Stream,
    /// Nanoseconds since 1970.
    pub at: i64,
    pub bytes: Vec<u8>,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

#[derive(Default)]
pub(super) struct Kept {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Bytes that came so far.
    end: u64,
}

impl Kept {
    /// Takes a piece. What a gateway was `sent` may go for it; without a gateway (None), whatever came first.
    pub(super) fn add(&mut self, stream: Stream, at: i64, bytes: &[u8], sent: Option<u64>) {
        self.pieces.push_back(Piece { start: self.end, stream, at, bytes: bytes.to_vec() });
        self.bytes += bytes.len() + PIECE_BYTES;
        self.end += bytes.len() as u64;
        while self.bytes > KEPT_BYTES
            && self.pieces.front().is_some_and(|first| sent.is_none_or(|sent| first.end() <= sent))
            && let Some(gone) = self.pieces.pop_front()
        {
            self.bytes -= gone.bytes.len() + PIECE_BYTES;
        }
    }

    /// The first piece that does not end before `position`.
    pub(super) fn after(&self, position: u64) -> Option<&Piece> {
        let at = self.pieces.partition_point(|piece| piece.end() <= position);
        self.pieces.get(at)
    }

    /// Whether there is room for more, with a gateway that was sent what came before `sent`: what it has to wait for stays in
    /// the container, which waits too.
    pub(super) fn has_room(&self, sent: u64) -> bool {
        (self.end.saturating_sub(sent) as usize) < KEPT_BYTES
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gateway_the_last_is_kept() {
        let mut kept = Kept::default();
        for _ in 0..100 {
            kept.add(Stream::Stdout, 0, &[b'x'; 16 << 10], None);
        }
        let first = kept.after(0).unwrap();
        assert!(first.start > 0, "the first went");
        let left = kept.end() - first.start;
        assert!(left as usize <= KEPT_BYTES && left as usize > KEPT_BYTES / 2);
        let flood = &mut Kept::default();
        (0..100_000).for_each(|_| flood.add(Stream::Stderr, 0, b"\n", None));
        assert!(flood.pieces.len() * PIECE_BYTES <= KEPT_BYTES, "small ones take room too");
    }

    #[test]
    fn with_a_gateway_nothing_goes_that_it_was_not_sent() {
        let mut kept = Kept::default();
        for _ in 0..40 {
            kept.add(Stream::Stdout, 0, &[b'x'; 16 << 10], Some(0));
        }
        assert_eq!(kept.after(0).unwrap().start, 0);
        assert!(!kept.has_room(0) && kept.has_room(kept.end()));
        let sent = kept.after(0).unwrap().end();
        assert_eq!(kept.after(sent).unwrap().start, sent);
        kept.add(Stream::Stdout, 0, b"x", Some(sent));
        assert_eq!(kept.after(0).unwrap().start, sent);
    }
}
