//! What the benches that run in process share: an image of an interpreter, and sandboxes on it.

use std::sync::Arc;
use std::time::Duration;

use sandpool::config;
use sandpool::files::{BlobStore, Tree};
use sandpool::interpreter::{self, Built, Cache, Recipe};
use sandpool::sandbox::limits::FileLimits;
use sandpool::sandbox::wasm::{self, Engine, EngineSettings, Image, WasmSandbox};
use sandpool::sandbox::{Event, Exit, Limits, Output};
use tokio_util::sync::CancellationToken;

const MEMORY_BYTES: u64 = 1 << 30;
const FILES: FileLimits = FileLimits { total_bytes: 1 << 30, file_bytes: 1 << 30, count: 10_000 };
const LIMITS: Limits = Limits { wall: Duration::from_secs(600), cpu: None, fuel: None, output_bytes: 1 << 20 };

/// The image of a recipe, built where it is not, for up to `slots` sandboxes; and what it was made of.
pub fn image(recipe: &Recipe, slots: u32) -> (Arc<Image>, Built) {
    let cache = Cache::new(config::default_cache_dir());
    let progress = |line: &str| eprintln!("{line}");
    let _lock = cache.lock(|| progress("waiting for another build")).expect("the cache can be locked");
    let built = interpreter::build(&cache, recipe, &progress).expect("it can be built");
    let settings = EngineSettings { slots, memory_bytes: MEMORY_BYTES, metered: false };
    let image = wasm::image(&Engine::new(settings).expect("an engine"), &built, &progress).expect("an image");
    (image, built)
}

/// A sandbox whose first cell has not been prepared for.
pub async fn bare(image: &Arc<Image>) -> WasmSandbox {
    let blobs = BlobStore::new(std::env::temp_dir(), u64::MAX);
    let tree = Tree::new(image.base().clone(), FILES, blobs);
    WasmSandbox::new(image.clone(), tree, MEMORY_BYTES).await.expect("a sandbox")
}

/// A sandbox as a pool keeps it ready.
pub async fn ready(image: &Arc<Image>) -> WasmSandbox {
    let mut sandbox = bare(image).await;
    sandbox.prepare().await.expect("it can be prepared");
    sandbox
}

/// Runs a cell that ends well; what it printed.
pub async fn run(sandbox: &mut WasmSandbox, cell: &str) -> String {
    let output = Arc::new(Output::new(LIMITS.output_bytes));
    let report = sandbox.run(cell, LIMITS, output.clone(), CancellationToken::new()).await;
    let (events, _) = output.take();
    assert_eq!(report.exit, Exit::Finished, "{events:?}");
    events
        .iter()
        .filter_map(|event| if let Event::Stdout { text } = event { Some(text.as_str()) } else { None })
        .collect()
}
