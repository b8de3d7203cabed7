//! Metrics of the process, with the names that every Prometheus client library uses. The values are read from
//! `/proc/self` on each scrape. On a system without `/proc`, the metrics are absent.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::register::Described;

/// The number of clock ticks per second (`USER_HZ`). `/proc` reports CPU times in clock ticks. The number is 100 on
/// every architecture that Rust supports on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

const CPU: &str = "process_cpu_seconds";
const CPU_HELP: &str = "Total user and system CPU time of the process in seconds";
const MEMORY: &str = "process_resident_memory_bytes";
const MEMORY_HELP: &str = "Resident memory of the process in bytes";
const FILES: &str = "process_open_fds";
const FILES_HELP: &str = "Number of open file descriptors of the process";

/// Encodes the metrics of this process.
#[derive(Debug)]
pub struct ProcessCollector;

impl ProcessCollector {
    /// The descriptions of the metrics.
    pub fn described() -> [Described; 3] {
        let describe = |name: &str, kind, help| Described { name: name.to_owned(), kind, labels: &[], help };
        [
            describe("process_cpu_seconds_total", "counter", CPU_HELP),
            describe(MEMORY, "gauge", MEMORY_HELP),
            describe(FILES, "gauge", FILES_HELP),
        ]
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Some(seconds) = read("/proc/self/stat").as_deref().and_then(cpu_seconds) {
            encode(encoder, CPU, CPU_HELP, &ConstCounter::new(seconds))?;
        }
        if let Some(bytes) = read("/proc/self/status").as_deref().and_then(resident_bytes) {
            encode(encoder, MEMORY, MEMORY_HELP, &ConstGauge::new(bytes))?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of the files is the open directory `/proc/self/fd`.
            encode(encoder, FILES, FILES_HELP, &ConstGauge::new(files.count().saturating_sub(1) as f64))?;
        }
        Ok(())
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Returns the sum of the user and system time in `/proc/PID/stat`. The name of the program is in parentheses and can
/// contain spaces and parentheses, so only the fields after the last `)` are parsed.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// Parses `VmRSS` in `/proc/PID/status` and converts it from KiB to bytes.
fn resident_bytes(status: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_the_sum_of_user_and_system_time() {
        let stat = "42 (a program) 1) S 1 42 42 0 -1 4194304 1 2 3 4 250 130 7 8 20 0 1 0 100 4096 10";
        assert_eq!(cpu_seconds(stat), Some(3.8));
        for invalid in ["", "42 (name", "42 (name) S 1 2", "42 (name) S 1 2 3 4 5 6 7 8 9 10 x y"] {
            assert_eq!(cpu_seconds(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("Name:\toperator\nVmRSS:\t    2048 kB\nThreads:\t4\n"), Some(2_097_152.0));
        for invalid in ["", "VmRSS:\t", "VmRSS:\t12", "VmHWM:\t12 kB"] {
            assert_eq!(resident_bytes(invalid), None, "{invalid}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_scrape_has_every_process_metric() {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for Described { name, .. } in ProcessCollector::described() {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            assert!(value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().unwrap() >= 0.0, "{text}");
        }
    }
}
