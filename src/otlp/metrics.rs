//! What `GET /metrics` shows, in OTLP: the same names, labels, values and buckets, as running totals since the start.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use prometheus::proto::{Metric as Series, MetricFamily, MetricType};

use super::message::{Resource, attribute, nanos, scope};
use crate::records::Exposition;

/// The message that holds these metrics as of now. `since` is when they began to be counted.
pub(super) fn request(exposition: &Exposition, since: SystemTime, resource: &Resource) -> ExportMetricsServiceRequest {
    let times = Times { since: nanos(since), now: nanos(SystemTime::now()) };
    let metrics = exposition.families().iter().filter_map(|family| metric(family, &times)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    let resource = resource.message();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

struct Times {
    since: u64,
    now: u64,
}

/// None for kinds that no metric of ours has.
fn metric(family: &MetricFamily, times: &Times) -> Option<Metric> {
    let series = family.get_metric();
    let totals = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: series.iter().map(|each| number(each, each.get_counter().get_value(), times)).collect(),
            aggregation_temporality: totals,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: series.iter().map(|each| number(each, each.get_gauge().get_value(), times)).collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: series.iter().map(|each| histogram(each, times)).collect(),
            aggregation_temporality: totals,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    let (name, description) = (family.name().to_owned(), family.help().to_owned());
    Some(Metric { unit: unit(&name).into(), name, description, data: Some(data), ..Metric::default() })
}

/// As UCUM writes it.
fn unit(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("_seconds") => "s",
        _ if name.ends_with("_bytes") => "By",
        _ => "1",
    }
}

fn number(series: &Series, value: f64, times: &Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(series),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        // All of ours are counts; Prometheus' format knows no other numbers than these.
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(series: &Series, times: &Times) -> HistogramDataPoint {
    let histogram = series.get_histogram();
    let finite: Vec<_> = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()).collect();
    // There each bucket counts those below it too; here each value is in one.
    let cumulative = finite.iter().map(|bucket| bucket.cumulative_count()).chain([histogram.get_sample_count()]);
    let counts = cumulative.scan(0, |below, count| Some(count - std::mem::replace(below, count)));
    HistogramDataPoint {
        attributes: labels(series),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts.collect(),
        explicit_bounds: finite.iter().map(|bucket| bucket.upper_bound()).collect(),
        ..HistogramDataPoint::default()
    }
}

fn labels(series: &Series) -> Vec<KeyValue> {
    let label = |name: &str, value: &str| attribute(name, Value::StringValue(value.to_owned()));
    series.get_label().iter().map(|pair| label(pair.name(), pair.value())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use super::*;
    use crate::records::{Census, Records};

    #[test]
    fn both_exports_say_the_same() {
        let pool = Records::off().pool("p", &BTreeMap::new(), false);
        for milliseconds in [0, 2, 2, 400_000] {
            pool.allocated(true, Duration::from_millis(milliseconds));
        }
        pool.rejected("SessionPoolFull");
        let mut exposition = Exposition::default();
        pool.expose(Census { sessions: 7, ..Census::default() }, &mut exposition);
        let request = request(&exposition, SystemTime::now(), &Resource::new("s"));
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let text = exposition.text();
        for metric in metrics {
            assert!(text.contains(&format!("# HELP {} {}", metric.name, metric.description)), "{}", metric.name);
        }
        assert_eq!(metrics.len(), text.lines().filter(|line| line.starts_with("# HELP")).count());
        let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        let Some(Data::Histogram(allocation)) = &find("sandpool_allocation_seconds").data else { panic!() };
        let point = &allocation.data_points[0];
        assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (4, 4));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        let of_2_ms = point.explicit_bounds.iter().position(|bound| *bound == 0.0025).unwrap();
        assert_eq!(
            (point.bucket_counts[0], point.bucket_counts[of_2_ms], point.bucket_counts.last()),
            (1, 2, Some(&1))
        );
        let Some(Data::Gauge(executing)) = &find("PoolExecutingPodCount").data else { panic!() };
        assert_eq!(executing.data_points[0].value, Some(Number::AsDouble(7.0)));
        let Some(Data::Sum(rejections)) = &find("sandpool_rejections_total").data else { panic!() };
        assert!(rejections.is_monotonic);
        let labels = rejections.data_points[0].attributes.iter();
        let keys: BTreeSet<_> = labels.map(|label| label.key.as_str()).collect();
        assert_eq!(keys, ["poolName", "reason"].into());
    }
}
