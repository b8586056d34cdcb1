//! What a container writes to its standard output and error: the last of it, in bounded memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;

/// The most that is kept of one container, both streams together.
pub const KEPT_BYTES: usize = 256 * 1024;
/// A longer line is broken.
pub const LINE_BYTES: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    pub at: OffsetDateTime,
    pub stream: Stream,
    pub text: String,
}

/// Is given lines as they come. It is called while the console waits for it.
pub type Listener = Box<dyn Fn(&[ConsoleLine]) + Send>;

/// The console of one container. Cheap to clone; all clones are the same console.
#[derive(Clone, Default)]
pub struct Console(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<ConsoleLine>,
    bytes: usize,
    /// Lines that had to go.
    dropped: u64,
    /// What came of a line that has not ended.
    open: [Vec<u8>; 2],
    listener: Option<Listener>,
    /// Lines that the listener has not been given yet.
    untold: Vec<ConsoleLine>,
}

impl Console {
    /// Takes what came on a stream.
    pub fn push(&self, stream: Stream, bytes: &[u8]) {
        let mut kept = self.lock();
        let at = OffsetDateTime::now_utc();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_BYTES) {
                kept.add(at, stream, part);
            }
        }
        kept.told();
    }

    /// A stream has ended: what stands without a line's end is a line.
    pub fn end(&self, stream: Stream) {
        let mut kept = self.lock();
        let rest = std::mem::take(&mut kept.open[stream as usize]);
        if !rest.is_empty() {
            kept.line(OffsetDateTime::now_utc(), stream, &rest);
        }
        kept.told();
    }

    /// Gives `listener` the lines that are kept, and those that come.
    pub fn tell(&self, listener: Listener) {
        let mut kept = self.lock();
        kept.untold = kept.lines.iter().cloned().collect();
        kept.listener = Some(listener);
        kept.told();
    }

    /// The lines that are kept, and how many went before them.
    pub fn lines(&self) -> (Vec<ConsoleLine>, u64) {
        let kept = self.lock();
        (kept.lines.iter().cloned().collect(), kept.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, at: OffsetDateTime, stream: Stream, part: &[u8]) {
        let open = &mut self.open[stream as usize];
        open.extend_from_slice(part);
        if open.ends_with(b"\n") || open.len() >= LINE_BYTES {
            let line = std::mem::take(open);
            self.line(at, stream, line.strip_suffix(b"\n").unwrap_or(&line));
        }
    }

    fn line(&mut self, at: OffsetDateTime, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.bytes += cost(&text);
        let line = ConsoleLine { at, stream, text };
        if self.listener.is_some() {
            self.untold.push(line.clone());
        }
        self.lines.push_back(line);
        while self.bytes > KEPT_BYTES
            && let Some(gone) = self.lines.pop_front()
        {
            self.bytes -= cost(&gone.text);
            self.dropped += 1;
        }
    }

    fn told(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if let Some(listener) = self.listener.as_ref().filter(|_| !untold.is_empty()) {
            listener(&untold);
        }
    }
}

/// An empty line takes room too.
fn cost(text: &str) -> usize {
    text.len() + size_of::<ConsoleLine>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(console: &Console) -> Vec<(Stream, String)> {
        console.lines().0.into_iter().map(|line| (line.stream, line.text)).collect()
    }

    #[test]
    fn lines_are_put_together_by_stream() {
        let console = Console::default();
        console.push(Stream::Stdout, b"a");
        console.push(Stream::Stderr, b"x\ny");
        console.push(Stream::Stdout, b"b\n\n");
        console.end(Stream::Stderr);
        let line = |stream, text: &str| (stream, text.to_owned());
        let expected = [
            line(Stream::Stderr, "x"),
            line(Stream::Stdout, "ab"),
            line(Stream::Stdout, ""),
            line(Stream::Stderr, "y"),
        ];
        assert_eq!(texts(&console), expected);
    }

    #[test]
    fn a_listener_hears_what_was_and_what_comes() {
        let console = Console::default();
        console.push(Stream::Stdout, b"before\nhal");
        let (sender, heard) = std::sync::mpsc::channel();
        console.tell(Box::new(move |lines| lines.iter().for_each(|line| sender.send(line.text.clone()).unwrap())));
        console.push(Stream::Stdout, b"f\nafter");
        console.end(Stream::Stdout);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["before", "half", "after"]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let console = Console::default();
        console.push(Stream::Stdout, &vec![b'x'; 3 * KEPT_BYTES]);
        console.push(Stream::Stderr, &vec![b'\n'; KEPT_BYTES]);
        let (lines, dropped) = console.lines();
        assert!(dropped > 0);
        assert!(lines.iter().map(|line| line.text.len()).sum::<usize>() <= KEPT_BYTES);
        assert!(lines.iter().all(|line| line.text.len() <= LINE_BYTES));
    }
}
