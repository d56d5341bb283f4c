//! The metrics of the process, in Prometheus' text format.
//!
//! Histograms have fixed buckets and no samples: a process that nobody scrapes keeps its size, and
//! recording is a few atomic additions. (The usual exporter keeps every sample until the next
//! scrape.)

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Dapr's default buckets for latencies, in milliseconds (reference: daprd's metrics).
pub const LATENCY_MS: [f64; 34] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0,
    100.0, 130.0, 160.0, 200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1000.0, 2000.0, 5000.0,
    10_000.0, 20_000.0, 50_000.0, 100_000.0,
];

/// Buckets for latencies in seconds, for metrics whose names end in `_seconds`.
pub const LATENCY_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Buckets for sizes, for metrics whose names end in `_bytes`.
pub const BYTES: [f64; 10] = [
    1024.0,
    2048.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// A set of metrics. Cheap to clone; all clones are one set.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `app_id="…"`, or empty.
    own_labels: String,
    latency_ms: OnceLock<Arc<[f64]>>,
    descriptions: RwLock<HashMap<String, SharedString>>,
    counters: RwLock<HashMap<Key, Arc<AtomicU64>>>,
    gauges: RwLock<HashMap<Key, Arc<AtomicU64>>>,
    histograms: RwLock<HashMap<Key, Arc<Buckets>>>,
}

impl Metrics {
    /// No metrics yet. `app_id` becomes a label of every metric.
    pub fn new(app_id: Option<&str>) -> Self {
        let own_labels = app_id.map(|id| label("app_id", id)).unwrap_or_default();
        Self(Arc::new(Inner {
            own_labels,
            ..Inner::default()
        }))
    }

    /// The set of this process, where the macros of the crate `metrics` record. A second call
    /// hands back the first set: a process has only one.
    pub fn install(app_id: Option<&str>) -> Self {
        let installed = INSTALLED.get_or_init(|| Self::new(app_id));
        // Refused from the second call on, and the first one set this same value.
        let _ = metrics::set_global_recorder(installed.clone());
        installed.clone()
    }

    /// The upper bounds of the buckets of latencies in milliseconds that are registered from now
    /// on. Only the first call counts, and none after the first of these metrics.
    pub fn set_latency_buckets(&self, bounds: &[f64]) {
        let mut bounds = bounds.to_vec();
        bounds.sort_by(f64::total_cmp);
        let _ = self.0.latency_ms.set(bounds.into());
    }

    /// Every metric as text, in the order of names and labels.
    pub fn render(&self) -> String {
        let inner = &*self.0;
        let counters = read(&inner.counters);
        let gauges = read(&inner.gauges);
        let histograms = read(&inner.histograms);
        let mut families = BTreeMap::new();
        for (key, value) in &*counters {
            let value = value.load(Ordering::Relaxed).to_string();
            inner.add(&mut families, key, "counter", &value);
        }
        for (key, value) in &*gauges {
            let value = f64::from_bits(value.load(Ordering::Relaxed)).to_string();
            inner.add(&mut families, key, "gauge", &value);
        }
        for (key, buckets) in &*histograms {
            let series = family(&mut families, key, "histogram");
            series.insert(
                inner.labels(key),
                buckets.render(key.name(), &inner.labels(key)),
            );
        }
        let descriptions = read(&inner.descriptions);
        let mut text = String::new();
        for (name, (kind, series)) in families {
            if let Some(description) = descriptions.get(name) {
                let _ = writeln!(text, "# HELP {name} {description}");
            }
            let _ = writeln!(text, "# TYPE {name} {kind}");
            text.extend(series.into_values());
        }
        text
    }
}

/// The series of each name: its kind, and its lines by labels.
type Families<'a> = BTreeMap<&'a str, (&'static str, BTreeMap<String, String>)>;

fn family<'f, 'k>(
    families: &'f mut Families<'k>,
    key: &'k Key,
    kind: &'static str,
) -> &'f mut BTreeMap<String, String> {
    let family = families.entry(key.name());
    &mut family.or_insert_with(|| (kind, BTreeMap::new())).1
}

