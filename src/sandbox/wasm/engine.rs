//! A wasmtime engine as Sandpool wants it, and the clock that ticks its epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Collector, Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::sandbox::SandboxError;

/// Length of an epoch: how long a guest runs before others get their turn, and how late a deadline may be noticed.
pub const TICK: Duration = Duration::from_millis(2);
/// Stack of the host while a guest runs. Deep recursion in the guest ends as a `RecursionError` of the interpreter well
/// before this; a guest that goes on is trapped.
const GUEST_STACK_BYTES: usize = 4 << 20;
/// The fiber's stack: the guest's part, and room for host calls.
const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + (2 << 20);
/// Function table of a guest. CPython has about 5,000 entries, with numpy, pandas and matplotlib 25,000; a huge table was a
/// panic once (CVE-2026-44216).
pub(super) const TABLE_ELEMENTS: usize = 60_000;
/// Per-instance bookkeeping of wasmtime: dominated by 32 bytes a function of the module.
const INSTANCE_BYTES: usize = 10 << 20;
/// Dirty memory that a freed slot keeps, so that the next session on it copies the image back instead of faulting
/// page by page. Somewhat more than an idle session has; what a session used beyond it goes back to the system at its end.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
/// How many freed slots may keep their dirty memory.
const WARM_SLOTS: u32 = 64;

/// What an engine is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Sandboxes that may exist at once. Address space is reserved for each; nothing else.
    pub slots: u32,
    /// The most linear memory that a sandbox may be given, in bytes.
    pub memory_bytes: u64,
    /// Meter fuel. Costs about a fifth of the guest's speed, so it is an engine (and an image) of its own.
    pub metered: bool,
}

/// An engine whose epoch ticks while guests run.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    settings: EngineSettings,
    ticker: Arc<Ticker>,
}

impl Engine {
    /// Makes an engine and starts its clock.
    ///
    /// # Errors
    /// When the settings ask for more address space than the machine has, or the machine cannot run wasmtime.
    pub fn new(settings: EngineSettings) -> Result<Self, SandboxError> {
        let mut config = base_config(settings.metered);
        config.epoch_interruption(true);
        config.max_wasm_stack(GUEST_STACK_BYTES);
        config.async_stack_size(FIBER_STACK_BYTES);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(settings)));
        let wasmtime = wasmtime::Engine::new(&config).map_err(|e| {
            let slots = settings.slots;
            let asked =
                format!("{e:#} (for {slots} sandboxes at once, of all pools: max_concurrent_sessions and ready ones)");
            SandboxError::new("making the engine", asked)
        })?;
        let ticker = Ticker::start(&wasmtime);
        Ok(Self { wasmtime, settings, ticker })
    }

    pub fn settings(&self) -> EngineSettings {
        self.settings
    }

    /// Names everything that a compiled image depends on beside its module: the wasmtime version, the compiler's
    /// settings and the machine's processor features.
    pub fn compatibility(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        self.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    /// Guests that are running now.
    pub fn running(&self) -> usize {
        self.ticker.running.load(Ordering::SeqCst)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Epochs tick for as long as somebody holds such a guard.
    pub(super) fn ticking(&self) -> Ticking {
        self.ticker.running.fetch_add(1, Ordering::SeqCst);
        if let Some(thread) = self.ticker.thread.get() {
            thread.unpark();
        }
        Ticking { ticker: self.ticker.clone() }
    }
}

/// What every engine of ours shares, the one that takes images included: a module means the same in all of them.
///
/// Said aloud although some are defaults: no shared memory and no threads.
pub(super) fn base_config(metered: bool) -> Config {
    let mut config = Config::new();
    config.consume_fuel(metered);
    config.shared_memory(false);
    // Off: nothing here uses `Store::run_concurrent`.
    config.concurrency_support(false);
    // C++ packages throw. Exceptions are objects of wasmtime's collector; the only one that is there by default frees nothing,
    // and a session that has thrown three million times would end.
    config.wasm_exceptions(true);
    config.collector(Collector::DeferredReferenceCounting);
    // Above its default of 16 MiB wasmtime would copy an image into each instance instead of mapping it.
    config.memory_guaranteed_dense_image_size(1 << 30);
    config
}

fn pooling(settings: EngineSettings) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_core_instances(settings.slots);
    // A guest whose code throws has a heap of the collector's beside its memory, out of the same pool.
    pooling.total_memories(settings.slots.saturating_mul(2));
    pooling.total_gc_heaps(settings.slots);
    pooling.total_tables(settings.slots);
    pooling.total_stacks(settings.slots);
    pooling.max_memory_size(usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX));
    pooling.max_core_instance_size(INSTANCE_BYTES);
    pooling.max_memories_per_module(1);
    pooling.max_tables_per_module(1);
    pooling.table_elements(TABLE_ELEMENTS);
    pooling.max_unused_warm_slots(WARM_SLOTS);
    pooling.linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    pooling.table_keep_resident(TABLE_ELEMENTS * size_of::<usize>());
    pooling.pagemap_scan(wasmtime::Enabled::Auto);
    pooling
}

/// The thread that increments the epoch, parked while no guest runs: an idle gateway wakes nobody.
struct Ticker {
    running: AtomicUsize,
    thread: std::sync::OnceLock<thread::Thread>,
}

impl Ticker {
    fn start(engine: &wasmtime::Engine) -> Arc<Self> {
        let ticker = Arc::new(Self { running: AtomicUsize::new(0), thread: std::sync::OnceLock::new() });
        let seen = Arc::downgrade(&ticker);
        let engine = engine.weak();
        let spawned = thread::Builder::new().name("epochs".into()).spawn(move || {
            // Ends with the engine. The park has a bound so that a parked thread notices that end.
            while let (Some(ticker), Some(engine)) = (seen.upgrade(), engine.upgrade()) {
                if ticker.running.load(Ordering::SeqCst) == 0 {
                    drop((ticker, engine));
                    thread::park_timeout(Duration::from_secs(1));
                } else {
                    engine.increment_epoch();
                    drop((ticker, engine));
                    thread::sleep(TICK);
                }
            }
        });
        let handle = spawned.expect("a thread can be started while the gateway starts");
        ticker.thread.get_or_init(|| handle.thread().clone());
        ticker
    }
}

/// Keeps the epochs of an engine ticking.
pub(super) struct Ticking {
    ticker: Arc<Ticker>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.ticker.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sandboxes_than_there_is_address_space_for_are_refused_with_their_number() {
        let settings = |slots| EngineSettings { slots, memory_bytes: 1 << 30, metered: false };
        let refused = Engine::new(settings(20_000)).err().expect("a process has 47 bits");
        assert!(refused.source.to_string().contains("20000 sandboxes at once"), "{refused}");
        // As many as a pool may have, with what it keeps beside them.
        assert!(Engine::new(settings(10_100)).is_ok());
    }
}
