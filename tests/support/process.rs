//! Child processes with a log file and signals, stopped when dropped and at the end of the test run.

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

/// A running program; SIGKILL when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts a program with nothing on stdin, both outputs in `log` (appended), and no more environment than given,
    /// `PATH` and `HOME` (the log's folder): nothing of the developer's own settings or credentials gets in.
    pub fn spawn<A: AsRef<OsStr>>(program: &Path, args: &[A], env: &[(&str, OsString)], log: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log).context(log.display())?;
        let home = log.parent().unwrap_or(Path::new("/"));
        // The program starts only once the guardian knows its number: no moment in which a kill leaves an orphan.
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, stdout and stderr together.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log, with a heading: for error messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
        format!("--- the end of {}'s log\n{tail}\n---", self.name)
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                guardian::reaped(self.pid())?;
            }
        }
        Ok(self.status)
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_for(&format!("{name} to end"), timeout, || self.exited())
    }

    /// Asks it to end, as Kubernetes does.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Kills it and waits until it is gone.
    pub fn sigkill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        self.wait(Duration::from_secs(30)).map(drop)
    }

    /// Freezes it: its connections stay open and nobody answers.
    pub fn sigstop(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// Thaws it.
    pub fn sigcont(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&mut self, signal: &str) -> Result<()> {
        if let Some(status) = self.exited()? {
            return Err(Error::new(format!("{} has ended already: {status}\n{}", self.name, self.log_tail())));
        }
        // The shell's own kill: a program of that name is not everywhere.
        let pid = self.pid().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &pid]).status()?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("cannot send SIG{signal} to {}", self.name))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Best effort: whatever fails here is left to the guardian.
            let _ = self.child.kill();
            if self.child.wait().is_ok() {
                let _ = guardian::reaped(self.pid());
            }
        }
    }
}

/// Asks ten times a second until there is an answer; the error says what was waited for.
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(Error::new(format!("waited {} s for {what}, in vain", timeout.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
