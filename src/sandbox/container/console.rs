//! What a container writes to its standard output and error: the last of it, in bounded memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::Notify;

/// The most that is kept of one container, both streams together.
pub const KEPT_BYTES: usize = 256 * 1024;
/// A longer line is broken.
pub const LINE_BYTES: usize = 16 * 1024;
/// The most that waits for whoever writes lines down.
const UNTAKEN_BYTES: usize = 1 << 20;

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

/// Lines that somebody wants who writes them down, since the last that he took.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub lines: Vec<ConsoleLine>,
    /// Lines that came too fast to be kept for him.
    pub missed: u64,
    /// Up to where these go, for [`Console::recorded`].
    pub position: u64,
}

type Acknowledge = Box<dyn Fn(u64) + Send>;

/// The console of one container. Cheap to clone; all clones are the same console.
#[derive(Clone, Default)]
pub struct Console(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    changed: Notify,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines that had to go.
    dropped: u64,
    /// What came of a line that has not ended.
    open: [Vec<u8>; 2],
    /// Bytes that came so far, those included that an earlier gateway had.
    position: u64,
    closed: bool,
    /// None: nobody writes lines down.
    untaken: Option<Untaken>,
    /// Is told what is written down.
    acknowledge: Option<Acknowledge>,
}

struct Line {
    line: ConsoleLine,
    /// An earlier gateway has written it down.
    recorded: bool,
}

#[derive(Default)]
struct Untaken {
    lines: Vec<ConsoleLine>,
    bytes: usize,
    missed: u64,
}

impl Console {
    /// Takes what came on a stream.
    pub fn push(&self, stream: Stream, bytes: &[u8]) {
        let position = self.lock().position + bytes.len() as u64;
        self.push_at(OffsetDateTime::now_utc(), stream, bytes, position, false);
    }

    /// Takes what came on a stream at a time, and how much has come up to its end. `recorded`: somebody has written it down.
    pub(super) fn push_at(&self, at: OffsetDateTime, stream: Stream, bytes: &[u8], position: u64, recorded: bool) {
        let mut kept = self.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_BYTES) {
                kept.add(at, stream, part, recorded);
            }
        }
        kept.position = position;
        drop(kept);
        self.0.changed.notify_one();
    }

    /// A stream has ended: what stands without a line's end is a line.
    pub fn end(&self, stream: Stream) {
        let mut kept = self.lock();
        let rest = std::mem::take(&mut kept.open[stream as usize]);
        if !rest.is_empty() {
            kept.line(OffsetDateTime::now_utc(), stream, &rest, false);
        }
        drop(kept);
        self.0.changed.notify_one();
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_one();
    }

    /// Has `acknowledge` told up to where lines are written down.
    pub(super) fn on_recorded(&self, acknowledge: Acknowledge) {
        self.lock().acknowledge = Some(acknowledge);
    }

    /// From now on lines are kept for [`Console::take`], beginning with those that are here and not written down.
    pub fn subscribe(&self) {
        let mut kept = self.lock();
        let mut untaken = Untaken::default();
        kept.lines.iter().filter(|line| !line.recorded).for_each(|line| untaken.add(&line.line));
        kept.untaken = Some(untaken);
        drop(kept);
        self.0.changed.notify_one();
    }

    /// Waits for lines to take, or for the end; for one who waits at a time. False: the end.
    pub async fn changed(&self) -> bool {
        loop {
            let changed = self.0.changed.notified();
            {
                let kept = self.lock();
                if kept.untaken.as_ref().is_some_and(|untaken| !untaken.lines.is_empty()) {
                    return true;
                }
                if kept.closed {
                    return false;
                }
            }
            changed.await;
        }
    }

    /// What came since it was last asked for.
    pub fn take(&self) -> Taken {
        let mut kept = self.lock();
        let untaken = kept.untaken.as_mut().map(std::mem::take).unwrap_or_default();
        Taken { lines: untaken.lines, missed: untaken.missed, position: kept.position }
    }

    /// What was taken up to `position` is written down, and needs not be told again.
    pub fn recorded(&self, position: u64) {
        if let Some(acknowledge) = &self.lock().acknowledge {
            acknowledge(position);
        }
    }

    /// The lines that are kept, and how many went before them.
    pub fn lines(&self) -> (Vec<ConsoleLine>, u64) {
        let kept = self.lock();
        (kept.lines.iter().map(|line| line.line.clone()).collect(), kept.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, at: OffsetDateTime, stream: Stream, part: &[u8], recorded: bool) {
        let open = &mut self.open[stream as usize];
        open.extend_from_slice(part);
        if open.ends_with(b"\n") || open.len() >= LINE_BYTES {
            let line = std::mem::take(open);
            self.line(at, stream, line.strip_suffix(b"\n").unwrap_or(&line), recorded);
        }
    }

    fn line(&mut self, at: OffsetDateTime, stream: Stream, bytes: &[u8], recorded: bool) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.bytes += cost(&text);
        let line = ConsoleLine { at, stream, text };
        if let Some(untaken) = self.untaken.as_mut().filter(|_| !recorded) {
            untaken.add(&line);
        }
        self.lines.push_back(Line { line, recorded });
        while self.bytes > KEPT_BYTES
            && let Some(gone) = self.lines.pop_front()
        {
            self.bytes -= cost(&gone.line.text);
            self.dropped += 1;
        }
    }
}

impl Untaken {
    fn add(&mut self, line: &ConsoleLine) {
        if self.bytes + cost(&line.text) > UNTAKEN_BYTES {
            self.missed += 1;
            return;
        }
        self.bytes += cost(&line.text);
        self.lines.push(line.clone());
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

    #[tokio::test]
    async fn whoever_writes_lines_down_gets_what_was_and_what_comes() {
        let console = Console::default();
        console.push(Stream::Stdout, b"before\nhal");
        console.subscribe();
        assert!(console.changed().await);
        let first = console.take();
        assert_eq!((first.lines[0].text.as_str(), first.lines.len(), first.position), ("before", 1, 10));
        console.push(Stream::Stdout, b"f\nafter");
        console.end(Stream::Stdout);
        console.close();
        assert!(console.changed().await);
        let texts: Vec<_> = console.take().lines.into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["half", "after"]);
        assert!(!console.changed().await, "nothing will come any more");
    }

    #[test]
    fn what_an_earlier_gateway_wrote_down_is_shown_and_not_taken() {
        let console = Console::default();
        let at = OffsetDateTime::UNIX_EPOCH;
        console.push_at(at, Stream::Stdout, b"old\nhal", 7, true);
        console.push_at(at, Stream::Stdout, b"f\nnew\n", 13, false);
        console.subscribe();
        assert_eq!(console.lines().0.len(), 3);
        let taken: Vec<_> = console.take().lines.into_iter().map(|line| line.text).collect();
        assert_eq!(taken, ["half", "new"]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let console = Console::default();
        console.push(Stream::Stdout, &vec![b'x'; 3 * KEPT_BYTES]);
        console.push(Stream::Stderr, &vec![b'\n'; KEPT_BYTES]);
        console.subscribe();
        console.push(Stream::Stdout, &vec![b'\n'; UNTAKEN_BYTES]);
        let taken = console.take();
        assert!(taken.missed > 0 && taken.lines.len() * size_of::<ConsoleLine>() <= UNTAKEN_BYTES);
        let (lines, dropped) = console.lines();
        assert!(dropped > 0);
        assert!(lines.iter().map(|line| line.text.len()).sum::<usize>() <= KEPT_BYTES);
        assert!(lines.iter().all(|line| line.text.len() <= LINE_BYTES));
    }
}
