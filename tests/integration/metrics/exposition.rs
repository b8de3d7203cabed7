//! A strict parser of the OpenMetrics text format. It rejects violations of the specification, and of the conventions
//! for counters and histograms.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// A parsed scrape.
pub struct Scrape {
    pub text: String,
    series: BTreeMap<String, Vec<(Labels, f64)>>,
    kinds: BTreeMap<String, String>,
}

/// Whether the text is a valid name of a metric or a label.
fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

impl Scrape {
    /// Parses a scrape. Panics if it is invalid.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the text does not end with # EOF");
        let mut scrape = Self { text: text.to_owned(), series: BTreeMap::new(), kinds: BTreeMap::new() };
        let (mut family, mut helped, mut seen) = (String::new(), BTreeSet::new(), BTreeSet::new());
        for line in body.lines() {
            assert!(!line.trim().is_empty(), "the text has an empty line");
            if let Some(meta) = line.strip_prefix("# ") {
                let mut words = meta.splitn(3, ' ');
                let [what, name, value] = [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
                assert!(is_name(name) && !value.is_empty(), "{line}");
                match what {
                    "HELP" => assert!(helped.insert(name.to_owned()), "two HELP lines for {name}"),
                    "TYPE" => {
                        assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                        assert!(helped.contains(name), "{name} has no HELP before its TYPE");
                        let before = scrape.kinds.insert(name.to_owned(), value.to_owned());
                        assert!(before.is_none(), "{name} has two TYPE lines");
                        family = name.to_owned();
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, labels, value) = sample(line);
            let suffix =
                name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not in the family {family}"));
            match scrape.kinds[&family].as_str() {
                "counter" => assert!(suffix == "_total" && value >= 0.0, "{line}"),
                "gauge" => assert_eq!(suffix, "", "{line}"),
                _ => {
                    assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                    assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
                }
            }
            assert!(seen.insert((name.clone(), labels.clone())), "the series occurs twice: {line}");
            scrape.series.entry(name).or_default().push((labels, value));
        }
        scrape.check_histograms();
        scrape
    }

    /// Checks that the bounds and values of the buckets ascend. The last bucket must have the bound +Inf and
    /// contain the total count.
    fn check_histograms(&self) {
        for family in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, value) in self.series(&format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let le = labels.remove("le").expect("a bucket has le");
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().expect("le is a number") };
                buckets.entry(labels).or_default().push((le, value));
            }
            assert!(!buckets.is_empty(), "{family} has no buckets");
            for (labels, buckets) in buckets {
                assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{family}: {buckets:?}");
                let pairs: Vec<(&str, &str)> =
                    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let count = self.value(&format!("{family}_count"), &pairs);
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{family}");
                assert!(self.value(&format!("{family}_sum"), &pairs) >= 0.0);
            }
        }
    }

    /// Returns every series.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Labels, f64)> {
        let all = self.series.iter();
        all.flat_map(|(name, series)| series.iter().map(move |(labels, value)| (name.as_str(), labels, *value)))
    }

    /// Returns the text in the older Prometheus format, in which the HELP and TYPE lines of a counter also contain
    /// `_total`.
    pub fn older_text(&self) -> String {
        let lines = self.text.lines().filter(|line| *line != "# EOF").map(|line| {
            let mut words: Vec<String> = line.splitn(4, ' ').map(str::to_owned).collect();
            if words[0] == "#" && self.kinds.get(&words[2]).is_some_and(|kind| kind == "counter") {
                words[2] += "_total";
            }
            words.join(" ") + "\n"
        });
        lines.collect()
    }

    /// Returns every series of this name.
    pub fn series(&self, name: &str) -> Vec<(&Labels, f64)> {
        self.series.get(name).into_iter().flatten().map(|(labels, value)| (labels, *value)).collect()
    }

    /// Returns the value of the series with exactly these labels, or `None` if there is no such series.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.series(name).into_iter().find(|(labels, _)| **labels == wanted).map(|(_, value)| value)
    }

    /// Like [`Scrape::find`], but panics if there is no such series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no series {name} {labels:?} in\n{}", self.text))
    }

    /// Like [`Scrape::find`], but returns `or` if there is no such series.
    pub fn value_or(&self, name: &str, labels: &[(&str, &str)], or: f64) -> f64 {
        self.find(name, labels).unwrap_or(or)
    }

    /// Returns the sum of all series of this name.
    pub fn sum(&self, name: &str) -> f64 {
        self.series(name).into_iter().map(|(_, value)| value).sum()
    }

    /// Returns the sum of the series of this name that have at least these labels.
    pub fn sum_where(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &Labels| labels.iter().all(|(name, value)| series.get(*name).is_some_and(|it| it == value));
        self.series(name).into_iter().filter(|(series, _)| has(series)).map(|(_, value)| value).sum()
    }

    /// Returns the names of the metrics, as in the documentation, and their labels. The name of a histogram has no
    /// suffix.
    pub fn metrics(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, series) in &self.series {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                (self.kinds.get(family)? == "histogram").then(|| family.to_owned())
            });
            let labels = series.iter().flat_map(|(labels, _)| labels.keys().cloned()).filter(|label| label != "le");
            all.entry(family.unwrap_or_else(|| name.clone())).or_default().extend(labels);
        }
        all
    }
}

/// Parses the line `name{label="value",…} value`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inner.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}: {label} twice");
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            inner = after.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(!value.contains(' '), "{line}: neither timestamps nor exemplars are expected");
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// Parses a label value up to its closing quote. Returns it with the text after the quote.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("invalid escape {other:?} in {text}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn invalid_scrapes_are_rejected() {
    let head = "# HELP a_total x.\n# TYPE a counter\n";
    let good = "# HELP a x.\n# TYPE a counter\na_total{app=\"q\\\"\\\\\\n群\"} 1\n# EOF\n";
    assert_eq!(Scrape::parse(good).value("a_total", &[("app", "q\"\\\n群")]), 1.0);
    for bad in [
        "# HELP a x.\n# TYPE a counter\na_total 1\n",
        "# HELP a x.\n# TYPE a counter\na 1\n# EOF\n",
        "# HELP a x.\n# TYPE a counter\na_total 1\na_total 2\n# EOF\n",
        "# HELP a x.\n# TYPE a counter\na_total{b=\"\\x\"} 1\n# EOF\n",
        "# HELP a x.\n# TYPE a counter\na_total{b=\"c\" 1\n# EOF\n",
        "# HELP a x.\n# TYPE a counter\nb_total 1\n# EOF\n",
        "# HELP a x.\n# TYPE a gauge\na one\n# EOF\n",
        "# HELP a x.\n# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n# EOF\n",
        "# HELP a x.\n# TYPE a histogram\na_bucket{le=\"1.0\"} 1\na_sum 1\na_count 1\n# EOF\n",
        &format!("{head}a_total 1\n# EOF\n"),
    ] {
        let read = std::panic::catch_unwind(|| Scrape::parse(bad));
        assert!(read.is_err(), "an invalid scrape is accepted:\n{bad}");
    }
}
