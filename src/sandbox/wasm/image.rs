//! Images: an interpreter that has started once, kept as memory that every session of it shares.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::{InstancePre, Linker, Memory, Module, Store};
use wasmtime_wizer::Wizer;

use super::engine::{Engine, base_config};
use super::guest::Guest;
use super::hot::HotPages;
use super::identity::ImageIdentity;
use super::instance::WasmSandbox;
use super::interrupt::InterruptCell;
use super::wasi::{self, WasiState};
use super::{blocking, emit, http};
use crate::files::{BaseLayer, BlobStore, Tree};
use crate::sandbox::limits::FileLimits;
use crate::sandbox::{Limits, Output, SandboxError};

/// The guest ABI of `interpreters/README.md`.
const ABI_VERSION: u32 = 1;
/// Stack for the start of an interpreter, which recurses deeper (imports within imports) than a session may.
const INIT_STACK_BYTES: usize = 32 << 20;
/// What the start of an interpreter may write into files; it is thrown away.
const INIT_FILES: FileLimits = FileLimits { total_bytes: 64 << 20, file_bytes: 64 << 20, count: 10_000 };

/// A cell that touches what most first cells do, whatever else they do. In a language that does not know it, its error
/// does as well.
const FIRST_CELL: &str = "print(1)";
const FIRST_CELL_LIMITS: Limits = Limits { wall: Duration::from_secs(20), cpu: None, fuel: None, output_bytes: 4096 };

/// What a guest finds around it: the files and the environment that the image was made with.
///
/// The C library remembers both in its memory, so a session must be given the same.
#[derive(Clone)]
pub struct ImageSource {
    pub base: Arc<BaseLayer>,
    /// Environment variables, `NAME=value`; nothing of the gateway's own.
    pub environment: Arc<[(String, String)]>,
}

/// A compiled image, ready to be instantiated.
pub struct Image {
    engine: Engine,
    identity: ImageIdentity,
    source: ImageSource,
    instance: InstancePre<Guest>,
    interrupt_cell: Arc<InterruptCell>,
    /// A first instance, in which no guest code ever runs: its memory is what sessions are compared with.
    pristine: Option<(Store<Guest>, Memory)>,
    /// What a first cell writes to; known once one has been watched.
    hot: OnceLock<HotPages>,
}

/// Starts the interpreter in `module` once and gives back a module whose memory is the started interpreter.
///
/// Takes seconds and blocks.
///
/// # Errors
/// When the module is not one of ours, or the interpreter does not start (what it wrote to stderr is in the error).
pub fn initialise(module: &[u8], source: &ImageSource) -> Result<Vec<u8>, SandboxError> {
    let failed = |e: wasmtime::Error| SandboxError::new("taking the image of an interpreter", e);
    let mut config = base_config(false);
    config.max_wasm_stack(INIT_STACK_BYTES);
    config.async_stack_size(INIT_STACK_BYTES + (2 << 20));
    let engine = wasmtime::Engine::new(&config).map_err(failed)?;
    let mut store = Store::new(&engine, source.guest(source.scratch_tree(), Arc::default(), usize::MAX));
    let output = Arc::new(Output::new(64 << 10));
    store.data_mut().wasi.set_output(Some(output.clone()));
    let linker = linker(&engine).map_err(failed)?;
    let taken = blocking::wait(async {
        let mut wizer = Wizer::new();
        wizer.init_func("sandpool_init");
        wizer.run(&mut store, module, async |store, module| linker.instantiate_async(store, module).await).await
    });
    let taken = taken.map_err(|e| SandboxError::new("taking the image of an interpreter", e))?;
    taken.map_err(|error| {
        let said: String = output.take().0.iter().map(said).collect();
        SandboxError::new("taking the image of an interpreter", format!("{error:#}\n{said}"))
    })
}

