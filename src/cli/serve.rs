//! `sandpool serve`: build what is missing, bind, serve, drain.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Done;
use crate::api::serve::Connections;
use crate::config::Settings;
use crate::files::BlobStore;
use crate::gateway::{Access, Gateway};
use crate::interpreter::{self, Cache, Packages, Recipe};
use crate::pool::{Pool, PoolSpecification};
use crate::sandbox::wasm::{self, Engine, EngineSettings, Image, Workers};
use crate::{api, shutdown, telemetry};

#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file (TOML); without one, a pool called `python` on 127.0.0.1:8080.
    #[arg(long, value_name = "FILE", env = "SANDPOOL_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one, and the line on stdout tells it.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the gateway keeps its files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Listen beyond loopback although nobody has to show a key.
    #[arg(long)]
    insecure: bool,
}

impl Serve {
    pub fn run(self) -> Done {
        let settings = self.settings()?;
        telemetry::start(&settings.log, settings.log_format);
        let blobs = BlobStore::new(settings.data_dir.join("blobs"), BlobStore::DEFAULT_THRESHOLD_BYTES);
        let workers = Workers::start(settings.guest_threads())?;
        let pools = open_pools(&settings, &blobs, &workers)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("api").enable_all().build()?;
        runtime.block_on(serve(settings, pools))?;
        Ok(ExitCode::SUCCESS)
    }

    fn settings(self) -> Result<Settings, crate::config::InvalidSettings> {
        let mut settings = self.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        settings.listen = self.listen.unwrap_or(settings.listen);
        settings.data_dir = self.data_dir.unwrap_or(settings.data_dir);
        settings.insecure |= self.insecure;
        settings.check()?;
        Ok(settings)
    }
}

async fn serve(settings: Settings, pools: Vec<Arc<Pool>>) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let gateway = Gateway::new(pools, Access { keys: settings.keys.clone() });
    println!("listening on http://{address}");
    std::io::stdout().flush()?;
    let grace = settings.grace();
    let draining = {
        let gateway = gateway.clone();
        async move {
            if let Err(error) = shutdown::signalled().await {
                tracing::error!(%error, "signals cannot be listened for; shutting down");
            }
            gateway.drain(grace).await;
        }
    };
    if !api::serve::serve(listener, gateway, Connections::default(), draining).await {
        tracing::warn!("some connections did not end within the grace period");
    }
    Ok(())
}

/// Opens all pools. Pools of one interpreter share its image; those that meter fuel have an engine of their own.
fn open_pools(
    settings: &Settings,
    blobs: &BlobStore,
    workers: &Workers,
) -> Result<Vec<Arc<Pool>>, Box<dyn std::error::Error>> {
    let cache = Cache::new(settings.cache_dir.clone());
    let _lock = cache.lock(|| progress("waiting for another build to finish"))?;
    let mut loaded: BTreeMap<(String, bool), Loaded> = BTreeMap::new();
    let mut pools = Vec::new();
    for specification in &settings.pools {
        let metered = specification.limits.fuel.is_some();
        let key = (specification.interpreter.clone(), metered);
        if !loaded.contains_key(&key) {
            let sharing =
                settings.pools.iter().filter(|p| p.interpreter == key.0 && p.limits.fuel.is_some() == metered);
            loaded.insert(key.clone(), load(&cache, &key.0, engine_settings(sharing, metered))?);
        }
        let Loaded { image, packages } = &loaded[&key];
        pools.push(Pool::open(specification.clone(), image.clone(), packages.clone(), blobs.clone(), workers.clone()));
    }
    Ok(pools)
}

struct Loaded {
    image: Arc<Image>,
    packages: Arc<Packages>,
}

fn engine_settings<'a>(pools: impl Iterator<Item = &'a PoolSpecification>, metered: bool) -> EngineSettings {
    let none = EngineSettings { slots: 0, memory_bytes: 0, metered };
    pools.fold(none, |engine, pool| EngineSettings {
        slots: engine.slots + u32::try_from(Pool::slots(pool)).unwrap_or(u32::MAX),
        memory_bytes: engine.memory_bytes.max(pool.session_limits().memory_bytes),
        metered,
    })
}

fn load(cache: &Cache, interpreter: &str, engine: EngineSettings) -> Result<Loaded, Box<dyn std::error::Error>> {
    let recipe = Recipe::named(interpreter)?;
    if cache.find(&recipe).is_none() {
        progress(&format!("building the interpreter {interpreter}; this takes some minutes, once"));
    }
    let built = interpreter::build(cache, &recipe, &progress)?;
    let engine = Engine::new(engine)?;
    let image = wasm::image(&engine, &built, &progress)?;
    Ok(Loaded { image, packages: Arc::new(built.packages()?) })
}

/// Progress goes to stderr: stdout has the one line that scripts wait for.
pub(super) fn progress(line: &str) {
    eprintln!("sandpool: {line}");
}
