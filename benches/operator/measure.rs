//! Measures memory, startup time and scrape time of a running operator.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Context as _, Error, Result};

/// The memory usage of a process, in MiB.
pub struct Memory {
    /// The current resident memory.
    pub resident: f64,
    /// The peak resident memory.
    pub peak: f64,
}

/// Reads the memory usage of a process from `/proc/PID/status`.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).context(&path)?;
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context(format!("{path} has no {name}"))?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok::<_, Error>(kibibytes / 1024.0)
    };
    Ok(Memory { resident: mebibytes("VmRSS:")?, peak: mebibytes("VmHWM:")? })
}

/// Polls `/readyz` every 5 ms and returns the time from `begin` to the first 200.
pub fn ready(probes: &str, begin: Instant) -> Result<Duration> {
    while !get(probes, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        if begin.elapsed() > Duration::from_secs(120) {
            return Err(Error::new("the operator is not ready after 120 s"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begin.elapsed())
}

/// Scrapes `/metrics` several times and returns the median duration in seconds.
pub fn scrape(probes: &str) -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        let answer = get(probes, "/metrics")?;
        seconds.push(begin.elapsed().as_secs_f64());
        if !answer.contains("live_message_operator_groups{") {
            return Err(Error::new(format!("the scrape contains no objects:\n{answer}")));
        }
    }
    Ok(median(&mut seconds))
}

fn get(probes: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(probes.trim_start_matches("http://"))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: probes\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The median of the values, or 0 if there are none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
