//! Ready instances: started while nobody waits, handed out in the order they became ready, replaced at once, and with
//! growing pauses when they cannot be started.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::failure::{NotStarted, StartFailure};
use super::instance::{Ended, Instance};
use super::{ContainerPoolSpecification, NoSession, note};
use crate::records::{Level, PoolRecords};
use crate::sandbox::container::{ContainerBackend, ContainerError, Image, Note};

/// Containers that are started at a time: each costs about a processor for some ten milliseconds.
const STARTING_AT_ONCE: usize = 4;
/// Pauses after failures in a row, doubling from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that was handed out is replaced so much later: whoever has it is answered first, and starting another takes a processor.
const REPLACED_AFTER: Duration = Duration::from_millis(20);
/// After so many failures in a row, whoever comes is told at once instead of waiting.
const FAILING: u32 = 3;

/// The instances of a pool.
pub(super) struct Supply {
    specification: Arc<ContainerPoolSpecification>,
    backend: Arc<dyn ContainerBackend>,
    /// The first container's, and those of its sidecars.
    images: OnceCell<Vec<Arc<Image>>>,
    stock: Mutex<Stock>,
    /// One permit a ready instance.
    ready: Semaphore,
    /// Told of each failure.
    failures: watch::Sender<u32>,
    /// Ready instances sleep. Not where they are asked for their health, which they could not tell.
    freezes: bool,
    /// Cancelled when nothing is started any more.
    over: CancellationToken,
    records: PoolRecords,
}

#[derive(Default)]
struct Stock {
    ready: VecDeque<Arc<Instance>>,
    starting: usize,
    /// Handed out, and not gone.
    taken: usize,
    /// Callers who want one.
    waiting: usize,
    failures: u32,
    last_failure: Option<String>,
    not_before: Option<Instant>,
    image_failures: u64,
    crashes: u64,
    /// Another template has taken its place: nobody gets an instance any more.
    retired: bool,
    closed: bool,
    /// Every instance that is not removed yet.
    all: Vec<Arc<Instance>>,
}

/// How a pool's instances stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub ready: usize,
    pub starting: usize,
    pub in_use: usize,
    /// Failed starts in a row.
    pub failures: u32,
    /// The last of them, kept after a success.
    pub last_failure: Option<String>,
    /// Until the next try, while it is put off.
    pub next_try_in: Option<Duration>,
    /// Starts for which the image could not be had, since the pool opened.
    pub image_failures: u64,
    /// Containers that ended by themselves before anybody had them, or that their probes gave up, since the pool opened.
    pub crashes: u64,
    /// Callers who wait for one.
    pub waiting: usize,
}

impl Standing {
    /// Whether a new session would get none at present.
    pub fn is_failing(&self) -> bool {
        self.ready == 0 && self.failures > 0
    }
}

impl Supply {
    /// It starts nothing before it is asked to, or for an instance.
    pub(super) fn open(
        specification: Arc<ContainerPoolSpecification>,
        backend: Arc<dyn ContainerBackend>,
        records: PoolRecords,
    ) -> Arc<Self> {
        let freezes = backend.report().enforced.freeze && !specification.has_liveness();
        Arc::new(Self {
            specification,
            backend,
            images: OnceCell::new(),
            stock: Mutex::default(),
            ready: Semaphore::new(0),
            failures: watch::Sender::new(0),
            freezes,
            over: CancellationToken::new(),
            records,
        })
    }

