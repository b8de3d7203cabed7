//! Children die with their parent, also when it is killed with -9, and their folders go with them.
//!
//! `PR_SET_PDEATHSIG` would need unsafe code and fires when the *thread* ends that started the child, which in a test run
//! is long before the end. A small shell with a pipe to this process does the same and works wherever there is a `sh`.

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::error::{Context as _, Error, Result};

/// To be killed at the end of this process, until [`reaped`].
pub fn child(pid: u32) -> Result<()> {
    tell("child", pid)
}

/// This child has been waited for: its number may belong to somebody else from now on.
pub fn reaped(pid: u32) -> Result<()> {
    tell("reaped", pid)
}

/// To be removed at the end of this process; nothing happens when it is gone by then.
pub fn folder(path: &Path) -> Result<()> {
    tell("folder", path.display())
}

fn tell(verb: &str, what: impl Display) -> Result<()> {
    static GUARDIAN: OnceLock<Result<Mutex<ChildStdin>, String>> = OnceLock::new();
    let stdin = GUARDIAN.get_or_init(|| start().map_err(|error| error.to_string()));
    let mut stdin = stdin.as_ref().map_err(Error::new)?.lock().unwrap_or_else(PoisonError::into_inner);
    // One write per line: half a line, from a process killed in between, would name the wrong child.
    stdin.write_all(format!("{verb} {what}\n").as_bytes()).context("the guardian of the test's children is gone")
}

fn start() -> Result<Mutex<ChildStdin>> {
    let mut guardian = Command::new("sh")
        .args(["-c", include_str!("guardian.sh"), "guardian"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of the terminal's Ctrl-C, which is for the test run; its end reaches the guardian by the pipe.
        .process_group(0)
        .spawn()
        .context("cannot start sh, which stops the test's children at the end")?;
    let stdin = guardian.stdin.take().context("the guardian has no stdin")?;
    Ok(Mutex::new(stdin))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::wait_for;
    use super::*;

    /// What the kernel does to the pipe when the test run is killed with -9.
    #[test]
    fn when_the_pipe_closes_children_and_folders_go_but_not_reaped_ones() -> Result<()> {
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
        wait_for("the folder to go", Duration::from_secs(60), || Ok((!there()?).then_some(())))?;
        assert!(reaped.try_wait()?.is_none(), "a number that was given back must not be killed");
        reaped.kill()?;
        reaped.wait()?;
        Ok(())
    }
}
