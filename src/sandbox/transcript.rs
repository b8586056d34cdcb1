//! What a terminal would have shown of an execution: text alone, in its order, with the moment of each part.

use time::OffsetDateTime;

use super::output::Stream;

/// Bytes that a transcript holds; the rest is left out, and the transcript says so.
const CAP_BYTES: usize = 64 * 1024;

/// Text of one stream. It goes on while nothing else is written and the same second lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub at: OffsetDateTime,
    pub stream: Stream,
    pub text: String,
}

#[derive(Debug, Default)]
pub(super) struct Transcript {
    written: Vec<Written>,
    bytes: usize,
    full: bool,
}

impl Transcript {
    pub(super) fn append(&mut self, stream: Stream, text: &str) {
        if self.full || text.is_empty() {
            return;
        }
        let room = CAP_BYTES - self.bytes;
        let fitting = &text[..text.floor_char_boundary(room)];
        self.bytes += fitting.len();
        let at = OffsetDateTime::now_utc();
        match self.written.last_mut() {
            Some(last) if last.stream == stream && last.at.unix_timestamp() == at.unix_timestamp() => {
                last.text.push_str(fitting);
            }
            _ => self.written.push(Written { at, stream, text: fitting.to_owned() }),
        }
        if fitting.len() < text.len() {
            self.full = true;
            let text = format!("[the rest is not kept: it is more than {CAP_BYTES} bytes]\n");
            self.written.push(Written { at, stream: Stream::Stderr, text });
        }
    }

    pub(super) fn take(&mut self) -> Vec<Written> {
        std::mem::take(&mut self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_keep_their_order_and_the_cap_is_told_once() {
        let mut transcript = Transcript::default();
        transcript.append(Stream::Stdout, "a");
        transcript.append(Stream::Stderr, "b");
        transcript.append(Stream::Stdout, &"é".repeat(CAP_BYTES));
        transcript.append(Stream::Stdout, "c");
        let written = transcript.take();
        let streams: Vec<_> = written.iter().map(|part| part.stream).collect();
        assert_eq!(streams, [Stream::Stdout, Stream::Stderr, Stream::Stdout, Stream::Stderr]);
        assert!(written[2].text.len() < CAP_BYTES && written[3].text.contains("not kept"));
        assert!(!written.iter().any(|part| part.text.contains('c') && part.stream == Stream::Stdout));
    }
}
