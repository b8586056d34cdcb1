//! `sandpool serve`: build what is missing, bind, serve, drain.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Done;
use super::containers;
use super::images::{self, Opened};
use super::later::{Later, Snapshots};
use crate::access::Access;
use crate::api::serve::{Connections, Door, Secrets};
use crate::config::Settings;
use crate::files::BlobStore;
use crate::gateway::{Control, Gateway};
use crate::otlp::{self, Exporter};
use crate::pool::{Facilities, PoolStore};
use crate::records::Records;
use crate::sandbox::wasm::Workers;
use crate::snapshot::Seal;
use crate::{api, pressure, shutdown, telemetry};

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
        let exporter = Exporter::new(settings.otlp());
        telemetry::start(&settings.log, settings.log_format, exporter.as_ref());
        let access = Access::start(settings.access(), &settings.data_dir)?;
        settings.check_exposure(access.is_open())?;
        let tls = settings.tls.as_ref().map(Secrets::read).transpose()?;
        let blobs = BlobStore::new(settings.data_dir.join("blobs"), BlobStore::DEFAULT_THRESHOLD_BYTES);
        let workers = Workers::start(settings.guest_threads())?;
        let records = Records::open(&settings.data_dir, &settings.records)?;
        let seal = Seal::open(&settings.snapshot_key())?;
        let snapshots = Snapshots::new(&settings, seal.clone());
        let facilities = Facilities { blobs, workers, records: records.clone(), seal };
        let store = PoolStore::open(&settings.data_dir)?;
        let opened = images::open_pools(&settings, &snapshots, &facilities)
            .map_err(|error| error as Box<dyn std::error::Error>)?;
        let opener = Later::new(&settings, snapshots, facilities);
        let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("api").enable_all().build()?;
        runtime.block_on(serve(settings, Parts { access, tls, opened, store, opener, records, exporter }))?;
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

/// What a gateway is put together from.
struct Parts {
    access: Access,
    tls: Option<Secrets>,
    opened: Opened,
    store: PoolStore,
    opener: Later,
    records: Records,
    exporter: Option<Exporter>,
}

async fn serve(settings: Settings, parts: Parts) -> Result<(), Box<dyn std::error::Error>> {
    let Parts { access, tls, opened, store, opener, records, exporter } = parts;
    let listener = tokio::net::TcpListener::bind(settings.listen).await?;
    let door = match tls {
        Some(tls) => Door::secured(listener, tls),
        None => listener.into(),
    };
    let containers = containers::open(&settings).await?;
    let container_pools = containers::pools(&settings, containers.as_ref(), &records).await;
    let pools = opened.pools.clone();
    let control = Control { store, opener: Box::new(opener), containers };
    let open = move || Gateway::with_control(pools, container_pools, access, records, control);
    // Opening the pools that were made runs a runtime of its own.
    let gateway = tokio::task::spawn_blocking(open).await??;
    let exporting = exporter.map(|exporter| export(&gateway, exporter)).transpose()?;
    let signalled = shutdown::signalled()?;
    let told = (settings.session_memory_bytes > 0).then_some(settings.session_memory_bytes);
    if let Some(bytes) = told.or_else(pressure::default_limit_bytes) {
        gateway.hibernate_above(bytes);
    }
    println!("listening on {}://{}", door.scheme(), door.local_addr()?);
    std::io::stdout().flush()?;
    opened.upgrade()?;
    let grace = settings.grace();
    let draining = {
        let gateway = gateway.clone();
        async move {
            signalled.await;
            gateway.drain(grace).await;
        }
    };
    if !api::serve::serve(door, gateway.clone(), Connections::default(), draining).await {
        tracing::warn!("some connections did not end within the grace period");
    }
    // The calls that were answered last.
    gateway.settle().await;
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    Ok(())
}

fn export(gateway: &Gateway, exporter: Exporter) -> Result<otlp::Running, otlp::OtlpError> {
    gateway.set_exporter(exporter.clone());
    let told = gateway.clone();
    exporter.start(move || told.metrics(), gateway.records().clone())
}

/// Progress goes to stderr: stdout has the one line that scripts wait for.
pub(super) fn progress(line: &str) {
    eprintln!("sandpool: {line}");
}
