//! The one import of our own, `sandpool.emit`: decodes the guest's event stream. Nothing of it is trusted.

use serde::Deserialize;
use wasmtime::{Caller, Linker};

use super::guest::Guest;
use crate::sandbox::event::{Display, Event, GuestError};
use crate::sandbox::output::{Output, Stream};

/// Adds `sandpool.emit` to a linker.
pub fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("sandpool", "emit", |mut caller: Caller<'_, Guest>, kind: u32, at: u32, len: u32| {
        let Some(memory) = caller.data().memory.or_else(|| caller.get_export("memory")?.into_memory()) else { return };
        let (memory, guest) = memory.data_and_store_mut(&mut caller);
        let Some(run) = guest.run.as_ref() else { return };
        take(&run.output, kind, memory, at, len);
    })?;
    Ok(())
}

/// Takes one event of `len` bytes at `at`. What lies outside the memory or makes no sense is dropped: it is the guest's
/// own answer that is poorer for it.
fn take(output: &Output, kind: u32, memory: &[u8], at: u32, len: u32) {
    let (at, len) = (at as usize, len as usize);
    let Some(payload) = at.checked_add(len).and_then(|end| memory.get(at..end)) else { return };
    match kind {
        1 => output.text(Stream::Stdout, payload),
        2 => output.text(Stream::Stderr, payload),
        _ if len as u64 > output.room_bytes() => output.dropped(len as u64),
        _ => match decode(kind, payload) {
            Some(event) => output.rich(event, len as u64),
            None => output.dropped(len as u64),
        },
    }
}

#[derive(Deserialize)]
struct ClearOutput {
    #[serde(default)]
    wait: bool,
}

fn decode(kind: u32, payload: &[u8]) -> Option<Event> {
    Some(match kind {
        3 => Event::Display(serde_json::from_slice::<Display>(payload).ok()?),
        4 => Event::UpdateDisplay(serde_json::from_slice::<Display>(payload).ok()?),
        5 => Event::ClearOutput { wait: serde_json::from_slice::<ClearOutput>(payload).ok()?.wait },
        6 => Event::Result(serde_json::from_slice::<Display>(payload).ok()?),
        7 => Event::Error(serde_json::from_slice::<GuestError>(payload).ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_kinds_are_not_trusted() {
        let output = Output::new(1000);
        let memory = b"{\"wait\":true}".to_vec();
        take(&output, 1, &memory, u32::MAX, u32::MAX);
        take(&output, 6, &memory, 4, 100);
        take(&output, 99, &memory, 0, 4);
        take(&output, 7, &memory, 0, 5);
        assert!(output.take().0.is_empty());
        take(&output, 1, &memory, 2, 4);
        assert_eq!(output.take().0, [Event::Stdout { text: "wait".into() }]);
    }

    #[test]
    fn a_result_is_decoded() {
        let output = Output::new(1000);
        let payload = br#"{"data":{"text/plain":"2"},"metadata":{}}"#;
        take(&output, 6, payload, 0, payload.len() as u32);
        let (events, _) = output.take();
        assert!(matches!(&events[..], [Event::Result(shown)] if shown.data["text/plain"] == "2"));
    }
}
