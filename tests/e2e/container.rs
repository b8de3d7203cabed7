//! Finds the process and the cgroup of the operator's container, to kill the process or to lower the memory limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Pod;
use crate::support::{Context as _, Error, Result};

/// The names of the files that contain the memory usage and the memory limit, and the statistic of cached file pages that
/// the kernel can free, in cgroup v1 and cgroup v2.
const MEMORY: [(&str, &str, &str); 2] = [
    ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
    ("memory.current", "memory.max", "inactive_file"),
];
/// The memory that the container can still use after its limit is lowered.
const MARGIN: u64 = 512 * 1024;

/// The operator's container in a pod.
pub struct Container {
    cgroup: PathBuf,
    process: u32,
}

impl Container {
    /// Finds the pod's cgroup, whose name contains the UID of the pod. The pod also has a second container for its
    /// network, so this function identifies the operator's container by the executable of the container's process.
    pub fn of(pod: &Pod) -> Result<Self> {
        let roots = [Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup")];
        let root = roots.into_iter().find(|root| root.exists()).context("no cgroups")?;
        let directory = find(root, &format!("pod{}", pod.uid), 5).context(format_args!("no cgroup of {}", pod.name))?;
        for cgroup in fs::read_dir(&directory)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            for process in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines() {
                let program = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
                if program.ends_with("live-message-operator") {
                    return Ok(Self { cgroup, process: process.parse()? });
                }
            }
        }
        Err(Error::new(format!("no process of {} in {}", pod.name, directory.display())))
    }

    pub fn kill(&self) -> Result<()> {
        let status = Command::new("kill").args(["-KILL", &self.process.to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("kill {}: {status}", self.process))) }
    }

    /// Lowers the memory limit to slightly more than the container's working set. As in the kubelet, this is the memory
    /// usage without the file pages that the kernel can free.
    pub fn limit_memory(&self) -> Result<()> {
        let (used, limit, cached) =
            MEMORY.into_iter().find(|(used, ..)| self.cgroup.join(used).exists()).context("no memory cgroup")?;
        let used: u64 = fs::read_to_string(self.cgroup.join(used))?.trim().parse()?;
        let statistics = fs::read_to_string(self.cgroup.join("memory.stat"))?;
        let cached = statistics.lines().find_map(|line| line.strip_prefix(cached)?.strip_prefix(' '));
        let cached: u64 = cached.context("no statistic of cached pages")?.parse()?;
        let path = self.cgroup.join(limit);
        fs::write(&path, (used.saturating_sub(cached) + MARGIN).to_string()).context(path.display())
    }
}

/// Finds a directory by its name, at most `depth` levels below `directory`.
fn find(directory: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let children = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let children: Vec<PathBuf> = children.collect();
    let found = children.iter().find(|path| path.file_name().is_some_and(|file| file == name)).cloned();
    found.or_else(|| (depth > 0).then(|| children.iter().find_map(|child| find(child, name, depth - 1)))?)
}
