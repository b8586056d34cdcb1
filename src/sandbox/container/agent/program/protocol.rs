//! What the gateway and its agent in a container say to each other. Both sides include this file.
//!
//! One connection is one request. Everything is frames: a kind (one byte), a length (four bytes, the least significant
//! first), and so many bytes. The gateway begins with a request; the agent answers, and hangs up.
//!
//! | request | its fields | then the gateway may send | the agent answers |
//! |---|---|---|---|
//! | `EXECUTE` | most bytes of output, standard input, arguments | `KILL` | `STDOUT`, `STDERR` …, `ENTRY` a changed file …, `EXIT`; or `FAILED` |
//! | `LIST` | most entries, 1 for recursive, folder | | `ENTRY` …, `DONE`; or `FAILED` |
//! | `STAT` | path | | `ENTRY`, `DONE`; or `FAILED` |
//! | `GET` | path | | `ENTRY`, `DATA` …, `DONE`; or `FAILED` |
//! | `PUT` | path | `DATA` …, `COMMIT` | `ENTRY`, `DONE`; or `FAILED` |
//! | `DELETE` | path | | `DONE`; or `FAILED` |
//!
//! Paths are relative to `/mnt/data`; the empty one is that folder. A gateway that hangs up ends what it asked for.

/// Where the agent listens, on the container's loopback.
pub const PORT: u16 = 61_357;
/// The most bytes of one frame to the gateway, without its head.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Kind and length.
pub const HEAD_BYTES: usize = 5;
/// Changed files that are told of one execution.
pub const MAX_CHANGES: usize = 1000;

pub const EXECUTE: u8 = b'E';
pub const LIST: u8 = b'L';
pub const STAT: u8 = b'S';
pub const GET: u8 = b'G';
pub const PUT: u8 = b'P';
pub const DELETE: u8 = b'D';
pub const KILL: u8 = b'k';
pub const COMMIT: u8 = b'c';

pub const STDOUT: u8 = b'o';
pub const STDERR: u8 = b'e';
/// Exit code (128 and the signal where one ended it), bytes of output that were dropped, processor time in microseconds.
pub const EXIT: u8 = b'x';
/// Kind (one of the three below), size, seconds and nanoseconds of the last change, path.
pub const ENTRY: u8 = b'n';
pub const DATA: u8 = b'd';
pub const DONE: u8 = b'.';
/// An error number of Linux.
pub const FAILED: u8 = b'f';

pub const FILE: u8 = 0;
pub const DIRECTORY: u8 = 1;
pub const LINK: u8 = 2;

/// Writes the fields of a frame.
#[derive(Default)]
pub struct Fields(pub Vec<u8>);

impl Fields {
    pub fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub fn number(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }
}

/// Reads the fields of a frame; None where it is too short.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(length as usize)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// The head of a frame.
pub fn head(kind: u8, length: usize) -> [u8; HEAD_BYTES] {
    let length = (length as u32).to_le_bytes();
    [kind, length[0], length[1], length[2], length[3]]
}

/// Kind and length out of a head.
pub fn parse_head(head: [u8; HEAD_BYTES]) -> (u8, usize) {
    (head[0], u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize)
}
