//! A sandbox: one instance of an image, with the file tree of its session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::{Memory, Store, Trap, TypedFunc};

use super::guest::{Guest, Run};
use super::http::Http;
use super::image::Image;
use super::interrupt::{self, GRACE, Watch};
use super::meter::{CpuMeter, Metered};
use super::wasi::{GuestExit, WasiState};
use crate::egress::Egress;
use crate::files::Tree;
use crate::sandbox::event::GuestError;
use crate::sandbox::{Exit, Limits, Output, Report, SandboxError, Usage};

/// `sandpool_execute`'s operations (interpreters/README.md).
const OP_PREPARE: u32 = 0;
const OP_CELL: u32 = 1;
const OP_RESEED: u32 = 2;
/// What preparing may take. It is the image's own code and takes a millisecond; the bound is for a broken image.
const PREPARE_LIMITS: Limits = Limits { wall: Duration::from_secs(20), cpu: None, fuel: None, output_bytes: 64 << 10 };
/// Fuel for a run that goes on after its budget: enough to notice the interruption and write a traceback.
const FUEL_RESERVE: u64 = 2_000_000_000;
/// Fuel is handed out in such portions. Compiled code counts within a portion in a register, where an epoch check does
/// not see it: this is how exact a budget is. Some milliseconds' worth.
const FUEL_INTERVAL: u64 = 10_000_000;

/// One live guest. Between runs it is plain memory; nothing of it is on any thread.
pub struct WasmSandbox {
    store: Store<Guest>,
    memory: Memory,
    request: TypedFunc<u32, u32>,
    execute: TypedFunc<(u32, u32), u32>,
    tree: Tree,
    image: Arc<Image>,
}

/// How a call into the guest came back.
enum Ended {
    Returned { status: u32 },
    NoRoom,
    Trapped(wasmtime::Error),
}