impl Inner {
    fn add<'k>(&self, families: &mut Families<'k>, key: &'k Key, kind: &'static str, value: &str) {
        let labels = self.labels(key);
        let line = format!("{}{} {value}\n", key.name(), braced(&labels));
        family(families, key, kind).insert(labels, line);
    }

    /// `a="b",c="d"`, in the order in which they were given.
    fn labels(&self, key: &Key) -> String {
        let own = (!self.own_labels.is_empty()).then(|| self.own_labels.clone());
        let given = key.labels().map(|given| label(given.key(), given.value()));
        own.into_iter().chain(given).collect::<Vec<_>>().join(",")
    }

    fn describe(&self, name: &KeyName, text: SharedString) {
        let mut known = self
            .descriptions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(name.as_str().to_owned(), text);
    }

    fn bounds(&self, name: &str) -> Arc<[f64]> {
        if name.ends_with("_seconds") {
            LATENCY_SECONDS.into()
        } else if name.ends_with("_bytes") {
            BYTES.into()
        } else {
            self.latency_ms.get_or_init(|| LATENCY_MS.into()).clone()
        }
    }
}

/// Prometheus' text format escapes these three characters.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    format!("{name}=\"{}\"", value.replace('\n', r"\n"))
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The handle of a key, made when it is first asked for.
fn find<T>(known: &RwLock<HashMap<Key, Arc<T>>>, key: &Key, make: impl FnOnce() -> T) -> Arc<T> {
    if let Some(found) = read(known).get(key) {
        return found.clone();
    }
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    let entry = known.entry(key.clone());
    entry.or_insert_with(|| Arc::new(make())).clone()
}

impl Recorder for Metrics {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(find(&self.0.counters, key, AtomicU64::default))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(find(&self.0.gauges, key, AtomicU64::default))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let make = || Buckets::new(self.0.bounds(key.name()));
        Histogram::from_arc(find(&self.0.histograms, key, make))
    }
}

/// A histogram: how many values fell between two bounds.
struct Buckets {
    bounds: Arc<[f64]>,
    /// One more than there are bounds: the last one counts what is above them all.
    counts: Box<[AtomicU64]>,
    /// The sum of all values, as the bits of an `f64`.
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: Arc<[f64]>) -> Self {
        Self {
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0.0_f64.to_bits()),
            bounds,
        }
    }

    fn render(&self, name: &str, labels: &str) -> String {
        let mut text = String::new();
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (at, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(at).map(f64::to_string);
            let bound = bound.as_deref().unwrap_or("+Inf");
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}"
            );
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let labels = braced(labels);
        let _ = writeln!(text, "{name}_sum{labels} {sum}");
        let _ = writeln!(text, "{name}_count{labels} {total}");
        text
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        // A bound belongs to its own bucket (Prometheus: `le` is "less than or equal").
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{counter, gauge, histogram};

    fn rendered(app_id: Option<&str>, record: impl FnOnce()) -> String {
        let metrics = Metrics::new(app_id);
        metrics::with_local_recorder(&metrics, record);
        metrics.render()
    }

    #[test]
    fn writes_the_text_format_of_prometheus() {
        let text = rendered(Some("a\"b"), || {
            metrics::describe_gauge!("a", "What it is");
            counter!("b_total", "x" => "2").increment(1);
            counter!("b_total", "x" => "1\n").increment(2);
            gauge!("a").set(1.5);
        });
        let expected = "# HELP a What it is\n\
                        # TYPE a gauge\n\
                        a{app_id=\"a\\\"b\"} 1.5\n\
                        # TYPE b_total counter\n\
                        b_total{app_id=\"a\\\"b\",x=\"1\\n\"} 2\n\
                        b_total{app_id=\"a\\\"b\",x=\"2\"} 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let text = rendered(None, || {
            for value in [0.0004, 0.0005, 0.3, 9.0] {
                histogram!("t_seconds", "l" => "v").record(value);
            }
        });
        for line in [
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{l=\"v\",le=\"0.0005\"} 2",
            "t_seconds_bucket{l=\"v\",le=\"0.25\"} 2",
            "t_seconds_bucket{l=\"v\",le=\"0.5\"} 3",
            "t_seconds_bucket{l=\"v\",le=\"5\"} 3",
            "t_seconds_bucket{l=\"v\",le=\"+Inf\"} 4",
            "t_seconds_sum{l=\"v\"} 9.3009",
            "t_seconds_count{l=\"v\"} 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_name_decides_on_the_buckets() {
        let metrics = Metrics::new(None);
        metrics.set_latency_buckets(&[7.0]);
        metrics::with_local_recorder(&metrics, || {
            histogram!("latency").record(1.0);
            histogram!("size_bytes").record(1.0);
        });
        let text = metrics.render();
        assert!(text.contains("latency_bucket{le=\"7\"} 1"), "{text}");
        assert!(text.contains("size_bytes_bucket{le=\"1024\"} 1"), "{text}");
        assert!(!text.contains("latency_bucket{le=\"1\"}"), "{text}");
    }
}
