//! Ending a run in two steps: raise in the guest through its interrupt cell, and trap it only when it does not yield.
//!
//! ```text
//!            limit reached, or stop asked          grace over
//!  Running ----------------------------> Raised ---------------> Killed
//!     |                                    |  ^
//!     | the call returns                   |  | again, halfway through the grace
//!     v                                    v  |
//!  (finished)                      (ended by the exception; the session lives)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::{AsContextMut, StoreContextMut};

use super::guest::Guest;
use super::meter::CpuMeter;
use crate::sandbox::{Exit, Limits};

/// How long a guest may go on after it was interrupted: for its `except` and `finally` blocks and for writing the
/// traceback. Python code notices the exception in microseconds; only a long call in C does not.
pub const GRACE: Duration = Duration::from_millis(1500);
/// Most writes that an interrupt cell may ask for.
const MAX_WRITES: usize = 4;

/// The words to write for an interruption, as read from the image (never from a live session).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterruptCell {
    writes: Vec<CellWrite>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CellWrite {
    address: usize,
    value: u32,
    or_bits: u32,
}

impl InterruptCell {
    /// Reads the cell at `address` of an image's memory; `None` when it does not lie within it or makes no sense.
    pub fn read(memory: &[u8], address: u32) -> Option<Self> {
        let word = |at: usize| -> Option<u32> {
            let bytes = memory.get(at..at.checked_add(4)?)?;
            Some(u32::from_le_bytes(bytes.try_into().expect("the slice has four bytes")))
        };
        let start = usize::try_from(address).ok()?;
        let count = usize::try_from(word(start)?).ok()?;
        if count > MAX_WRITES {
            return None;
        }
        let writes = (0..count).map(|index| {
            let at = start + 4 + index * 12;
            let write =
                CellWrite { address: usize::try_from(word(at)?).ok()?, value: word(at + 4)?, or_bits: word(at + 8)? };
            word(write.address).map(|_| write)
        });
        Some(Self { writes: writes.collect::<Option<_>>()? })
    }

    /// Raises in the guest. Its memory never shrinks, so the addresses that lay within the image still do.
    fn raise(&self, memory: &mut [u8]) {
        for write in &self.writes {
            let word = &mut memory[write.address..write.address + 4];
            let old = u32::from_le_bytes((&*word).try_into().expect("the slice has four bytes"));
            let new = if write.or_bits == 0 { write.value } else { old | write.or_bits };
            word.copy_from_slice(&new.to_le_bytes());
        }
    }

    /// Takes back an interruption that the guest did not get to notice, so that it does not meet the next execution.
    pub fn clear(&self, memory: &mut [u8]) {
        for write in self.writes.iter().filter(|write| write.or_bits == 0) {
            memory[write.address..write.address + 4].fill(0);
        }
    }
}

/// Watches over one run. Asked in every epoch check, while the guest stands still.
pub struct Watch {
    limits: Limits,
    cpu: Arc<CpuMeter>,
    stop: CancellationToken,
    deadline: Instant,
    raised: Option<Raised>,
}

struct Raised {
    why: Exit,
    at: Instant,
    again: bool,
}

/// What to do with a guest that is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    GoOn,
    Raise,
    Kill,
}

impl Watch {
    /// Starts watching: the wall clock runs from now.
    pub fn new(limits: Limits, cpu: Arc<CpuMeter>, stop: CancellationToken) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(limits.wall).unwrap_or(now + Duration::from_secs(86_400 * 365));
        Self { limits, cpu, stop, deadline, raised: None }
    }

    /// Why the guest was interrupted, if it was.
    pub fn interrupted(&self) -> Option<Exit> {
        self.raised.as_ref().map(|raised| raised.why)
    }

    fn look(&mut self, now: Instant, fuel_used: Option<u64>) -> Verdict {
        if let Some(raised) = &mut self.raised {
            let since = now.saturating_duration_since(raised.at);
            if since >= GRACE {
                return Verdict::Kill;
            }
            if since >= GRACE / 2 && !raised.again {
                raised.again = true;
                return Verdict::Raise;
            }
            return Verdict::GoOn;
        }
        match self.limit_reached(now, fuel_used) {
            Some(why) => {
                self.raised = Some(Raised { why, at: now, again: false });
                Verdict::Raise
            }
            None => Verdict::GoOn,
        }
    }

    fn limit_reached(&self, now: Instant, fuel_used: Option<u64>) -> Option<Exit> {
        let over = |used: Option<u64>, limit: Option<u64>| matches!((used, limit), (Some(u), Some(l)) if u >= l);
        if self.stop.is_cancelled() {
            Some(Exit::Stopped)
        } else if now >= self.deadline {
            Some(Exit::TimedOut)
        } else if self.limits.cpu.is_some_and(|limit| self.cpu.spent() >= limit) {
            Some(Exit::OutOfCpu)
        } else if over(fuel_used, self.limits.fuel) {
            Some(Exit::OutOfFuel)
        } else {
            None
        }
    }
}