impl WasmSandbox {
    /// Makes a sandbox from an image: a copy-on-write view of its memory, and `tree` as its files.
    ///
    /// # Errors
    /// When the engine has no slot left, or `memory_bytes` is less than the image needs.
    pub async fn new(image: Arc<Image>, tree: Tree, memory_bytes: u64) -> Result<Self, SandboxError> {
        let failed = |e: wasmtime::Error| SandboxError::new("making a sandbox", e);
        let limit = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let guest = image.source().guest(tree.clone(), image.interrupt_cell().clone(), limit);
        let mut store = Store::new(image.engine().wasmtime(), guest);
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(interrupt::on_epoch);
        store.set_epoch_deadline(1);
        let instance = image.instance().instantiate_async(&mut store).await.map_err(failed)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| SandboxError::new("making a sandbox", "the module exports no memory"))?;
        let request = instance.get_typed_func(&mut store, "sandpool_request").map_err(failed)?;
        let execute = instance.get_typed_func(&mut store, "sandpool_execute").map_err(failed)?;
        if let Some(hot) = image.hot() {
            hot.populate(memory.data_mut(&mut store));
        }
        store.data_mut().memory = Some(memory);
        store.data_mut().wasi.set_memory(memory);
        Ok(Self { store, memory, request, execute, tree, image })
    }

    /// Opens a way out, from the next run on. A new sandbox has none.
    pub fn set_egress(&mut self, egress: Arc<Egress>) {
        self.store.data_mut().http = Http::new(egress);
    }

    /// The session's files; they may be used while the guest runs.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The linear memory.
    pub(super) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    pub(super) fn memory_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Makes the memory larger by so many WebAssembly pages.
    pub(super) async fn grow(&mut self, pages: u64) -> Result<(), SandboxError> {
        let grown = self.memory.grow_async(&mut self.store, pages).await;
        grown.map(drop).map_err(|e| SandboxError::new("growing a sandbox's memory", e))
    }

    pub(super) fn wasi(&self) -> &WasiState {
        &self.store.data().wasi
    }

    pub(super) fn wasi_mut(&mut self) -> &mut WasiState {
        &mut self.store.data_mut().wasi
    }

    /// Size of the linear memory, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    /// Makes the memory a session of its own: reseeds what is random and touches what a first cell will touch.
    ///
    /// # Errors
    /// When the guest does not come through it; the sandbox is of no use then.
    pub async fn prepare(&mut self) -> Result<(), SandboxError> {
        self.own(OP_PREPARE).await
    }

    /// Makes the memory a session of its own, for a first cell that waits already: reseeds what is random.
    ///
    /// # Errors
    /// As [`WasmSandbox::prepare`].
    pub async fn reseed(&mut self) -> Result<(), SandboxError> {
        self.own(OP_RESEED).await
    }

    async fn own(&mut self, op: u32) -> Result<(), SandboxError> {
        let output = Arc::new(Output::new(PREPARE_LIMITS.output_bytes));
        let report = self.call(op, "", PREPARE_LIMITS, output, CancellationToken::new()).await;
        match report.exit {
            Exit::Finished => Ok(()),
            exit => Err(SandboxError::new("preparing a sandbox", format!("the guest ended with {exit:?}"))),
        }
    }

    /// Runs one cell. `output` receives what it emits as it comes; `stop` interrupts it.
    ///
    /// To be awaited to its end, on a guest thread: a guest's stack must not be dropped half-way.
    pub async fn run(&mut self, code: &str, limits: Limits, output: Arc<Output>, stop: CancellationToken) -> Report {
        self.call(OP_CELL, code, limits, output, stop).await
    }

    async fn call(
        &mut self,
        op: u32,
        request: &str,
        limits: Limits,
        output: Arc<Output>,
        stop: CancellationToken,
    ) -> Report {
        let started = Instant::now();
        let cpu = CpuMeter::new();
        let fuel_given = self.fill_up(limits.fuel);
        let watch = Watch::new(limits, cpu.clone(), stop.clone());
        let guest = self.store.data_mut();
        guest.memory_denied = false;
        guest.wasi.set_output(Some(output.clone()));
        guest.run = Some(Run { watch, output: output.clone(), fuel_given });
        let wake = guest.wasi.wake();

        let ticking = self.image.engine().ticking();
        let entered = Metered::new(self.enter(op, request), cpu.clone());
        let ended = wake_at_the_limits(entered, limits.wall, &stop, || wake.notify_one()).await;
        drop(ticking);

        let (exit, alive) = self.settle(ended, &output);
        let usage = Usage {
            wall: started.elapsed(),
            cpu: cpu.spent(),
            fuel: self.store.get_fuel().ok().map(|left| fuel_given.saturating_sub(left)),
            memory_bytes: self.memory_bytes(),
            output_bytes: output.emitted_bytes(),
        };
        let network = self.store.data_mut().http.settle();
        Report { exit, usage, alive, network }
    }

    /// Puts the budget and the reserve into the tank. Gives back what is in it; 0 where fuel is not metered.
    fn fill_up(&mut self, budget: Option<u64>) -> u64 {
        let fuel = budget.map_or(u64::MAX, |budget| budget.saturating_add(FUEL_RESERVE));
        let filled = self.store.set_fuel(fuel).and_then(|()| self.store.fuel_async_yield_interval(Some(FUEL_INTERVAL)));
        match filled {
            Ok(()) => fuel,
            Err(_not_metered) => 0,
        }
    }

    async fn enter(&mut self, op: u32, request: &str) -> Ended {
        match self.enter_guest(op, request).await {
            Ok(Some(status)) => Ended::Returned { status },
            Ok(None) => Ended::NoRoom,
            Err(trap) => Ended::Trapped(trap),
        }
    }

    async fn enter_guest(&mut self, op: u32, request: &str) -> wasmtime::Result<Option<u32>> {
        self.store.set_epoch_deadline(1);
        let len = u32::try_from(request.len())?;
        if len > 0 {
            let at = self.request.call_async(&mut self.store, len).await? as usize;
            let room = self.memory.data_mut(&mut self.store).get_mut(at..at + request.len());
            match room {
                Some(room) if at != 0 => room.copy_from_slice(request.as_bytes()),
                _ => return Ok(None),
            }
        }
        self.execute.call_async(&mut self.store, (op, len)).await.map(Some)
    }

    /// What the end means, and whether the sandbox may be used again.
    fn settle(&mut self, ended: Ended, output: &Output) -> (Exit, bool) {
        let guest = self.store.data_mut();
        guest.wasi.set_output(None);
        let interrupted = guest.run.take().and_then(|run| run.watch.interrupted());
        let (denied, cell) = (guest.memory_denied, guest.interrupt_cell.clone());
        match ended {
            Ended::Returned { status } => {
                if interrupted.is_some() {
                    cell.clear(self.memory.data_mut(&mut self.store));
                }
                (interrupted.unwrap_or(if status == 0 { Exit::Finished } else { raised(output, denied) }), true)
            }
            Ended::NoRoom => {
                output.error(no_memory_for_the_code());
                (Exit::OutOfMemory, true)
            }
            Ended::Trapped(trap) => (trap_exit(&trap, interrupted, denied, output), false),
        }
    }
}

/// Awaits a run, and wakes a guest that sleeps in a host call when something wants its attention: the guest then goes
/// on, meets an epoch check, and is told there.
async fn wake_at_the_limits<F: Future>(
    entered: F,
    wall: Duration,
    stop: &CancellationToken,
    wake: impl Fn(),
) -> F::Output {
    tokio::pin!(entered);
    let mut next = wall;
    let mut stopped = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut entered => return ended,
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                next = GRACE / 2;
            }
            () = tokio::time::sleep(next) => next = GRACE / 2,
        }
        wake();
    }
}

fn raised(output: &Output, memory_denied: bool) -> Exit {
    let out_of_memory = memory_denied && output.last_error_is("MemoryError");
    if out_of_memory { Exit::OutOfMemory } else { Exit::Raised }
}

fn trap_exit(trap: &wasmtime::Error, interrupted: Option<Exit>, memory_denied: bool, output: &Output) -> Exit {
    if let Some(GuestExit(code)) = trap.downcast_ref::<GuestExit>() {
        output.error(GuestError {
            name: "SystemExit".into(),
            value: code.to_string(),
            traceback: vec![format!("SystemExit: the interpreter was ended with code {code}")],
        });
        return Exit::Trapped;
    }
    match (interrupted, trap.downcast_ref::<Trap>()) {
        (Some(why), _) => why,
        (None, Some(Trap::OutOfFuel)) => Exit::OutOfFuel,
        (None, _) if memory_denied => Exit::OutOfMemory,
        (None, _) => Exit::Trapped,
    }
}

fn no_memory_for_the_code() -> GuestError {
    GuestError {
        name: "MemoryError".into(),
        value: "no memory is left for the code itself".into(),
        traceback: vec!["MemoryError: no memory is left for the code itself".into()],
    }
}