fn said(event: &crate::sandbox::Event) -> &str {
    use crate::sandbox::Event;
    match event {
        Event::Stdout { text } | Event::Stderr { text } => text,
        _ => "",
    }
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    emit::add_to_linker(&mut linker)?;
    http::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl ImageSource {
    pub(super) fn guest(&self, tree: Tree, cell: Arc<InterruptCell>, memory_limit_bytes: usize) -> Guest {
        Guest::new(WasiState::new(tree, self.environment.clone()), cell, memory_limit_bytes)
    }

    /// Files for a guest that is thrown away: small enough that nothing is spilled to disk.
    fn scratch_tree(&self) -> Tree {
        Tree::new(self.base.clone(), INIT_FILES, BlobStore::new(std::env::temp_dir(), u64::MAX))
    }
}

impl Image {
    /// Compiles what `initialise` gave for `engine`. Takes seconds, on all processors.
    ///
    /// # Errors
    /// When it is not a module that the engine takes.
    pub fn compile(engine: &Engine, initialised: &[u8]) -> Result<Vec<u8>, SandboxError> {
        engine.wasmtime().precompile_module(initialised).map_err(|e| SandboxError::new("compiling an image", e))
    }

    /// Maps a compiled image. Sessions share its pages.
    ///
    /// # Errors
    /// When the file cannot be read, was compiled by another version or with other settings, or breaks the guest ABI.
    ///
    /// # Safety
    /// The file is machine code: it must be what [`Image::compile`] gave, in a place that only the gateway's user writes.
    pub unsafe fn load(
        engine: &Engine,
        compiled: &Path,
        source: ImageSource,
        identity: ImageIdentity,
    ) -> Result<Arc<Self>, SandboxError> {
        let failed = |e: wasmtime::Error| SandboxError::new("loading an image", e);
        // SAFETY: the caller vouches for the file.
        let module = unsafe { Module::deserialize_file(engine.wasmtime(), compiled) }.map_err(failed)?;
        let instance = linker(engine.wasmtime()).and_then(|linker| linker.instantiate_pre(&module)).map_err(failed)?;
        let (engine, interrupt_cell, hot) = (engine.clone(), Arc::default(), OnceLock::new());
        let mut image = Self { engine, identity, source, instance, interrupt_cell, pristine: None, hot };
        let (cell, store, memory) = image.read_abi().map_err(failed)?;
        image.interrupt_cell = Arc::new(cell);
        image.pristine = Some((store, memory));
        Ok(Arc::new(image))
    }

    /// What it is, across restarts.
    pub fn identity(&self) -> ImageIdentity {
        self.identity
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn base(&self) -> &Arc<BaseLayer> {
        &self.source.base
    }

    /// The pages to copy when a sandbox is made.
    pub(super) fn hot(&self) -> Option<&HotPages> {
        self.hot.get()
    }

    /// Watches one first cell, to know from now on which pages it writes to.
    ///
    /// # Errors
    /// When the image does not run a cell; it is of no use then.
    pub(super) async fn warm_up(self: &Arc<Self>) -> Result<(), SandboxError> {
        let mut sandbox = WasmSandbox::new(self.clone(), self.source.scratch_tree(), u64::MAX).await?;
        sandbox.reseed().await?;
        let output = Arc::new(Output::new(FIRST_CELL_LIMITS.output_bytes));
        sandbox.run(FIRST_CELL, FIRST_CELL_LIMITS, output, CancellationToken::new()).await;
        let hot = HotPages::of(sandbox.memory());
        tracing::debug!(bytes = hot.bytes(), "a first cell's pages");
        self.hot.get_or_init(|| hot);
        Ok(())
    }

    pub(super) fn source(&self) -> &ImageSource {
        &self.source
    }

    pub(super) fn interrupt_cell(&self) -> &Arc<InterruptCell> {
        &self.interrupt_cell
    }

    pub(super) fn instance(&self) -> &InstancePre<Guest> {
        &self.instance
    }

    /// Reads the ABI's words out of a first instance, before any guest code has run in it.
    fn read_abi(&self) -> wasmtime::Result<(InterruptCell, Store<Guest>, Memory)> {
        let guest = self.source.guest(self.source.scratch_tree(), Arc::default(), usize::MAX);
        let mut store = Store::new(self.engine.wasmtime(), guest);
        let instance = blocking::wait(self.instance.instantiate_async(&mut store))??;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
        let mut address = |name: &str| {
            let global = instance.get_global(&mut store, name);
            global
                .and_then(|global| global.get(&mut store).i32())
                .map(i32::cast_unsigned)
                .ok_or_else(|| wasmtime::Error::msg(format!("the module exports no address {name}")))
        };
        let (abi, cell) = (address("sandpool_abi")?, address("sandpool_interrupt_cell")?);
        let bytes = memory.data(&store);
        let version = bytes.get(abi as usize..abi as usize + 4);
        if version != Some(&ABI_VERSION.to_le_bytes()[..]) {
            return Err(wasmtime::Error::msg("the module speaks another version of the guest ABI"));
        }
        let cell = InterruptCell::read(bytes, cell);
        let cell = cell.ok_or_else(|| wasmtime::Error::msg("the interrupt cell is unsound"))?;
        Ok((cell, store, memory))
    }

    /// The memory that every session begins with.
    pub(super) fn pristine(&self) -> &[u8] {
        self.pristine.as_ref().map_or(&[], |(store, memory)| memory.data(store))
    }

    /// The smallest memory limit with which a session can be made, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let memory = self.instance.module().get_export("memory").and_then(|export| export.memory().cloned());
        memory.map_or(0, |memory| memory.minimum() * memory.page_size())
    }
}