    /// Takes in an instance of an earlier gateway: a session's, or else a ready one.
    ///
    /// # Errors
    /// When it cannot be set to sleep, or to go on. It is ended then.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        is_session: bool,
    ) -> Result<(), ContainerError> {
        let unused = Unused(instance);
        if instance.container().exit().is_none() {
            instance.set_frozen(self.freezes && !is_session).await?;
        }
        std::mem::forget(unused);
        let mut stock = self.lock();
        stock.all.push(instance.clone());
        if is_session {
            stock.taken += 1;
        } else {
            stock.ready.push_back(instance.clone());
            self.ready.add_permits(1);
        }
        drop(stock);
        tokio::spawn(self.clone().follow(instance.clone()));
        Ok(())
    }

    /// A ready instance, and whether it was ready before; waits for one to become so. It comes with the note that `note` makes for
    /// it: whoever finds it later knows that it is in use.
    pub(super) async fn take(
        self: &Arc<Self>,
        note: impl Fn(&Instance) -> Note,
    ) -> Result<(Arc<Instance>, bool), NoSession> {
        let was_ready = !self.lock().ready.is_empty();
        let _waiting = Waiting::begin(self);
        let end = Instant::now() + self.specification.allocation_timeout();
        let mut failed = self.failures.subscribe();
        loop {
            if let Some(refused) = self.refusal() {
                return Err(refused);
            }
            if self.lock().ready.is_empty() {
                self.refill();
            }
            tokio::select! {
                biased;
                permit = self.ready.acquire() => permit.expect("it is never closed").forget(),
                _ = failed.changed() => continue,
                () = tokio::time::sleep_until(end) => return Err(NoSession::NotInTime(self.specification.allocation_timeout())),
            }
            let Some(instance) = self.hand_out() else { continue };
            // A caller who goes away now has it already, and nobody else will.
            let unused = Unused(&instance);
            let note = note(&instance);
            let thaw = async { if self.freezes { instance.set_frozen(false).await } else { Ok(()) } };
            if let Err(error) = tokio::try_join!(thaw, instance.container().note(&note)) {
                tracing::warn!(cause = error.told(), "a ready container cannot go on");
                continue;
            }
            std::mem::forget(unused);
            return Ok((instance, was_ready));
        }
    }

    /// An instance of which a permit was taken; None when it ended meanwhile.
    fn hand_out(&self) -> Option<Arc<Instance>> {
        let mut stock = self.lock();
        let instance = stock.ready.pop_front()?;
        stock.taken += 1;
        Some(instance)
    }

    fn refusal(&self) -> Option<NoSession> {
        let stock = self.lock();
        if stock.retired {
            return Some(NoSession::Retired);
        }
        if stock.closed {
            return Some(NoSession::Closed);
        }
        let next = stock.not_before.filter(|_| stock.failures >= FAILING && stock.ready.is_empty())?;
        Some(NoSession::Failing { retry_after: next.saturating_duration_since(Instant::now()) })
    }

    /// Starts what is missing.
    pub(super) fn refill(self: &Arc<Self>) {
        let mut stock = self.lock();
        let now = Instant::now();
        if stock.is_over() || stock.not_before.is_some_and(|moment| moment > now) {
            return;
        }
        let held = stock.taken + stock.ready.len() + stock.starting;
        let room = self.specification.max_concurrent_sessions.saturating_sub(held);
        let wanted = self.specification.ready_session_instances + stock.waiting;
        let missing = wanted.saturating_sub(stock.ready.len() + stock.starting).min(room);
        let now = missing.min(STARTING_AT_ONCE.saturating_sub(stock.starting));
        stock.starting += now;
        drop(stock);
        for _ in 0..now {
            let supply = self.clone();
            // A task of its own: a caller who goes away does not leave a container half made.
            tokio::spawn(async move {
                let started = supply.start().await;
                supply.started(started);
            });
        }
    }

    async fn start(&self) -> Result<Arc<Instance>, NotStarted> {
        let prepare = || async {
            let mut images = Vec::new();
            for reference in self.specification.images() {
                let credentials = self.specification.credentials(reference);
                images.push(self.backend.prepare_image(reference, &credentials).await?);
            }
            Ok::<_, ContainerError>(images)
        };
        let images = self.images.get_or_try_init(prepare).await;
        let images = images.map_err(|error| NotStarted::new(StartFailure::Image, &error.told()))?;
        let instance = Instance::start(&self.backend, &self.specification, images, &self.over, &self.records).await?;
        let rest = async {
            if self.freezes {
                instance.set_frozen(true).await?;
            }
            instance.container().note(&note::of(&self.specification, &instance, None)).await
        };
        if let Err(error) = rest.await {
            instance.stop();
            instance.removed().cancelled().await;
            return Err(NotStarted::of_engine(&error));
        }
        Ok(instance)
    }

    fn started(self: &Arc<Self>, started: Result<Arc<Instance>, NotStarted>) {
        let pool = self.specification.name.as_str();
        let mut stock = self.lock();
        stock.starting -= 1;
        let instance = match started {
            Ok(instance) => instance,
            Err(failed) => {
                self.failed(stock, failed);
                return;
            }
        };
        stock.all.push(instance.clone());
        if stock.is_over() {
            drop(stock);
            instance.stop();
            tokio::spawn(self.clone().forget_removed(instance));
            return;
        }
        if stock.failures > 0 {
            tracing::info!(pool, failures = stock.failures, "containers start again");
            self.records.event(Level::Informational, "ContainersStartAgain", "containers start again");
        }
        stock.failures = 0;
        stock.not_before = None;
        stock.ready.push_back(instance.clone());
        drop(stock);
        self.ready.add_permits(1);
        tokio::spawn(self.clone().follow(instance));
        self.refill();
    }

    /// Tells what went wrong, and tries again after a pause.
    fn failed(self: &Arc<Self>, mut stock: MutexGuard<'_, Stock>, NotStarted { kind, problem }: NotStarted) {
        if stock.is_over() {
            return;
        }
        stock.failures += 1;
        match kind {
            StartFailure::Image => stock.image_failures += 1,
            StartFailure::Crashed | StartFailure::NotReady => stock.crashes += 1,
            StartFailure::Engine => {}
        }
        let failures = stock.failures;
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE);
        stock.not_before = Some(Instant::now() + pause);
        let pool = self.specification.name.as_str();
        tracing::warn!(pool, problem, failures, next_try = ?pause, "a container could not be started");
        self.records.start_failed(kind.event(), problem.as_str());
        if failures == FAILING {
            let log = format!("{failures} starts failed in a row: callers are refused while none is ready");
            self.records.event(Level::Error, "ContainersDoNotStart", log);
        }
        stock.last_failure = Some(problem);
        drop(stock);
        self.failures.send_replace(failures);
        let supply = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(supply) = supply.upgrade() {
                supply.refill();
            }
        });
    }

    /// Takes an instance off the books once it is gone, and has it replaced.
    async fn follow(self: Arc<Self>, instance: Arc<Instance>) {
        tokio::select! {
            biased;
            () = instance.left().cancelled() => return,
            () = instance.gone().cancelled() => {}
        }
        {
            let mut stock = self.lock();
            match stock.ready.iter().position(|ready| Arc::ptr_eq(ready, &instance)) {
                Some(at) => {
                    drop(stock.ready.remove(at));
                    self.lost(&mut stock, &instance);
                    // Whoever has the permit already finds nothing and waits on.
                    if let Ok(permit) = self.ready.try_acquire() {
                        permit.forget();
                    }
                }
                None => stock.taken -= 1,
            }
        }
        self.refill();
        self.forget_removed(instance).await;
    }

    /// A ready instance ended that nobody had wanted to end.
    fn lost(&self, stock: &mut Stock, instance: &Instance) {
        let (operation, log) = match instance.ended() {
            Some(Ended::Exited(exit)) => ("ContainerExited", format!("a ready container ended: {exit}")),
            Some(Ended::SidecarExited(log)) => ("ContainerExited", format!("of a ready container {log}")),
            Some(Ended::Unhealthy(problem)) => {
                ("LivenessProbeFailed", format!("a ready container failed its liveness probe: {problem}"))
            }
            Some(Ended::Stopped) | None => return,
        };
        stock.crashes += 1;
        self.records.event(Level::Warning, operation, log);
    }

    async fn forget_removed(self: Arc<Self>, instance: Arc<Instance>) {
        instance.removed().cancelled().await;
        self.lock().all.retain(|known| !Arc::ptr_eq(known, &instance));
    }

    pub(super) fn standing(&self) -> Standing {
        let stock = self.lock();
        let now = Instant::now();
        Standing {
            ready: stock.ready.len(),
            starting: stock.starting,
            in_use: stock.taken,
            failures: stock.failures,
            last_failure: stock.last_failure.clone(),
            next_try_in: stock.not_before.and_then(|moment| moment.checked_duration_since(now)),
            image_failures: stock.image_failures,
            crashes: stock.crashes,
            waiting: stock.waiting,
        }
    }

    /// Gives out no more and starts no more; what was given out goes on.
    pub(super) fn retire(&self) {
        let ready: Vec<_> = {
            let mut stock = self.lock();
            stock.retired = true;
            stock.ready.iter().cloned().collect()
        };
        self.over.cancel();
        self.failures.send_modify(|_| {});
        ready.iter().for_each(|instance| instance.stop());
    }

    /// Whether nothing is left of what it started.
    pub(super) fn is_empty(&self) -> bool {
        let stock = self.lock();
        stock.all.is_empty() && stock.starting == 0
    }

    /// Starts no more, ends all, and waits until nothing is left; so too of those that are being started.
    pub(super) async fn close(&self) {
        self.lock().closed = true;
        self.over.cancel();
        self.failures.send_modify(|_| {});
        while !self.is_empty() {
            let all = self.lock().all.clone();
            all.iter().for_each(|instance| instance.stop());
            for instance in all {
                instance.removed().cancelled().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts no more, and leaves all to the next gateway; what is just being started, or ended, is waited for until it is gone.
    /// Gives how many were left.
    pub(super) async fn leave(&self) -> usize {
        self.lock().closed = true;
        self.over.cancel();
        self.failures.send_modify(|_| {});
        let mut left = 0;
        while !self.is_empty() {
            let all = self.lock().all.clone();
            for instance in &all {
                if instance.leave().await {
                    left += 1;
                    self.lock().all.retain(|known| !Arc::ptr_eq(known, instance));
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance that is ended unless somebody uses it.
struct Unused<'a>(&'a Instance);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Stock {
    /// Whether nothing is started for it any more.
    fn is_over(&self) -> bool {
        self.retired || self.closed
    }
}

/// A caller who waits for an instance.
struct Waiting<'a>(&'a Arc<Supply>);

impl<'a> Waiting<'a> {
    fn begin(supply: &'a Arc<Supply>) -> Self {
        supply.lock().waiting += 1;
        Self(supply)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        // There is none when the gateway ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let supply = Arc::downgrade(self.0);
        runtime.spawn(async move {
            tokio::time::sleep(REPLACED_AFTER).await;
            if let Some(supply) = supply.upgrade() {
                supply.refill();
            }
        });
    }
}
