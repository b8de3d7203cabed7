//! Registers metrics together with their descriptions.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// A gauge with a floating-point value.
pub type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Counters by label set.
pub type Counters<S> = Family<S, Counter>;

/// Histograms by label set.
pub type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// The description of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Full name, as in a scrape. The name of a counter includes the suffix `_total`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Help text, without a final period.
    pub help: &'static str,
}

/// Gauges by label set.
#[derive(Debug, Clone)]
pub struct Gauges<S>(Family<S, FloatGauge>);

impl<S: Clone + Eq + std::hash::Hash> Gauges<S> {
    /// Sets the gauge of this label set.
    pub fn set(&self, labels: &S, value: f64) {
        self.0.get_or_create(labels).set(value);
    }
}

/// A gauge without labels. It is absent from a scrape until it is set.
#[derive(Debug, Clone, Default)]
pub struct TransientGauge(Arc<Mutex<Option<f64>>>);

impl TransientGauge {
    /// Sets the gauge.
    pub fn set(&self, value: f64) {
        *self.0.lock() = Some(value);
    }

    fn get(&self) -> Option<f64> {
        *self.0.lock()
    }
}

impl TypedMetric for TransientGauge {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for TransientGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.get().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }

    fn is_empty(&self) -> bool {
        self.get().is_none()
    }
}

/// The registered metrics.
#[derive(Default)]
pub struct Register {
    /// The registry that is encoded on each scrape.
    pub registry: Registry,
    /// The descriptions, in registration order.
    pub described: Vec<Described>,
    /// Functions that clear the transient gauges.
    pub clear: Vec<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("described", &self.described).finish_non_exhaustive()
    }
}

/// A label set with which a metric can be registered.
pub trait LabelSet:
    Labels + EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static
{
}

impl<S: Labels + EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static> LabelSet for S {}

/// The `name` of a counter has no `_total` suffix, because the text format adds it.
impl Register {
    /// Registers counters.
    pub fn counter<S: LabelSet>(&mut self, name: &str, help: &'static str) -> Counters<S> {
        let family = Counters::default();
        self.registry.register(name, help, family.clone());
        self.describe(format!("{name}_total"), "counter", S::NAMES, help);
        family
    }

    /// Registers a counter without labels.
    pub fn single_counter(&mut self, name: &str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.registry.register(name, help, counter.clone());
        self.describe(format!("{name}_total"), "counter", &[], help);
        counter
    }

    /// Registers gauges that keep their values.
    pub fn gauge<S: LabelSet>(&mut self, name: &str, help: &'static str) -> Gauges<S> {
        let family = Family::default();
        self.registry.register(name, help, family.clone());
        self.describe(name.to_owned(), "gauge", S::NAMES, help);
        Gauges(family)
    }

    /// Registers a gauge without labels.
    pub fn single_gauge(&mut self, name: &str, help: &'static str) -> FloatGauge {
        let gauge = FloatGauge::default();
        self.registry.register(name, help, gauge.clone());
        self.describe(name.to_owned(), "gauge", &[], help);
        gauge
    }

    /// Registers gauges that are cleared before each scrape. A series that the scrape does not set is absent.
    pub fn transient_gauge<S: LabelSet>(&mut self, name: &str, help: &'static str) -> Gauges<S> {
        let gauges = self.gauge(name, help);
        let Gauges(family) = gauges.clone();
        self.clear.push(Box::new(move || family.clear()));
        gauges
    }

    /// Registers a gauge without labels. The gauge is cleared before each scrape.
    pub fn transient_single_gauge(&mut self, name: &str, help: &'static str) -> TransientGauge {
        let gauge = TransientGauge::default();
        self.registry.register(name, help, gauge.clone());
        self.describe(name.to_owned(), "gauge", &[], help);
        let cleared = gauge.clone();
        self.clear.push(Box::new(move || *cleared.0.lock() = None));
        gauge
    }

    /// Registers histograms.
    pub fn histogram<S: LabelSet>(&mut self, name: &str, help: &'static str, new: fn() -> Histogram) -> Histograms<S> {
        let family = Histograms::new_with_constructor(new);
        self.registry.register(name, help, family.clone());
        self.describe(name.to_owned(), "histogram", S::NAMES, help);
        family
    }

    /// Registers metrics that `collector` encodes on each scrape.
    pub fn collector(&mut self, collector: impl Collector, described: impl IntoIterator<Item = Described>) {
        self.registry.register_collector(Box::new(collector));
        self.described.extend(described);
    }

    fn describe(&mut self, name: String, kind: &'static str, labels: &'static [&'static str], help: &'static str) {
        self.described.push(Described { name, kind, labels, help });
    }
}
