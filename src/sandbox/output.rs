//! What an execution has emitted so far: shared between the running guest and whoever looks on.
//!
//! It does not know where the bytes come from; the cap is counted here, because here is the memory that it protects.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::event::{Display, Event, GuestError};
use super::transcript::{Transcript, Written};

/// Bytes that an error event may use beyond the cap: an answer without its error would tell nothing.
const ERROR_ALLOWANCE_BYTES: u64 = 64 * 1024;

/// The events of one execution, capped.
#[derive(Debug)]
pub struct Output {
    cap_bytes: u64,
    /// Characters that each of the two text streams may have.
    stream_cap: usize,
    kept: Mutex<Kept>,
    /// Told of every event, where somebody follows.
    more: Option<Notify>,
    /// What a terminal would have shown, where somebody keeps that.
    transcript: Option<Mutex<Transcript>>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    bytes: u64,
    dropped_bytes: u64,
    /// Characters taken so far: stdout, stderr.
    stream_chars: [usize; 2],
    /// `clear_output(wait=True)` was called: the next event clears.
    clear_pending: bool,
    /// Name of the last exception.
    last_error: Option<String>,
}

/// The two text streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Output {
    /// Keeps at most `cap_bytes` bytes of events (and an error beyond them).
    pub fn new(cap_bytes: u64) -> Self {
        Self { cap_bytes, stream_cap: usize::MAX, kept: Mutex::default(), more: None, transcript: None }
    }

    /// For somebody who takes the events as they come: nothing that was given out can be changed, so what clears or
    /// updates an earlier event is an event itself.
    pub fn followed(mut self) -> Self {
        self.more = Some(Notify::new());
        self
    }

    /// Keeps a transcript as well: nothing that is cleared, taken or cut for an answer is missing from it.
    pub fn transcribed(mut self) -> Self {
        self.transcript = Some(Mutex::default());
        self
    }

    /// Takes the transcript out; empty where none is kept.
    pub fn take_transcript(&self) -> Vec<Written> {
        self.transcript.as_ref().map(|transcript| lock(transcript).take()).unwrap_or_default()
    }

    fn transcribe(&self, stream: Stream, text: &str) {
        if let Some(transcript) = &self.transcript {
            lock(transcript).append(stream, text);
        }
    }

    /// Waits until something was emitted since the last wait. For ever where nobody follows.
    pub async fn more(&self) {
        match &self.more {
            Some(more) => more.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Keeps at most `characters` of each text stream, beside the cap on all events.
    pub fn with_stream_cap(mut self, characters: usize) -> Self {
        self.stream_cap = characters;
        self
    }

    /// Appends text, cut at the cap. Text that is not UTF-8 arrives with replacement characters.
    ///
    /// A character split between two writes of the guest is the guest's loss: CPython's streams write whole characters.
    pub fn text(&self, stream: Stream, bytes: &[u8]) {
        let mut kept = self.lock();
        let room = usize::try_from(self.cap_bytes.saturating_sub(kept.bytes)).unwrap_or(usize::MAX);
        let taken = kept.cut_to(self.stream_cap, stream, &bytes[..floor_char_boundary(bytes, room)]);
        kept.bytes += taken as u64;
        kept.dropped_bytes += (bytes.len() - taken) as u64;
        if taken > 0 {
            let text = String::from_utf8_lossy(&bytes[..taken]);
            kept.append(stream, &text);
            drop(kept);
            self.transcribe(stream, &text);
            self.tell();
        }
    }

    /// Appends a rich event of `size_bytes`, or drops it whole when it does not fit.
    pub fn rich(&self, event: Event, size_bytes: u64) {
        if let Event::Error(error) = &event {
            self.transcribe(Stream::Stderr, &error.shown());
        }
        let allowance = if matches!(event, Event::Error(_)) { ERROR_ALLOWANCE_BYTES } else { 0 };
        let mut kept = self.lock();
        if kept.bytes + size_bytes > self.cap_bytes + allowance {
            kept.dropped_bytes += size_bytes;
            return;
        }
        kept.bytes += size_bytes;
        match event {
            event if self.more.is_some() => kept.push(event),
            Event::ClearOutput { wait: true } => kept.clear_pending = true,
            Event::ClearOutput { wait: false } => kept.clear(),
            Event::UpdateDisplay(display) => kept.update(display),
            event => kept.push(event),
        }
        drop(kept);
        self.tell();
    }

    /// Bytes that may still come, so that nothing larger is copied out of the guest. An error may be larger.
    pub fn room_bytes(&self) -> u64 {
        let kept = self.lock();
        (self.cap_bytes + ERROR_ALLOWANCE_BYTES).saturating_sub(kept.bytes)
    }

    /// Counts `bytes` that were not even copied out of the guest.
    pub fn dropped(&self, bytes: u64) {
        self.lock().dropped_bytes += bytes;
    }

    /// An error of ours about the run, as if the guest had raised it.
    pub fn error(&self, error: GuestError) {
        self.transcribe(Stream::Stderr, &error.shown());
        self.lock().push(Event::Error(error));
        self.tell();
    }

    /// True when the last error event is an exception called `name`.
    pub fn last_error_is(&self, name: &str) -> bool {
        self.lock().last_error.as_deref() == Some(name)
    }

    /// The events so far, and how many bytes were dropped.
    pub fn so_far(&self) -> (Vec<Event>, u64) {
        let kept = self.lock();
        (kept.events.clone(), kept.dropped_bytes)
    }

    /// Takes the events out, with the bytes dropped. What is emitted later starts a new list.
    pub fn take(&self) -> (Vec<Event>, u64) {
        let mut kept = self.lock();
        (std::mem::take(&mut kept.events), kept.dropped_bytes)
    }

    /// Bytes that the guest emitted, those dropped included.
    pub fn emitted_bytes(&self) -> u64 {
        let kept = self.lock();
        kept.bytes + kept.dropped_bytes
    }

    fn tell(&self) {
        if let Some(more) = &self.more {
            more.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// Length of the part of `bytes` that the stream may still have with `cap` characters; counts its characters.
    fn cut_to(&mut self, cap: usize, stream: Stream, bytes: &[u8]) -> usize {
        let chars = &mut self.stream_chars[stream as usize];
        let (room, mut seen) = (cap - *chars, 0);
        let starts = |byte: &u8| !is_continuation(*byte);
        let end = bytes.iter().position(|byte| {
            let over = starts(byte) && seen == room;
            seen += usize::from(starts(byte) && !over);
            over
        });
        *chars += seen;
        end.unwrap_or(bytes.len())
    }

    fn push(&mut self, event: Event) {
        self.clear_if_pending();
        if let Event::Error(error) = &event {
            self.last_error = Some(error.name.clone());
        }
        self.events.push(event);
    }

    fn append(&mut self, stream: Stream, more: &str) {
        self.clear_if_pending();
        match (stream, self.events.last_mut()) {
            (Stream::Stdout, Some(Event::Stdout { text })) | (Stream::Stderr, Some(Event::Stderr { text })) => {
                text.push_str(more);
            }
            (Stream::Stdout, _) => self.events.push(Event::Stdout { text: more.to_owned() }),
            (Stream::Stderr, _) => self.events.push(Event::Stderr { text: more.to_owned() }),
        }
    }

    /// `clear_output()` takes back what was shown so far, as a notebook does; the bytes stay counted, so that a loop
    /// that prints and clears still meets the cap.
    fn clear(&mut self) {
        self.clear_pending = false;
        self.events.retain(|event| matches!(event, Event::Error(_)));
    }

    fn clear_if_pending(&mut self) {
        if self.clear_pending {
            self.clear();
        }
    }

    /// A display with the same id is replaced where it stands; an unknown id is kept as the update that it is.
    fn update(&mut self, new: Display) {
        let shown = self.events.iter_mut().find_map(|event| match event {
            Event::Display(display) if display.display_id == new.display_id => Some(display),
            _ => None,
        });
        match shown {
            Some(display) => *display = new,
            None => self.events.push(Event::UpdateDisplay(new)),
        }
    }
}

/// The largest length up to `limit` that does not cut a UTF-8 character.
fn floor_char_boundary(bytes: &[u8], limit: usize) -> usize {
    if limit >= bytes.len() {
        return bytes.len();
    }
    (limit.saturating_sub(3)..=limit).rev().find(|&at| !is_continuation(bytes[at])).unwrap_or(limit)
}

/// A byte of a UTF-8 character that is not its first.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_text_is_one_event() {
        let output = Output::new(100);
        output.text(Stream::Stdout, b"a");
        output.text(Stream::Stdout, b"b");
        output.text(Stream::Stderr, b"c");
        output.text(Stream::Stdout, b"d");
        let (events, dropped) = output.take();
        assert_eq!(dropped, 0);
        assert_eq!(
            events,
            [
                Event::Stdout { text: "ab".into() },
                Event::Stderr { text: "c".into() },
                Event::Stdout { text: "d".into() }
            ]
        );
    }

    #[test]
    fn text_is_cut_at_the_cap_between_characters() {
        let output = Output::new(4);
        output.text(Stream::Stdout, "abcé".as_bytes());
        output.text(Stream::Stdout, b"more");
        assert_eq!(output.take(), (vec![Event::Stdout { text: "abcm".into() }], 5));
        assert_eq!(output.emitted_bytes(), 9);
    }

    #[test]
    fn each_stream_has_its_cap_in_characters() {
        let output = Output::new(100).with_stream_cap(3);
        output.text(Stream::Stdout, "éé".as_bytes());
        output.text(Stream::Stdout, "éab".as_bytes());
        output.text(Stream::Stderr, b"abc");
        output.text(Stream::Stdout, b"x");
        let (events, dropped) = output.take();
        assert_eq!(events, [Event::Stdout { text: "ééé".into() }, Event::Stderr { text: "abc".into() }]);
        assert_eq!(dropped, 3);
    }

    #[test]
    fn an_error_fits_beyond_the_cap() {
        let output = Output::new(2);
        output.rich(Event::Result(Display::default()), 10);
        output.rich(Event::Error(GuestError::default()), 10);
        let (events, dropped) = output.take();
        assert_eq!(events, [Event::Error(GuestError::default())]);
        assert_eq!(dropped, 10);
    }

    #[test]
    fn an_update_replaces_the_display_with_its_id() {
        let shown = |text: &str| Display {
            data: [("text/plain".to_owned(), text.into())].into_iter().collect(),
            display_id: Some("x".into()),
            ..Display::default()
        };
        let output = Output::new(100);
        output.rich(Event::Display(shown("old")), 3);
        output.rich(Event::UpdateDisplay(shown("new")), 3);
        assert_eq!(output.take().0, [Event::Display(shown("new"))]);
    }

    #[tokio::test]
    async fn a_follower_is_given_each_event_once() {
        let output = Output::new(100).followed();
        output.text(Stream::Stdout, b"a");
        output.text(Stream::Stdout, b"b");
        output.more().await;
        assert_eq!(output.take().0, [Event::Stdout { text: "ab".into() }]);
        output.rich(Event::ClearOutput { wait: true }, 1);
        output.rich(Event::Error(GuestError { name: "E".into(), ..GuestError::default() }), 1);
        output.more().await;
        assert_eq!(output.take().0.len(), 2);
        assert!(output.last_error_is("E"));
    }

    #[test]
    fn clearing_takes_back_what_was_shown() {
        let output = Output::new(100);
        output.text(Stream::Stdout, b"progress 1");
        output.rich(Event::ClearOutput { wait: false }, 1);
        output.text(Stream::Stdout, b"progress 2");
        output.rich(Event::ClearOutput { wait: true }, 1);
        output.text(Stream::Stdout, b"progress 3");
        assert_eq!(output.take().0, [Event::Stdout { text: "progress 3".into() }]);
    }
}
