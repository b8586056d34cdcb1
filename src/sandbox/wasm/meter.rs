//! Time on a guest thread: a future that counts how long each of its polls took.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// CPU time of one run, readable while it goes on.
#[derive(Debug)]
pub struct CpuMeter {
    epoch: Instant,
    spent_nanos: AtomicU64,
    /// Start of the poll under way, in nanoseconds after `epoch`; 0 between polls.
    poll_started_nanos: AtomicU64,
}

impl CpuMeter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), spent_nanos: AtomicU64::new(0), poll_started_nanos: AtomicU64::new(0) })
    }

    /// Time spent so far, the poll under way included.
    ///
    /// It is the poll's wall time: a guest thread that the kernel preempts is charged for the wait. The guest threads
    /// are as many as the processors, so that is rare, and reading a thread's clock in each epoch check is not free.
    pub fn spent(&self) -> Duration {
        let started = self.poll_started_nanos.load(Ordering::Relaxed);
        let under_way = if started == 0 { 0 } else { self.now_nanos().saturating_sub(started) };
        Duration::from_nanos(self.spent_nanos.load(Ordering::Relaxed) + under_way)
    }

    fn now_nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

/// Counts the polls of `inner` on `meter`.
pub struct Metered<F> {
    inner: Pin<Box<F>>,
    meter: Arc<CpuMeter>,
}

impl<F> Metered<F> {
    pub fn new(inner: F, meter: Arc<CpuMeter>) -> Self {
        Self { inner: Box::pin(inner), meter }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let started = self.meter.now_nanos();
        self.meter.poll_started_nanos.store(started, Ordering::Relaxed);
        let polled = self.inner.as_mut().poll(cx);
        self.meter.poll_started_nanos.store(0, Ordering::Relaxed);
        let spent = self.meter.now_nanos().saturating_sub(started);
        self.meter.spent_nanos.fetch_add(spent, Ordering::Relaxed);
        polled
    }
}
