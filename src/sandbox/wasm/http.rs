//! The imports `sandpool.http_request` and `sandpool.http_take`: a guest's requests to the outside.
//!
//! The guest is suspended while the request is under way, so other guests run, and it goes on early when an
//! interruption is due. The answer waits here until it is taken: how large it is only shows at its end, and the guest
//! must make room for it in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wasmtime::{Caller, Linker, Memory};

use super::guest::Guest;
use crate::egress::{Call, Calls, Egress, Failure, FailureKind, Request, Response, Target};

/// The largest head of a request: URL and headers, as JSON.
const MAX_HEAD_BYTES: usize = 256 << 10;
/// Before the head: its length.
const LENGTH_BYTES: usize = 4;

/// What the host keeps of a guest's requests.
pub struct Http {
    egress: Arc<Egress>,
    calls: Calls,
    /// Requests and refused questions of this run.
    asked: u32,
    held: Held,
}

/// An answer that the guest has not taken, or not wholly.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    taken: usize,
}

/// What a guest hands over, before its body.
#[derive(Deserialize)]
struct Head {
    /// Only asks whether anything may go to the URL's host and port.
    #[serde(default)]
    probe: bool,
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnswerHead<'a> {
    Response { status: u16, reason: &'a str, headers: &'a [(String, String)] },
    Error { error: &'a Failure },
}

impl Http {
    pub fn new(egress: Arc<Egress>) -> Self {
        Self { egress, calls: Calls::default(), asked: 0, held: Held::default() }
    }

    /// What was asked since the last time, for the answer; and nothing is held any longer.
    pub fn settle(&mut self) -> Calls {
        self.asked = 0;
        self.held = Held::default();
        std::mem::take(&mut self.calls)
    }

    fn count(&mut self) -> Result<(), Failure> {
        let limit = self.egress.policy().limits.requests;
        self.asked = self.asked.saturating_add(1);
        let over = || Failure::new(FailureKind::Limit, format!("this pool lets an execution make {limit} requests"));
        if self.asked > limit { Err(over()) } else { Ok(()) }
    }

    /// Answers a question without sending anything. It counts only when it is refused, so that asking before sending
    /// costs nothing.
    fn probe(&mut self, target: &Target) -> Result<Response, Failure> {
        let answer = self.egress.probe(target);
        if let Err(failure) = &answer {
            let refused = Err(failure.clone());
            self.count()?;
            self.calls.add(Call::new(target, "CONNECT", 0, &refused));
        }
        answer.map(|()| Response { status: 200, reason: String::new(), headers: Vec::new(), body: Vec::new() })
    }
}

impl Held {
    fn put(&mut self, answer: Result<Response, Failure>) -> u32 {
        let mut bytes = vec![0; LENGTH_BYTES];
        let (head, body) = match &answer {
            Ok(Response { status, reason, headers, body }) => {
                (AnswerHead::Response { status: *status, reason, headers }, &body[..])
            }
            Err(error) => (AnswerHead::Error { error }, &[][..]),
        };
        serde_json::to_writer(&mut bytes, &head).expect("strings and numbers can be written");
        let head_bytes = u32::try_from(bytes.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        bytes[..LENGTH_BYTES].copy_from_slice(&head_bytes.to_le_bytes());
        bytes.extend_from_slice(body);
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        *self = Self { bytes, taken: 0 };
        len
    }

    /// The next part of the answer, of at most `most` bytes.
    fn next(&mut self, most: usize) -> &[u8] {
        let start = self.taken;
        self.taken = self.bytes.len().min(start.saturating_add(most));
        &self.bytes[start..self.taken]
    }

    /// Frees an answer that was taken to its end.
    fn tidy(&mut self) {
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// Adds both functions to a linker.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap_async("sandpool", "http_request", |mut caller: Caller<'_, Guest>, (at, len): (u32, u32)| {
        Box::new(async move {
            // The last answer gives way before the next is gathered: a guest holds one at most.
            caller.data_mut().http.held = Held::default();
            let answer = request(&mut caller, at, len).await;
            caller.data_mut().http.held.put(answer)
        })
    })?;
    linker.func_wrap("sandpool", "http_take", |mut caller: Caller<'_, Guest>, at: u32, len: u32| -> u32 {
        let Some(memory) = memory_of(&mut caller) else { return 0 };
        let (memory, guest) = memory.data_and_store_mut(&mut caller);
        take(&mut guest.http.held, memory, at, len)
    })?;
    Ok(())
}

fn memory_of(caller: &mut Caller<'_, Guest>) -> Option<Memory> {
    caller.data().memory.or_else(|| caller.get_export("memory")?.into_memory())
}

/// Writes the next bytes of the answer into `len` bytes at `at`. None where that is not memory.
fn take(held: &mut Held, memory: &mut [u8], at: u32, len: u32) -> u32 {
    let (at, len) = (at as usize, len as usize);
    let Some(room) = at.checked_add(len).and_then(|end| memory.get_mut(at..end)) else { return 0 };
    let part = held.next(room.len());
    room[..part.len()].copy_from_slice(part);
    let written = part.len();
    held.tidy();
    u32::try_from(written).unwrap_or(0)
}

