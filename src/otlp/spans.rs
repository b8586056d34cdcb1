//! The spans of calls, gathered as they end.
//!
//! What a span is, is said where it is made (`telemetry` shows the tree). Here is only what of it goes away: the names and
//! fields of [`NAMES`] and [`ATTRIBUTES`], all of them words and numbers of the gateway's own. Events inside spans stay here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::context::{Identity, TraceParent};
use super::message::{Resource, attribute, nanos, scope};

/// Spans that may wait: half a minute of a busy gateway.
const QUEUE: usize = 32_768;

/// The call as a whole: with it a trace begins, or goes on from the caller's.
const ROOT: &str = "request";
const NAMES: [&str; 6] = [ROOT, "execution", "lease", "sandbox", "run", "keep"];

/// Fields that go away, and what OTLP calls them.
const ATTRIBUTES: [(&str, &str); 6] = [
    ("method", "http.request.method"),
    ("status", "http.response.status_code"),
    ("operation", "sandpool.operation"),
    ("pool", "sandpool.pool"),
    ("outcome", "sandpool.outcome"),
    ("cpu_seconds", "sandpool.cpu_seconds"),
];
/// The field of [`ROOT`] that holds the caller's `traceparent`.
const PARENT: &str = "parent";

/// A span that has not ended.
struct Open {
    identity: Identity,
    /// The span above; of the caller, for a root that has one.
    parent: Option<[u8; 8]>,
    began_at: SystemTime,
    began: Instant,
    attributes: Vec<(&'static str, Value)>,
    /// False when the caller does not want the trace to be kept.
    sampled: bool,
}

/// A span that has ended.
pub(super) struct Ended {
    name: &'static str,
    open: Open,
    ended_at: SystemTime,
}

/// Spans that wait to be sent.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Vec<Ended>>,
    lost: AtomicU64,
}

impl Queue {
    fn add(&self, span: Ended) {
        let mut waiting = self.lock();
        if waiting.len() < QUEUE {
            waiting.push(span);
        } else {
            self.lose(1);
        }
    }

    /// `most` of those that wait, the oldest.
    pub(super) fn take(&self, most: usize) -> Vec<Ended> {
        let mut waiting = self.lock();
        let count = waiting.len().min(most);
        waiting.drain(..count).collect()
    }

    /// Puts back what could not be sent, before what came meanwhile.
    pub(super) fn put_back(&self, mut spans: Vec<Ended>) {
        let mut waiting = self.lock();
        spans.append(&mut waiting);
        let over = spans.len().saturating_sub(QUEUE);
        spans.truncate(QUEUE);
        *waiting = spans;
        self.lose(over);
    }

    pub(super) fn lose(&self, count: usize) {
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ended>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gathers spans; a layer of the subscriber.
pub struct Spans {
    queue: Arc<Queue>,
}

impl Spans {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Lets through what it gathers: nothing else is to cost anything.
    pub fn filter() -> FilterFn {
        let ours = |metadata: &Metadata<'_>| {
            metadata.is_span() && metadata.target().starts_with("sandpool") && NAMES.contains(&metadata.name())
        };
        FilterFn::new(ours as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::DEBUG)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|above| above.extensions().get::<Open>().map(Open::place));
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let (identity, parent, sampled) = match (above, fields.parent) {
            (Some((above, sampled)), _) => (above.sibling(), Some(above.span), sampled),
            (None, Some(caller)) => (caller.identity.sibling(), Some(caller.identity.span), caller.sampled),
            (None, None) if span.name() == ROOT => (Identity::root(), None, true),
            // What no call asked for.
            (None, None) => return,
        };
        let (began_at, began, attributes) = (SystemTime::now(), Instant::now(), fields.attributes);
        span.extensions_mut().insert(Open { identity, parent, began_at, began, attributes, sampled });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            let mut fields = Fields::default();
            values.record(&mut fields);
            open.attributes.append(&mut fields.attributes);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(open) = open.filter(|open| open.sampled) {
            // The machine's clock may be set meanwhile: a span lasts as long as it took.
            let ended_at = open.began_at + open.began.elapsed();
            self.queue.add(Ended { name: span.name(), open, ended_at });
        }
    }
}

impl Open {
    fn place(&self) -> (Identity, bool) {
        (self.identity, self.sampled)
    }
}

/// The fields of a span that go away.
#[derive(Default)]
struct Fields {
    attributes: Vec<(&'static str, Value)>,
    parent: Option<TraceParent>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        let name = ATTRIBUTES.iter().find(|(ours, _)| *ours == field.name());
        self.attributes.extend(name.map(|(_, name)| (*name, value)));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::StringValue(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::IntValue(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::DoubleValue(value));
    }

    /// None of ours is so but one: whatever has a `Debug` might hold anything.
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == PARENT {
            self.parent = TraceParent::parse(&format!("{value:?}"));
        }
    }
}

