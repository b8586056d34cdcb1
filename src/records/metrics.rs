//! Counts and times of one pool, for Prometheus. They are kept whether or not records are.
//!
//! No label names a caller, a session or a tenant; every value of a label is one of our own words.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use super::event::{Ended, Made};

/// What a pool has at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions that live.
    pub sessions: usize,
    /// Those of them that are on disk alone; the others hold a place of the pool each.
    pub hibernated: usize,
    /// Those in which code runs.
    pub running: usize,
    /// How long the execution that runs longest has had its session.
    pub longest_running: Option<Duration>,
    /// Executions that wait for a session.
    pub waiting: usize,
    /// Sandboxes that are ready for new sessions.
    pub ready: usize,
    /// Sandboxes that are to be ready and are not yet.
    pub pending: usize,
    /// Sessions that should have ended and have not.
    pub overdue: usize,
    /// Linear memory of all sessions in memory as of their last execution, what they share with their image included.
    pub memory_bytes: u64,
}

/// The metrics of one pool.
pub(super) struct PoolMetrics {
    registry: Registry,
    allocation: HistogramVec,
    execution: HistogramVec,
    made: IntCounterVec,
    ended: IntCounterVec,
    rolled_back: IntCounter,
    hibernated: IntCounter,
    woken: IntCounter,
    failed_starts: IntCounter,
    rejections: IntCounterVec,
    snapshots: IntCounter,
    snapshot_bytes: Histogram,
    egress_connections: IntCounterVec,
    egress_bytes: IntCounterVec,
    egress_names: IntCounterVec,
    gauges: Gauges,
}

/// Set when they are asked for.
struct Gauges {
    executing: IntGauge,
    hibernated: IntGauge,
    pending: IntGauge,
    ready: IntGauge,
    running: IntGauge,
    waiting: IntGauge,
    memory: IntGauge,
}

/// From a tenth of a millisecond to five minutes.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 300.0];
const BYTES: [f64; 6] = [1e5, 1e6, 4e6, 16e6, 64e6, 256e6];

const VALID: &str = "names and labels are constants, and each is made once";

impl PoolMetrics {
    pub(super) fn new(pool: &str) -> Self {
        let registry = registry_of(pool);
        let made = Maker(&registry);
        Self {
            allocation: made.histograms(
                "sandpool_allocation_seconds",
                "From an execution's admission to a session with its sandbox, by whether the session was new.",
                "session",
            ),
            execution: made.histograms(
                "sandpool_execution_seconds",
                "Wall-clock time that code ran, by how it ended.",
                "outcome",
            ),
            made: made.counters("sandpool_sessions_made_total", "Sessions made.", "how"),
            ended: made.counters("sandpool_sessions_ended_total", "Sessions that ended.", "why"),
            rolled_back: made
                .counter("sandpool_sessions_rolled_back_total", "Sessions put back to before an execution."),
            hibernated: made.counter("sandpool_sessions_hibernated_total", "Sessions put to disk, out of memory."),
            woken: made.counter("sandpool_sessions_woken_total", "Sessions brought back from disk."),
            failed_starts: made.counter("sandpool_failed_starts_total", "Sandboxes that could not be made."),
            rejections: made.counters("sandpool_rejections_total", "Calls that were refused.", "reason"),
            snapshots: made.counter("sandpool_snapshots_total", "Snapshots taken."),
            snapshot_bytes: made.add(
                Histogram::with_opts(
                    HistogramOpts::new("sandpool_snapshot_bytes", "Memory of snapshots that differs from the image.")
                        .buckets(BYTES.to_vec()),
                )
                .expect(VALID),
            ),
            egress_connections: made.counters(
                "sandpool_egress_connections_total",
                "Connections that containers made to the outside and that ended, by how.",
                "end",
            ),
            egress_bytes: made.counters(
                "sandpool_egress_bytes_total",
                "Bytes of connections that containers made to the outside and that ended.",
                "direction",
            ),
            egress_names: made.counters(
                "sandpool_egress_names_total",
                "Questions of containers for the addresses of names.",
                "end",
            ),
            gauges: Gauges {
                // The hosted service's names.
                executing: made.gauge("PoolExecutingPodCount", "Sessions that live, those on disk aside."),
                hibernated: made.gauge("sandpool_sessions_hibernated", "Sessions that are on disk alone."),
                pending: made.gauge("PoolPendingPodCount", "Sandboxes that are being made ready."),
                ready: made.gauge("PoolReadyPodCount", "Sandboxes that are ready for new sessions."),
                running: made.gauge("sandpool_sessions_running", "Sessions in which code runs."),
                waiting: made.gauge("sandpool_queue_depth", "Executions that wait for a session."),
                memory: made.gauge(
                    "sandpool_sessions_memory_bytes",
                    "Linear memory of all sessions in memory, what they share with their image included.",
                ),
            },
            registry,
        }
    }

    pub(super) fn allocated(&self, new: bool, took: Duration) {
        self.allocation.with_label_values(&[if new { "new" } else { "live" }]).observe(took.as_secs_f64());
    }

    pub(super) fn executed(&self, outcome: &str, wall: Duration) {
        self.execution.with_label_values(&[outcome]).observe(wall.as_secs_f64());
    }

    pub(super) fn made(&self, made: Made) {
        self.made.with_label_values(&[made.as_str()]).inc();
    }

    pub(super) fn ended(&self, ended: Ended) {
        self.ended.with_label_values(&[ended.as_str()]).inc();
    }

    pub(super) fn rolled_back(&self) {
        self.rolled_back.inc();
    }

