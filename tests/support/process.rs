//! Runs child processes, writes their output to log files, and sends signals to them. A child process is killed when
//! its [`Process`] is dropped, and at the latest when the test run ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context as _, Error, Result};
use super::guardian;

/// A running program. It is killed with SIGKILL when this value is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts a program with an empty stdin, and appends its output to `log`. Its environment contains only `env`,
    /// `PATH` and `HOME` (the directory of the log), so that the developer's settings and credentials have no effect.
    pub fn spawn<A: AsRef<OsStr>>(program: &Path, args: &[A], env: &[(&str, OsString)], log: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log).context(log.display())?;
        let home = log.parent().unwrap_or(Path::new("/"));
        // The shell waits for a line on stdin and then replaces itself with the program. The line is sent after the
        // process ID is registered with the guardian. Otherwise, if the test run were killed before the registration,
        // the program would keep running.
        let mut child = Command::new("sh")
            .args(["-c", r#"read -r _ && exec "$@" </dev/null"#, "sh"])
            .arg(program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context(format_args!("cannot start {name}"))?;
        let stdin = child.stdin.take();
        let process = Self { name, child, status: None, log: log.to_owned() };
        guardian::child(process.pid())?;
        stdin
            .context("a child without stdin")?
            .write_all(b"go\n")
            .context(format_args!("cannot start {}", process.name))?;
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the combined stdout and stderr so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Returns the last lines of the log with a heading, for error messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
        format!("--- end of the log of {}\n{tail}\n---", self.name)
    }

    /// Returns the exit status, or `None` if the process has not exited.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                guardian::reaped(self.pid())?;
            }
        }
        Ok(self.status)
    }

    /// Waits until the process exits.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_for(&format!("{name} to exit"), timeout, || self.exited())
    }

    /// Sends SIGTERM, as Kubernetes does before it kills a container.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Sends SIGKILL and waits until the process has exited.
    pub fn sigkill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        self.wait(Duration::from_secs(30)).map(drop)
    }

    /// Suspends the process. Its connections stay open, but it does not respond.
    pub fn sigstop(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// Resumes the process.
    pub fn sigcont(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&mut self, signal: &str) -> Result<()> {
        if let Some(status) = self.exited()? {
            return Err(Error::new(format!("{} has already exited: {status}\n{}", self.name, self.log_tail())));
        }
        // Use the builtin `kill` of the shell, because not every system has a program with this name.
        let pid = self.pid().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &pid]).status()?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("cannot send SIG{signal} to {}", self.name))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Ignore an error, because the guardian also kills the process when the test run ends.
            let _ = self.child.kill();
            if self.child.wait().is_ok() {
                let _ = guardian::reaped(self.pid());
            }
        }
    }
}

/// Calls `ask` ten times per second until it returns a value or an error. The timeout error contains `what`.
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(Error::new(format!("timed out after {} s waiting for {what}", timeout.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
