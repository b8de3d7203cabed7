//! Where metrics are registered, each with what the documentation says of it.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// What every name begins with, but those that are the same in every program.
const PREFIX: &str = "live_message_operator";

/// A gauge of any number.
pub type Number = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Counters by their labels.
pub type Counters<S> = Family<S, Counter>;

/// Histograms by their labels.
pub type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// A metric, as the documentation tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name, with the suffix that it is scraped with.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// A gauge for every set of labels.
#[derive(Debug, Clone)]
pub struct Gauges<S>(Family<S, Number>);

impl<S: Clone + Eq + std::hash::Hash> Gauges<S> {
    /// Sets one.
    pub fn set(&self, labels: &S, value: f64) {
        self.0.get_or_create(labels).set(value);
    }
}

/// Registers metrics.
#[derive(Default)]
pub struct Register {
    /// What is scraped.
    pub registry: Registry,
    /// What was registered, in that order.
    pub described: Vec<Described>,
    /// Empties the gauges that are set anew at every scrape.
    pub clear: Vec<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("described", &self.described).finish_non_exhaustive()
    }
}

/// What the sets of labels of a registered family are to be.
pub trait Set: Labels + EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static {}

impl<S: Labels + EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static> Set for S {}

impl Register {
    /// A counter. Its name goes without `_total`, which the format adds.
    pub fn counter<S: Set>(&mut self, name: &str, help: &'static str) -> Counters<S> {
        let family = Counters::default();
        let name = format!("{PREFIX}_{name}");
        self.registry.register(&name, help, family.clone());
        self.describe(format!("{name}_total"), "counter", S::NAMES, help);
        family
    }

    /// A gauge that stays as it was set.
    pub fn gauge<S: Set>(&mut self, name: &str, help: &'static str) -> Gauges<S> {
        let (family, name) = (Family::default(), format!("{PREFIX}_{name}"));
        self.registry.register(&name, help, family.clone());
        self.describe(name, "gauge", S::NAMES, help);
        Gauges(family)
    }

    /// A counter without labels.
    pub fn one_counter(&mut self, name: &str, help: &'static str) -> Counter {
        let (counter, name) = (Counter::default(), format!("{PREFIX}_{name}"));
        self.registry.register(&name, help, counter.clone());
        self.describe(format!("{name}_total"), "counter", &[], help);
        counter
    }

    /// A gauge without labels.
    pub fn one_gauge(&mut self, name: &str, help: &'static str) -> Number {
        self.common_gauge(&format!("{PREFIX}_{name}"), help)
    }

    /// A gauge whose name is the same in every program.
    pub fn common_gauge(&mut self, name: &str, help: &'static str) -> Number {
        let gauge = Number::default();
        self.registry.register(name, help, gauge.clone());
        self.describe(name.to_owned(), "gauge", &[], help);
        gauge
    }

    /// A histogram without labels.
    pub fn one_histogram(&mut self, name: &str, help: &'static str, histogram: Histogram) -> Histogram {
        let name = format!("{PREFIX}_{name}");
        self.registry.register(&name, help, histogram.clone());
        self.describe(name, "histogram", &[], help);
        histogram
    }

    /// A gauge that is set anew at every scrape: what is not set then is not there.
    pub fn fresh<S: Set>(&mut self, name: &str, help: &'static str) -> Gauges<S> {
        let gauges = self.gauge(name, help);
        let Gauges(family) = gauges.clone();
        self.clear.push(Box::new(move || family.clear()));
        gauges
    }

    /// A histogram.
    pub fn histogram<S: Set>(&mut self, name: &str, help: &'static str, make: fn() -> Histogram) -> Histograms<S> {
        let family = Histograms::new_with_constructor(make);
        let name = format!("{PREFIX}_{name}");
        self.registry.register(&name, help, family.clone());
        self.describe(name, "histogram", S::NAMES, help);
        family
    }

    fn describe(&mut self, name: String, kind: &'static str, labels: &'static [&'static str], help: &'static str) {
        self.described.push(Described { name, kind, labels, help });
    }
}