    pub(super) fn hibernated(&self) {
        self.hibernated.inc();
    }

    pub(super) fn woken(&self) {
        self.woken.inc();
    }

    pub(super) fn failed_start(&self) {
        self.failed_starts.inc();
    }

    pub(super) fn rejected(&self, reason: &str) {
        self.rejections.with_label_values(&[reason]).inc();
    }

    pub(super) fn snapshot(&self, bytes: u64) {
        self.snapshots.inc();
        self.snapshot_bytes.observe(bytes as f64);
    }

    pub(super) fn connection(&self, end: &str, sent_bytes: u64, received_bytes: u64) {
        self.egress_connections.with_label_values(&[end]).inc();
        self.egress_bytes.with_label_values(&["sent"]).inc_by(sent_bytes);
        self.egress_bytes.with_label_values(&["received"]).inc_by(received_bytes);
    }

    pub(super) fn name_asked(&self, end: &str) {
        self.egress_names.with_label_values(&[end]).inc();
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        let sum = |counters: &IntCounterVec| {
            let families = counters.collect();
            families.iter().flat_map(MetricFamily::get_metric).map(|each| each.get_counter().get_value() as u64).sum()
        };
        Counts {
            made: sum(&self.made),
            ended: sum(&self.ended),
            broken: [Ended::Broken, Ended::Unhealthy]
                .map(|why| self.ended.with_label_values(&[why.as_str()]).get())
                .into_iter()
                .sum(),
            rolled_back: self.rolled_back.get(),
            failed_starts: self.failed_starts.get(),
            rejections: sum(&self.rejections),
            allocations: self.allocation.collect().iter().map(samples).sum(),
            executions: self.execution.collect().iter().map(samples).sum(),
            allocation_p50: quantile(&self.allocation, 0.5),
            allocation_p99: quantile(&self.allocation, 0.99),
        }
    }

    pub(super) fn families(&self, census: Census) -> Vec<MetricFamily> {
        let gauges = &self.gauges;
        gauges.executing.set(whole((census.sessions - census.hibernated) as u64));
        gauges.hibernated.set(whole(census.hibernated as u64));
        gauges.pending.set(whole(census.pending as u64));
        gauges.ready.set(whole(census.ready as u64));
        gauges.running.set(whole(census.running as u64));
        gauges.waiting.set(whole(census.waiting as u64));
        gauges.memory.set(whole(census.memory_bytes));
        self.registry.gather()
    }
}

fn registry_of(pool: &str) -> Registry {
    // `poolName` is the hosted service's word for it.
    let labels = HashMap::from([("poolName".to_owned(), pool.to_owned())]);
    Registry::new_custom(None, Some(labels)).expect(VALID)
}

/// What a pool has counted since the gateway started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    pub made: u64,
    pub ended: u64,
    /// Of those that ended: the ones whose guest broke.
    pub broken: u64,
    pub rolled_back: u64,
    pub failed_starts: u64,
    pub rejections: u64,
    pub allocations: u64,
    pub executions: u64,
    /// Upper bound of the histogram's bucket; none before the first allocation, or beyond the last bucket.
    pub allocation_p50: Option<Duration>,
    pub allocation_p99: Option<Duration>,
}

fn samples(family: &MetricFamily) -> u64 {
    family.get_metric().iter().map(|each| each.get_histogram().get_sample_count()).sum()
}

/// The upper bound of the bucket in which the quantile is, over all values of the label.
fn quantile(histograms: &HistogramVec, share: f64) -> Option<Duration> {
    let families = histograms.collect();
    let all = || families.iter().flat_map(MetricFamily::get_metric).map(prometheus::proto::Metric::get_histogram);
    let total: u64 = all().map(|each| each.get_sample_count()).sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let below = |at: usize| all().map(|each| each.get_bucket()[at].cumulative_count()).sum::<u64>();
    let bucket = SECONDS.iter().enumerate().find(|(at, _)| total > 0 && below(*at) >= wanted);
    bucket.map(|(_, seconds)| Duration::from_secs_f64(*seconds))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Makes metrics, each registered.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> M {
        self.0.register(Box::new(metric.clone())).expect(VALID);
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help).expect(VALID))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help).expect(VALID))
    }

    fn histograms(&self, name: &str, help: &str, label: &str) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.add(HistogramVec::new(options, &[label]).expect(VALID))
    }
}

/// The metrics of a gateway, collected from its pools.
#[derive(Default)]
pub struct Exposition(Vec<MetricFamily>);

impl Exposition {
    /// Content type of [`Exposition::text`].
    pub const MEDIA_TYPE: &'static str = prometheus::TEXT_FORMAT;

    /// One value of the gateway as a whole; a counter where it only grows.
    pub fn add(&mut self, name: &str, help: &str, grows: bool, value: u64) {
        let registry = Registry::new();
        if grows {
            Maker(&registry).counter(name, help).inc_by(value);
        } else {
            Maker(&registry).gauge(name, help).set(whole(value));
        }
        self.0.extend(registry.gather());
    }

    /// The metrics of a pool; those of the same name are one family.
    pub(super) fn add_families(&mut self, families: Vec<MetricFamily>) {
        for mut family in families {
            match self.0.iter_mut().find(|known| known.name() == family.name()) {
                Some(known) => known.mut_metric().append(&mut family.take_metric()),
                None => self.0.push(family),
            }
        }
    }

    /// As they are.
    pub fn families(&self) -> &[MetricFamily] {
        &self.0
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0).expect("each family has a name and a metric")
    }
}
