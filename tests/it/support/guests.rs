//! The real image, and sandboxes on it, without a socket in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sandpool::config;
use sandpool::files::{BlobStore, Tree};
use sandpool::interpreter::{self, Cache, Packages, Recipe};
use sandpool::sandbox::limits::FileLimits;
use sandpool::sandbox::wasm::{self, Engine, EngineSettings, Image, WasmSandbox, Workers};
use sandpool::sandbox::{Event, Limits, Output, Report};
use tokio_util::sync::CancellationToken;

pub const MEMORY_BYTES: u64 = 512 << 20;
pub const FILES: FileLimits = FileLimits { total_bytes: 8 << 20, file_bytes: 4 << 20, count: 200 };
pub const LIMITS: Limits = Limits { wall: Duration::from_secs(60), cpu: None, fuel: None, output_bytes: 1 << 20 };

/// The real Python image. The first call on a machine builds the interpreter, which takes minutes.
pub fn image() -> Arc<Image> {
    image_of("python")
}

/// The real image of an interpreter.
pub fn image_of(interpreter: &str) -> Arc<Image> {
    static IMAGES: Mutex<BTreeMap<String, Arc<Image>>> = Mutex::new(BTreeMap::new());
    let mut images = IMAGES.lock().expect("nothing panics with it but what fails the tests anyway");
    images.entry(interpreter.to_owned()).or_insert_with(|| load_elsewhere(interpreter, false)).clone()
}

/// The full edition of Python, where it is to be tested: where it is built, and everywhere with `SANDPOOL_TEST_FULL`, which builds
/// it. A test that is left out says so.
pub fn full_edition() -> Option<Recipe> {
    let full = Recipe::editions("python").expect("there is a recipe for python").pop().expect("it has an edition");
    let built = Cache::new(config::default_cache_dir()).find(&full).is_some();
    if built || std::env::var_os("SANDPOOL_TEST_FULL").is_some() {
        return Some(full);
    }
    eprintln!("left out: {} is not built; SANDPOOL_TEST_FULL=1 builds and tests it", full.title());
    None
}

/// The real image of the full edition, where it is to be tested.
pub fn full_image() -> Option<Arc<Image>> {
    let recipe = full_edition()?;
    Some(std::thread::spawn(move || load_recipe(&recipe, false).0).join().expect("the image can be loaded"))
}

/// Python on an engine that meters fuel.
pub fn metered_image() -> Arc<Image> {
    static IMAGE: OnceLock<Arc<Image>> = OnceLock::new();
    IMAGE.get_or_init(|| load_elsewhere("python", true)).clone()
}

/// On a thread of its own: taking an image blocks, which is forbidden on the threads of an async runtime.
fn load_elsewhere(interpreter: &str, metered: bool) -> Arc<Image> {
    let interpreter = interpreter.to_owned();
    std::thread::spawn(move || load(&interpreter, metered).0).join().expect("the image can be loaded")
}

/// The image with what is installed in it.
pub fn load(interpreter: &str, metered: bool) -> (Arc<Image>, Packages) {
    load_recipe(&Recipe::named(interpreter).expect("there is a recipe"), metered)
}

fn load_recipe(recipe: &Recipe, metered: bool) -> (Arc<Image>, Packages) {
    let cache = Cache::new(config::default_cache_dir());
    let progress = |line: &str| eprintln!("{line}");
    let _lock = cache.lock(|| progress("waiting for another build to finish")).expect("the cache can be locked");
    let built = interpreter::build(&cache, recipe, &progress).expect("the interpreter can be built");
    let engine = Engine::new(EngineSettings { slots: 160, memory_bytes: 1 << 30, metered }).expect("an engine");
    let image = wasm::image(&engine, &built, &progress).expect("the image can be made");
    (image, built.packages().expect("the list of packages"))
}

/// Guest threads of the tests.
pub fn workers() -> &'static Workers {
    static WORKERS: OnceLock<Workers> = OnceLock::new();
    WORKERS.get_or_init(|| Workers::start(2).expect("threads"))
}

pub fn blobs() -> BlobStore {
    BlobStore::new(std::env::temp_dir().join("sandpool-test-blobs"), BlobStore::DEFAULT_THRESHOLD_BYTES)
}

/// A session as the gateway would make it.
pub struct Guest {
    sandbox: Option<WasmSandbox>,
}

/// What one cell did.
#[derive(Debug)]
pub struct Ran {
    pub report: Report,
    pub events: Vec<Event>,
    pub dropped_bytes: u64,
}

impl Ran {
    pub fn stdout(&self) -> String {
        self.events
            .iter()
            .filter_map(|e| if let Event::Stdout { text } = e { Some(text.as_str()) } else { None })
            .collect()
    }

    /// `text/plain` of the last expression.
    pub fn result(&self) -> Option<&str> {
        self.events
            .iter()
            .find_map(|e| if let Event::Result(shown) = e { shown.data["text/plain"].as_str() } else { None })
    }

    /// Name of the exception that ended the cell.
    pub fn error(&self) -> Option<&str> {
        self.events.iter().find_map(|e| if let Event::Error(error) = e { Some(error.name.as_str()) } else { None })
    }
}

impl Guest {
    pub async fn new() -> Self {
        Self::on(image()).await
    }

    /// A guest on a given image, with [`FILES`] and [`MEMORY_BYTES`].
    pub async fn on(image: Arc<Image>) -> Self {
        let made = workers().spawn(async move {
            let tree = Tree::new(image.base().clone(), FILES, blobs());
            let mut sandbox = WasmSandbox::new(image, tree, MEMORY_BYTES).await.expect("a sandbox");
            sandbox.prepare().await.expect("it can be prepared");
            sandbox
        });
        Self { sandbox: Some(made.await.expect("no panic")) }
    }

    pub fn tree(&self) -> Tree {
        self.sandbox.as_ref().expect("it is between runs").tree().clone()
    }

    /// The sandbox, between runs.
    pub fn sandbox(&self) -> &WasmSandbox {
        self.sandbox.as_ref().expect("it is between runs")
    }

    /// Runs a cell with the given limits, on a guest thread.
    pub async fn run_within(&mut self, code: &str, limits: Limits, stop: CancellationToken) -> Ran {
        let mut sandbox = self.sandbox.take().expect("it is between runs");
        let code = code.to_owned();
        let (sandbox, ran) = workers()
            .spawn(async move {
                let output = Arc::new(Output::new(limits.output_bytes));
                let report = sandbox.run(&code, limits, output.clone(), stop).await;
                let (events, dropped_bytes) = output.take();
                (sandbox, Ran { report, events, dropped_bytes })
            })
            .await
            .expect("no panic");
        self.sandbox = Some(sandbox);
        ran
    }

    pub async fn run(&mut self, code: &str) -> Ran {
        self.run_within(code, LIMITS, CancellationToken::new()).await
    }
}
