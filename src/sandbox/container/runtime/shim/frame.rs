//! What a shim and a gateway say to each other. Both are of one user, behind a folder of that user's; still nothing takes memory
//! because of a length that was told.
//!
//! ```text
//! shim -> gateway   kind (1), length (4, little-endian), content
//!   hello           the process's id (4; 0: it has ended), up to where its output is written down (8)
//!   output          stream (1), time (8, nanoseconds since 1970), bytes of both streams before it (8), the bytes
//!   end             stream (1)
//!   exit            code (4), signal (4); -1: none; whether memory ran out (1)
//! gateway -> shim   command (1), number (8)
//!   recorded        output up to there is written down
//!   end             the container was taken away
//! ```

use super::kept::Piece;
use crate::sandbox::container::{Exit, Stream};

pub(super) const HEAD_BYTES: usize = 5;
/// Read from a container at once.
pub(super) const PIECE_BYTES: usize = 16 * 1024;
/// The longest content.
pub(super) const MAX_BYTES: usize = PIECE_BYTES + 64;
pub(super) const COMMAND_BYTES: usize = 9;

const HELLO: u8 = 1;
const OUTPUT: u8 = 2;
const END: u8 = 3;
const EXIT: u8 = 4;

/// What a gateway tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Recorded(u64),
    End,
}

impl Command {
    pub(super) fn bytes(self) -> [u8; COMMAND_BYTES] {
        let (kind, number) = match self {
            Self::Recorded(position) => (1, position),
            Self::End => (2, 0),
        };
        let mut bytes = [kind; COMMAND_BYTES];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: [u8; COMMAND_BYTES]) -> Option<Self> {
        let number = u64::from_le_bytes(bytes[1..].try_into().expect("there are eight"));
        match bytes[0] {
            1 => Some(Self::Recorded(number)),
            2 => Some(Self::End),
            _ => None,
        }
    }
}

/// What a shim tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Hello { pid: i32, recorded: u64 },
    Output { stream: Stream, at: i64, start: u64, bytes: Vec<u8> },
    End(Stream),
    Exit(Exit),
}

impl Frame {
    pub(super) fn hello(pid: i32, recorded: u64) -> Vec<u8> {
        frame(HELLO, &[&pid.to_le_bytes(), &recorded.to_le_bytes()])
    }

    pub(super) fn output(piece: &Piece) -> Vec<u8> {
        let (at, start) = (piece.at.to_le_bytes(), piece.start.to_le_bytes());
        frame(OUTPUT, &[&[piece.stream as u8], &at, &start, &piece.bytes])
    }

    pub(super) fn end(stream: Stream) -> Vec<u8> {
        frame(END, &[&[stream as u8]])
    }

    pub(super) fn exit(exit: Exit) -> Vec<u8> {
        let number = |number: Option<i32>| number.unwrap_or(-1).to_le_bytes();
        frame(EXIT, &[&number(exit.code), &number(exit.signal), &[u8::from(exit.out_of_memory)]])
    }

    /// Kind, and length of what follows; None when there is no such frame.
    pub(super) fn head(bytes: [u8; HEAD_BYTES]) -> Option<(u8, usize)> {
        let length = u32::from_le_bytes(bytes[1..].try_into().expect("there are four")) as usize;
        (length <= MAX_BYTES).then_some((bytes[0], length))
    }

    pub(super) fn read(kind: u8, content: &[u8]) -> Option<Self> {
        let mut rest = content;
        let frame = match kind {
            HELLO => Self::Hello {
                pid: i32::from_le_bytes(take(&mut rest)?),
                recorded: u64::from_le_bytes(take(&mut rest)?),
            },
            OUTPUT => Self::Output {
                stream: stream(take(&mut rest)?)?,
                at: i64::from_le_bytes(take(&mut rest)?),
                start: u64::from_le_bytes(take(&mut rest)?),
                bytes: std::mem::take(&mut rest).to_vec(),
            },
            END => Self::End(stream(take(&mut rest)?)?),
            EXIT => {
                let mut number = || Some(i32::from_le_bytes(take(&mut rest)?)).map(|n| (n >= 0).then_some(n));
                let (code, signal) = (number()?, number()?);
                let [out_of_memory] = take(&mut rest)?;
                Self::Exit(Exit { code, signal, out_of_memory: out_of_memory != 0 })
            }
            _ => return None,
        };
        rest.is_empty().then_some(frame)
    }
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + length);
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(length).expect("pieces are small").to_le_bytes());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn stream([number]: [u8; 1]) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| *stream as u8 == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Frame> {
        let (head, content) = bytes.split_first_chunk().unwrap();
        let (kind, length) = Frame::head(*head)?;
        assert_eq!(length, content.len());
        Frame::read(kind, content)
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        assert_eq!(read(&Frame::hello(7, 1 << 40)), Some(Frame::Hello { pid: 7, recorded: 1 << 40 }));
        let piece = Piece { start: 3, stream: Stream::Stderr, at: -1, bytes: b"x\n".to_vec() };
        let output = Frame::Output { stream: Stream::Stderr, at: -1, start: 3, bytes: b"x\n".to_vec() };
        assert_eq!(read(&Frame::output(&piece)), Some(output));
        assert_eq!(read(&Frame::end(Stream::Stdout)), Some(Frame::End(Stream::Stdout)));
        for exit in [
            Exit { code: Some(0), signal: None, out_of_memory: false },
            Exit { code: None, signal: Some(9), out_of_memory: true },
            Exit::default(),
        ] {
            assert_eq!(read(&Frame::exit(exit)), Some(Frame::Exit(exit)));
        }
        for command in [Command::Recorded(u64::MAX), Command::End] {
            assert_eq!(Command::read(command.bytes()), Some(command));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(Frame::head([2, 255, 255, 255, 255]), None);
        for (kind, content) in [(9, &b""[..]), (1, b"short"), (3, b"\x07"), (3, b"\0\0"), (4, b""), (2, b"\x02")] {
            assert_eq!(Frame::read(kind, content), None);
        }
        assert_eq!(Command::read([7; COMMAND_BYTES]), None);
    }
}
