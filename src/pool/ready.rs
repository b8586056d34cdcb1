//! Ready sandboxes: made and prepared while nobody waits, so that a new identifier finds everything touched already.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::egress::Egress;
use crate::files::{BlobStore, Tree};
use crate::records::PoolRecords;
use crate::sandbox::SandboxError;
use crate::sandbox::limits::SessionLimits;
use crate::sandbox::wasm::{Image, WasmSandbox, Workers};

/// Waits so long after a sandbox could not be made.
const BACK_OFF: Duration = Duration::from_secs(1);
/// While guests run, a sandbox is made only so often: under a burst, making one costs others more than it will save.
const PATIENCE: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Makes sandboxes for a pool.
pub struct Maker {
    pub image: Arc<Image>,
    pub blobs: BlobStore,
    pub limits: SessionLimits,
    pub egress: Arc<Egress>,
    pub records: PoolRecords,
}

impl Maker {
    async fn make(&self) -> Result<WasmSandbox, SandboxError> {
        let tree = Tree::new(self.image.base().clone(), self.limits.files, self.blobs.clone());
        let mut sandbox = WasmSandbox::new(self.image.clone(), tree, self.limits.memory_bytes).await?;
        sandbox.set_egress(self.egress.clone());
        sandbox.prepare().await?;
        Ok(sandbox)
    }
}

/// The ready sandboxes of a pool.
pub struct ReadySandboxes {
    ready: Mutex<VecDeque<WasmSandbox>>,
    wanted: usize,
    taken: Notify,
    closed: CancellationToken,
}

impl ReadySandboxes {
    /// Keeps `wanted` sandboxes ready, from now on and on the guest threads.
    pub fn start(maker: Maker, wanted: usize, workers: &Workers) -> Arc<Self> {
        let ready =
            Arc::new(Self { ready: Mutex::default(), wanted, taken: Notify::new(), closed: CancellationToken::new() });
        if wanted > 0 {
            let keeper = ready.clone();
            workers.spawn(async move { keeper.keep(maker).await });
        }
        ready
    }

    /// Takes a sandbox, if one is ready.
    pub fn take(&self) -> Option<WasmSandbox> {
        let sandbox = self.lock().pop_front();
        self.taken.notify_one();
        sandbox
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Makes no more, and drops those that are ready.
    pub fn close(&self) {
        self.closed.cancel();
        self.lock().clear();
    }

    /// Never cut off in the middle: a guest's stack must not be dropped half-way.
    async fn keep(&self, maker: Maker) {
        let mut waited = Duration::ZERO;
        while !self.closed.is_cancelled() {
            if self.lock().len() >= self.wanted {
                tokio::select! {
                    () = self.taken.notified() => {}
                    () = self.closed.cancelled() => {}
                }
                continue;
            }
            if maker.image.engine().running() > 0 && waited < PATIENCE {
                // Whoever waits for an answer goes before who may come.
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
                continue;
            }
            waited = Duration::ZERO;
            match maker.make().await {
                Ok(sandbox) => self.put(sandbox),
                Err(error) => {
                    tracing::warn!(%error, cause = ?error.source, "a ready sandbox could not be made");
                    maker.records.failed_start();
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn put(&self, sandbox: WasmSandbox) {
        let mut ready = self.lock();
        if !self.closed.is_cancelled() {
            ready.push_back(sandbox);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<WasmSandbox>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