/// The epoch callback: looks at the run, raises or kills, and lets other guests run.
pub fn on_epoch(mut store: StoreContextMut<'_, Guest>) -> wasmtime::Result<wasmtime::UpdateDeadline> {
    let fuel_left = store.get_fuel().ok();
    let guest = store.data_mut();
    let Some(run) = guest.run.as_mut() else {
        // Only `prepare` runs without a watch; it is ours and short.
        return Ok(wasmtime::UpdateDeadline::Continue(1));
    };
    let fuel_used = fuel_left.map(|left| run.fuel_given.saturating_sub(left));
    match run.watch.look(Instant::now(), fuel_used) {
        Verdict::GoOn => {}
        Verdict::Raise => raise(store.as_context_mut()),
        Verdict::Kill => return Ok(wasmtime::UpdateDeadline::Interrupt),
    }
    Ok(wasmtime::UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

fn raise(mut store: StoreContextMut<'_, Guest>) {
    let guest = store.data();
    let Some(memory) = guest.memory else { return };
    let cell = guest.interrupt_cell.clone();
    cell.raise(memory.data_mut(&mut store));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limits: Limits) -> Watch {
        Watch::new(limits, CpuMeter::new(), CancellationToken::new())
    }

    fn limits() -> Limits {
        Limits { wall: Duration::from_secs(10), cpu: None, fuel: Some(100), output_bytes: 0 }
    }

    #[test]
    fn a_deadline_raises_twice_and_then_kills() {
        let mut watch = watch(limits());
        let start = watch.deadline;
        assert_eq!(watch.look(start - Duration::from_millis(1), None), Verdict::GoOn);
        assert_eq!(watch.look(start, None), Verdict::Raise);
        assert_eq!(watch.interrupted(), Some(Exit::TimedOut));
        assert_eq!(watch.look(start + GRACE / 4, None), Verdict::GoOn);
        assert_eq!(watch.look(start + GRACE / 2, None), Verdict::Raise);
        assert_eq!(watch.look(start + GRACE / 2, None), Verdict::GoOn);
        assert_eq!(watch.look(start + GRACE, None), Verdict::Kill);
    }

    #[test]
    fn fuel_and_stop_have_their_own_reasons() {
        let mut fuel = watch(limits());
        assert_eq!(fuel.look(Instant::now(), Some(99)), Verdict::GoOn);
        assert_eq!(fuel.look(Instant::now(), Some(100)), Verdict::Raise);
        assert_eq!(fuel.interrupted(), Some(Exit::OutOfFuel));
        let mut stopped = watch(limits());
        stopped.stop.cancel();
        assert_eq!(stopped.look(Instant::now(), None), Verdict::Raise);
        assert_eq!(stopped.interrupted(), Some(Exit::Stopped));
    }

    #[test]
    fn a_cell_is_read_checked_and_written() {
        let mut memory = vec![0u8; 64];
        let words: [u32; 7] = [2, 40, 7, 0, 44, 0, 8];
        for (index, word) in words.iter().enumerate() {
            memory[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
        }
        memory[44] = 1;
        let cell = InterruptCell::read(&memory, 0).expect("the cell is sound");
        cell.raise(&mut memory);
        assert_eq!((memory[40], memory[44]), (7, 9));
        cell.clear(&mut memory);
        assert_eq!((memory[40], memory[44]), (0, 9));
    }

    #[test]
    fn a_cell_out_of_bounds_is_refused() {
        let mut memory = vec![0u8; 16];
        memory[0] = 1;
        memory[4..8].copy_from_slice(&14u32.to_le_bytes());
        assert_eq!(InterruptCell::read(&memory, 0), None);
        assert_eq!(InterruptCell::read(&memory, u32::MAX), None);
        memory[0] = 5;
        assert_eq!(InterruptCell::read(&memory, 0), None);
    }
}