/// The message that holds these spans.
pub(super) fn request(spans: &[Ended], resource: &Resource) -> ExportTraceServiceRequest {
    let spans = spans.iter().map(message).collect();
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    let resource = resource.message();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

fn message(ended: &Ended) -> Span {
    let Ended { name, open, ended_at } = ended;
    let text = |wanted: &str| {
        open.attributes.iter().find_map(|(name, value)| match value {
            Value::StringValue(text) if *name == wanted => Some(text.as_str()),
            _ => None,
        })
    };
    let failed = open.attributes.iter().any(|(name, value)| {
        *name == "http.response.status_code" && matches!(value, Value::IntValue(status) if *status >= 500)
    });
    let root = *name == ROOT;
    let full_name = match (text("http.request.method"), text("sandpool.operation")) {
        (Some(method), Some(operation)) if root => format!("{method} {operation}"),
        _ => (*name).to_owned(),
    };
    Span {
        trace_id: open.identity.trace.to_vec(),
        span_id: open.identity.span.to_vec(),
        parent_span_id: open.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
        // Sampled.
        flags: 1,
        name: full_name,
        kind: if root { SpanKind::Server } else { SpanKind::Internal }.into(),
        start_time_unix_nano: nanos(open.began_at),
        end_time_unix_nano: nanos(*ended_at),
        attributes: open.attributes.iter().map(|(name, value)| attribute(*name, value.clone())).collect(),
        status: failed.then(|| Status { code: StatusCode::Error.into(), message: String::new() }),
        ..Span::default()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// The spans that `work` leaves.
    fn spans_of(work: impl FnOnce()) -> Vec<Span> {
        let queue = Arc::<Queue>::default();
        let layer = Spans::new(queue.clone()).with_filter(Spans::filter());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        queue.take(QUEUE).iter().map(message).collect()
    }

    fn call(parent: Option<TraceParent>) {
        let parent = parent.map(tracing::field::display);
        let request = tracing::debug_span!(
            "request",
            method = "POST",
            operation = "Execute",
            parent,
            status = tracing::field::Empty
        );
        let _request = request.enter();
        {
            let _other = tracing::info_span!("other", operation = "canary").entered();
            let _run = tracing::debug_span!("run", code = "canary", pool = "p", outcome = ?"canary").entered();
            tracing::error!("canary");
        }
        request.record("status", 503_u16);
    }

    #[test]
    fn spans_have_their_parents_and_only_known_fields() {
        let spans = spans_of(|| call(None));
        let [run, request] = spans.as_slice() else { panic!("{spans:#?}") };
        assert_eq!((run.name.as_str(), request.name.as_str()), ("run", "POST Execute"));
        assert_eq!((&run.parent_span_id, &run.trace_id), (&request.span_id, &request.trace_id));
        assert!(request.parent_span_id.is_empty());
        assert_eq!(request.status.as_ref().map(|status| status.code), Some(StatusCode::Error.into()));
        assert!(run.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(run.end_time_unix_nano <= request.end_time_unix_nano);
        let told = format!("{spans:?}");
        assert!(!told.contains("canary") && told.contains("sandpool.pool"), "{told}");
    }

    #[test]
    fn a_trace_of_the_callers_goes_on_or_is_left_alone() {
        let spans = spans_of(|| call(TraceParent::parse(CALLER)));
        assert!(spans.iter().all(|span| span.trace_id[..2] == [0x4b, 0xf9]), "{spans:#?}");
        assert_eq!(spans[1].parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        let unsampled = TraceParent::parse(&CALLER.replace("-01", "-00"));
        assert_eq!(spans_of(|| call(unsampled)), []);
    }

    #[test]
    fn what_no_call_asked_for_is_no_trace() {
        assert_eq!(spans_of(|| drop(tracing::debug_span!("execution", pool = "p").entered())), []);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let queue = Queue::default();
        let open = || Open {
            identity: Identity::root(),
            parent: None,
            began_at: SystemTime::now(),
            began: Instant::now(),
            attributes: Vec::new(),
            sampled: true,
        };
        let ended = || Ended { name: "run", open: open(), ended_at: SystemTime::now() };
        (0..QUEUE + 3).for_each(|_| queue.add(ended()));
        assert_eq!(queue.lost(), 3);
        let taken = queue.take(10);
        (0..5).for_each(|_| queue.add(ended()));
        queue.put_back(taken);
        assert_eq!((queue.lost(), queue.take(usize::MAX).len()), (8, QUEUE));
    }
}