async fn request(caller: &mut Caller<'_, Guest>, at: u32, len: u32) -> Result<Response, Failure> {
    let memory = memory_of(caller).ok_or_else(|| Failure::invalid("there is no memory"))?;
    let (bytes, guest) = memory.data_and_store_mut(&mut *caller);
    if guest.run.is_none() {
        return Err(Failure::refused("nothing goes out while an image is made"));
    }
    let (head, body) = read(bytes, at, len)?;
    let target = Target::parse(&head.url);
    if head.probe {
        return guest.http.probe(&target?);
    }
    guest.http.count()?;
    let (target, limit) = (target?, guest.http.egress.policy().limits.request_bytes);
    let (egress, sent_bytes) = (guest.http.egress.clone(), body.len() as u64);
    let admitted = if sent_bytes > limit {
        Err(Failure::new(FailureKind::Limit, format!("the request has more than {limit} bytes, this pool's limit")))
    } else {
        let timeout = head.timeout_ms.map(Duration::from_millis);
        let request = Request { method: head.method.clone(), headers: head.headers, body: body.to_vec(), timeout };
        egress.admit(request, &target)
    };
    let (answer, sent_bytes) = match admitted {
        Ok(admitted) => (send(caller, &egress, admitted).await, sent_bytes),
        Err(failure) => (Err(failure), 0),
    };
    caller.data_mut().http.calls.add(Call::new(&target, &head.method, sent_bytes, &answer));
    answer
}

/// Sends, unless the guest's attention is wanted before the answer is there.
async fn send(
    caller: &mut Caller<'_, Guest>,
    egress: &Egress,
    admitted: crate::egress::Admitted,
) -> Result<Response, Failure> {
    let wake = caller.data().wasi.wake();
    let started = Instant::now();
    let answer = tokio::select! {
        answer = egress.send(admitted) => answer,
        () = wake.notified() => {
            Err(Failure::new(FailureKind::Interrupted, "the execution was interrupted while it waited for an answer"))
        }
    };
    caller.data_mut().wasi.slept(started.elapsed());
    answer
}

/// Takes a request apart: no length in it is believed, and nothing is copied.
fn read(memory: &[u8], at: u32, len: u32) -> Result<(Head, &[u8]), Failure> {
    let (at, len) = (at as usize, len as usize);
    let whole = at.checked_add(len).and_then(|end| memory.get(at..end));
    let whole = whole.ok_or_else(|| Failure::invalid("the request lies outside of the memory"))?;
    let (length, rest) = whole.split_first_chunk().ok_or_else(|| Failure::invalid("the request has no head"))?;
    let head_bytes = u32::from_le_bytes(*length) as usize;
    if head_bytes > MAX_HEAD_BYTES {
        let most = MAX_HEAD_BYTES >> 10;
        return Err(Failure::invalid(format!("URL and headers have more than {most} KiB together")));
    }
    let (head, body) =
        rest.split_at_checked(head_bytes).ok_or_else(|| Failure::invalid("the request's head is cut"))?;
    let head = serde_json::from_slice(head).map_err(|_| Failure::invalid("the request's head is malformed"))?;
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(head.len()).unwrap();
        [&len.to_le_bytes()[..], head.as_bytes(), body].concat()
    }

    #[test]
    fn lengths_are_not_believed() {
        let memory = request(r#"{"method":"GET","url":"http://h.example/"}"#, b"body");
        let len = u32::try_from(memory.len()).unwrap();
        let (head, body) = read(&memory, 0, len).ok().unwrap();
        assert_eq!((head.url.as_str(), body), ("http://h.example/", &b"body"[..]));
        for (at, len) in
            [(0, len + 1), (1, len), (u32::MAX, u32::MAX), (0, u32::MAX), (0, 3), (0, 0), (len, 0), (0, 20)]
        {
            assert!(read(&memory, at, len).is_err(), "{at} {len}");
        }
        let huge = u32::try_from(MAX_HEAD_BYTES + 1).unwrap().to_le_bytes();
        assert!(read(&[&huge[..], &vec![b' '; MAX_HEAD_BYTES + 1]].concat(), 0, huge.len() as u32).is_err());
        for head in ["", "[]", "{}", "{\"method\":\"GET\"}", "\u{0}", r#"{"method":1,"url":""}"#] {
            let memory = request(head, b"");
            assert!(read(&memory, 0, u32::try_from(memory.len()).unwrap()).is_err(), "{head}");
        }
    }

    #[test]
    fn an_answer_is_taken_in_parts_and_once() {
        let mut held = Held::default();
        let answer = Response { status: 200, reason: "OK".into(), headers: vec![], body: b"body".to_vec() };
        let len = held.put(Ok(answer));
        let mut memory = vec![0; len as usize + 10];
        assert_eq!(take(&mut held, &mut memory, 0, 4), 4);
        assert_eq!(take(&mut held, &mut memory, u32::MAX, 4), 0);
        assert_eq!(take(&mut held, &mut memory, len, 11), 0, "one byte too many");
        assert_eq!(take(&mut held, &mut memory, 4, len + 6), len - 4);
        assert_eq!(take(&mut held, &mut memory, 0, 10), 0);
        assert!(held.bytes.is_empty() && memory[..len as usize].ends_with(b"}body"));
    }
}
