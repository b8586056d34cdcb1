//! Clocks: the world's time, the time since the guest was made, and the time that it has been running.

use std::time::{SystemTime, UNIX_EPOCH};

use super::errno::Errno;
use super::memory::GuestMemory;
use super::state::WasiState;

pub const REALTIME: u32 = 0;
pub const MONOTONIC: u32 = 1;
const PROCESS_CPUTIME: u32 = 2;
const THREAD_CPUTIME: u32 = 3;

/// What the clocks can tell apart, in nanoseconds; finer time helps only side channels, and Python does not notice.
const RESOLUTION: u64 = 1_000;

pub fn clock_res_get(_: &mut WasiState, memory: &mut GuestMemory<'_>, id: u32, out: u32) -> Result<(), Errno> {
    if id > THREAD_CPUTIME {
        return Err(Errno::Inval);
    }
    memory.write_u64(out, RESOLUTION)
}

pub fn clock_time_get(
    wasi: &mut WasiState,
    memory: &mut GuestMemory<'_>,
    id: u32,
    _precision: u64,
    out: u32,
) -> Result<(), Errno> {
    let now = match id {
        REALTIME => realtime(),
        MONOTONIC => wasi.clock.monotonic(),
        PROCESS_CPUTIME | THREAD_CPUTIME => wasi.clock.cpu(),
        _ => return Err(Errno::Inval),
    };
    memory.write_u64(out, now - now % RESOLUTION)
}

/// Nanoseconds since 1970.
pub fn realtime() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
