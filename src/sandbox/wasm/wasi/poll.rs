//! `poll_oneoff`: sleeping, and asking which descriptors are ready (all that are open always are). It suspends the
//! guest, so that a sleeping session holds no thread.

use std::time::{Duration, Instant};

use wasmtime::Caller;

use super::call;
use super::clocks::{MONOTONIC, REALTIME, realtime};
use super::descriptors::Descriptor;
use super::errno::Errno;
use super::memory::GuestMemory;
use super::state::WasiState;
use crate::files::Kind;

/// The most subscriptions of one call; `select` on all standard streams and a timeout needs four.
pub const MAX_SUBSCRIPTIONS: u32 = 64;
/// The longest single sleep. Every wall-clock limit is shorter, and a guest may sleep again.
const MAX_SLEEP: Duration = Duration::from_secs(24 * 3600);

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Subscription {
    user_data: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Clock {
        wait: Duration,
    },
    Read {
        available: u64,
    },
    Write,
    /// A subscription of its own that cannot be kept; the others can.
    Failed {
        kind: u8,
        errno: Errno,
    },
}

pub async fn poll_oneoff<T: Send + 'static>(
    mut caller: Caller<'_, T>,
    state: impl Fn(&mut T) -> &mut WasiState + Copy + Send + Sync + 'static,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> wasmtime::Result<u32> {
    let mut asked = Vec::new();
    let errno = call(&mut caller, state, |wasi, memory| {
        asked = read_all(wasi, memory, subscriptions, events, count, out)?;
        Ok(())
    })?;
    if errno != 0 {
        return Ok(errno);
    }
    let shortest = asked.iter().map(|one| match one.what {
        What::Clock { wait } => wait,
        What::Read { .. } | What::Write | What::Failed { .. } => Duration::ZERO,
    });
    let wait = shortest.min().unwrap_or_default();
    let mut woken = false;
    if !wait.is_zero() {
        let wake = state(caller.data_mut()).wake();
        let started = Instant::now();
        woken = tokio::time::timeout(wait.min(MAX_SLEEP), wake.notified()).await.is_ok();
        state(caller.data_mut()).clock.slept(started.elapsed());
    }

    call(&mut caller, state, |_, memory| {
        let mut written = 0;
        for one in asked {
            let ready = match one.what {
                What::Clock { wait: its } => woken || its <= wait,
                What::Read { .. } | What::Write | What::Failed { .. } => true,
            };
            if ready {
                let at = events.checked_add(written * EVENT_BYTES as u32).ok_or(Errno::Fault)?;
                memory.write(at, &event(one))?;
                written += 1;
            }
        }
        memory.write_u32(out, written)
    })
}

/// Reads the subscriptions, and checks that their events will have room.
fn read_all(
    wasi: &WasiState,
    memory: &GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<Vec<Subscription>, Errno> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    memory.range(subscriptions, count * SUBSCRIPTION_BYTES)?;
    memory.range(events, count * EVENT_BYTES as u32)?;
    memory.range(out, 4)?;
    (0..count).map(|n| read_one(wasi, memory, subscriptions.saturating_add(n * SUBSCRIPTION_BYTES))).collect()
}

fn read_one(wasi: &WasiState, memory: &GuestMemory<'_>, at: u32) -> Result<Subscription, Errno> {
    let field = |offset: u32| at.saturating_add(offset);
    let user_data = memory.read_u64(at)?;
    let kind = memory.read_u32(field(8))? as u8;
    let what = match kind {
        0 => clock(wasi, memory.read_u32(field(16))?, memory.read_u64(field(24))?, memory.read_u16(field(40))?)?,
        1 | 2 => {
            let fd = memory.read_u32(field(16))?;
            let ready = if kind == 1 { read_ready(wasi, fd) } else { write_ready(wasi, fd) };
            ready.unwrap_or_else(|errno| What::Failed { kind, errno })
        }
        _ => return Err(Errno::Inval),
    };
    Ok(Subscription { user_data, what })
}

fn clock(wasi: &WasiState, id: u32, timeout: u64, flags: u16) -> Result<What, Errno> {
    let now = match id {
        REALTIME => realtime(),
        MONOTONIC => wasi.clock.monotonic(),
        _ => return Err(Errno::Inval),
    };
    let wait = match flags {
        0 => timeout,
        1 => timeout.saturating_sub(now),
        _ => return Err(Errno::Inval),
    };
    Ok(What::Clock { wait: Duration::from_nanos(wait) })
}

fn read_ready(wasi: &WasiState, fd: u32) -> Result<What, Errno> {
    match wasi.descriptors.get(fd)? {
        Descriptor::Stdin => Ok(What::Read { available: 0 }),
        Descriptor::Open(open) if open.kind == Kind::Device => Ok(What::Read { available: 1 }),
        Descriptor::Open(open) if open.kind == Kind::File => {
            Ok(What::Read { available: wasi.tree.stat(open.inode)?.size.saturating_sub(open.offset) })
        }
        Descriptor::Open(_) | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::Badf),
    }
}

fn write_ready(wasi: &WasiState, fd: u32) -> Result<What, Errno> {
    match wasi.descriptors.get(fd)? {
        Descriptor::Stdout | Descriptor::Stderr => Ok(What::Write),
        Descriptor::Open(open) if open.kind != Kind::Directory => Ok(What::Write),
        Descriptor::Open(_) | Descriptor::Stdin => Err(Errno::Badf),
    }
}

fn event(subscription: Subscription) -> [u8; EVENT_BYTES] {
    let hangup = 1_u8;
    let mut event = [0; EVENT_BYTES];
    event[..8].copy_from_slice(&subscription.user_data.to_le_bytes());
    match subscription.what {
        What::Clock { .. } => {}
        What::Read { available } => {
            event[10] = 1;
            event[16..24].copy_from_slice(&available.to_le_bytes());
            event[24] = if available == 0 { hangup } else { 0 };
        }
        What::Write => {
            event[10] = 2;
            event[16] = 1;
        }
        What::Failed { kind, errno } => {
            event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
            event[10] = kind;
        }
    }
    event
}
