//! Measures memory, CPU time, startup time and scrape time of a running process.

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

/// Reads the CPU time of a process from `/proc/PID/stat`, in seconds, with a resolution of 10 ms.
pub fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).context(&path)?;
    // The program name can contain spaces and parentheses. The last closing parenthesis marks its end.
    let (_, fields) = stat.rsplit_once(')').context(format_args!("{path}: {stat}"))?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context(&path)?.parse::<f64>()?) };
    // The unit is USER_HZ, which is 100 on Linux.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Reads the CPU time of a process's threads from `/proc/PID/task/*/schedstat`, in seconds. The value has nanosecond
/// resolution, but does not include threads that have exited.
pub fn precise_cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/task");
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(&path).context(&path)? {
        let path = thread?.path().join("schedstat");
        // A thread can exit after the directory is read.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let time = text.split_whitespace().next().context(path.display())?;
        nanoseconds += time.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// Waits until a process uses at most 1% of a core during an interval of two seconds.
pub async fn quiet(pid: u32, timeout: Duration) -> Result<()> {
    let end = Instant::now() + timeout;
    let mut before = cpu(pid)?;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = cpu(pid)?;
        if now - before < 0.025 {
            return Ok(());
        }
        before = now;
    }
    Err(Error::new(format!("the operator is still busy after {} s", timeout.as_secs())))
}

/// Polls `/readyz` every 5 ms and returns the time from `begin` to the first response with status 200.
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

/// Returns the largest number of calls that arrived within one second. `times` contains the arrival times in seconds,
/// in any order.
pub fn busiest_second(times: &[f64]) -> usize {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let within = |(index, time): (usize, &f64)| times[index..].iter().take_while(|later| **later < time + 1.0).count();
    times.iter().enumerate().map(within).max().unwrap_or_default()
}

/// Returns the percentile of the values for `share` (0 to 1), or 0 if there are no values.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Returns the median of the values, or 0 if there are no values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
