//! Stops child processes and removes their directories when the test process ends, even if it is killed with SIGKILL.
//!
//! The guardian is a shell that reads from a pipe. The kernel closes the pipe when this process ends.
//! `PR_SET_PDEATHSIG` is not suitable: it requires unsafe code, and it kills the child when the *thread* that started
//! it ends, which is before the end of the test run.

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::error::{Context as _, Error, Result};

/// Registers a child process. The guardian kills it when this process ends, unless [`reaped`] is called first.
pub fn child(pid: u32) -> Result<()> {
    send("child", pid)
}

/// Unregisters a child that has exited, because another process may reuse its ID.
pub fn reaped(pid: u32) -> Result<()> {
    send("reaped", pid)
}

/// Registers a directory. If it still exists when this process ends, the guardian removes it.
pub fn folder(path: &Path) -> Result<()> {
    send("folder", path.display())
}

fn send(verb: &str, what: impl Display) -> Result<()> {
    static GUARDIAN: OnceLock<Result<Mutex<ChildStdin>, String>> = OnceLock::new();
    let stdin = GUARDIAN.get_or_init(|| start().map_err(|error| error.to_string()));
    let mut stdin = stdin.as_ref().map_err(Error::new)?.lock().unwrap_or_else(PoisonError::into_inner);
    // Write each line in one piece. Otherwise, if the test run is killed between two writes, the guardian could read a
    // part of a process ID and kill the wrong process.
    stdin.write_all(format!("{verb} {what}\n").as_bytes()).context("the guardian of the child processes has exited")
}

fn start() -> Result<Mutex<ChildStdin>> {
    let mut guardian = Command::new("sh")
        .args(["-c", include_str!("guardian.sh"), "guardian"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // The guardian has its own process group, so that Ctrl-C in the terminal does not reach it. It exits when the
        // pipe is closed.
        .process_group(0)
        .spawn()
        .context("cannot start sh, which stops the child processes at the end")?;
    let stdin = guardian.stdin.take().context("the guardian has no stdin")?;
    Ok(Mutex::new(stdin))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::wait_for;
    use super::*;

    /// Closes the pipe to the guardian, as the kernel does when the test run is killed.
    #[test]
    fn closed_pipe_stops_children_and_removes_directories() -> Result<()> {
        let sleep = || Command::new("sleep").arg("600").process_group(0).spawn();
        let (mut named, mut reaped) = (sleep()?, sleep()?);
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("a folder"))?;

        let guardian = start()?;
        let lines =
            [format!("child {}", named.id()), format!("child {}", reaped.id()), format!("reaped {}", reaped.id())];
        let mut stdin = guardian.into_inner()?;
        for line in lines.iter().chain([&format!("folder {}/a folder", folder.path().display())]) {
            writeln!(stdin, "{line}")?;
        }
        drop(stdin);

        wait_for("the child to be killed", Duration::from_secs(60), || Ok(named.try_wait()?))?;
        let there = || std::fs::exists(folder.path().join("a folder"));
        wait_for("the directory to be removed", Duration::from_secs(60), || Ok((!there()?).then_some(())))?;
        assert!(reaped.try_wait()?.is_none(), "a reaped process was killed");
        reaped.kill()?;
        reaped.wait()?;
        Ok(())
    }
}
