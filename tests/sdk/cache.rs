//! What is made once per machine: a folder outside the work tree, named after what it was made of.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use live_message_operator::live::signature::sha256_hex;

use super::support::{Context as _, Error, Process, Result};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(15);
/// The most that one installation may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// A line on the real stderr: seen at once, also where the test's own output is kept until it fails.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The folder `kind` made of these files and of `also`; `make` fills it when there is none yet.
pub fn folder(kind: &str, files: &[PathBuf], also: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let mut content = Vec::from(also);
    for file in files {
        content.extend(fs::read(file).context(file.display())?);
    }
    let parent = root()?.join("sdk").join(kind);
    fs::create_dir_all(&parent).context(parent.display())?;
    let folder = parent.join(&sha256_hex(&content)[..16]);
    if folder.is_dir() {
        return Ok(folder);
    }
    // One at a time: the tests of two SDKs share a folder, and two test runs may share a machine.
    let _lock = lock(&folder.with_extension("lock"), kind)?;
    if !folder.is_dir() {
        // Left over where a test run was killed. The rename makes the folder whole or absent.
        let unfinished = folder.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context(unfinished.display())?;
        }
        fs::create_dir(&unfinished).context(unfinished.display())?;
        make(&unfinished)?;
        fs::rename(&unfinished, &folder).context(folder.display())?;
    }
    Ok(folder)
}

/// As in `tests/tools/build`.
fn root() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("LMO_CACHE_DIR")
        .or_else(|| Some(base()?.join("live-message-operator")))
        .context("no place for what is installed once: set LMO_CACHE_DIR or HOME")
}

fn lock(path: &Path, kind: &str) -> Result<File> {
    let file = File::create(path).context(path.display())?;
    let mut said = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context(path.display()),
            Err(TryLockError::WouldBlock) => {}
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("waiting for another run that installs the {kind} SDK"));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Runs a step of an installation, with the developer's own settings for package clients, and tells how far it is.
pub fn run<A: AsRef<OsStr>>(
    what: &str,
    program: &Path,
    args: &[A],
    env: &[(&str, OsString)],
    log: &Path,
) -> Result<()> {
    let inherited: Vec<(String, OsString)> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let mut all: Vec<(&str, OsString)> = inherited.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    all.extend(env.iter().cloned());
    say(&format!("{what} (once per machine)"));
    let mut process = Process::spawn(program, args, &all, log)?;
    let (started, mut said) = (Instant::now(), Instant::now());
    loop {
        match process.exited()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Error::new(format!("{what} failed: {status}\n{}", process.log_tail()))),
            None if started.elapsed() > PATIENCE => {
                let seconds = PATIENCE.as_secs();
                return Err(Error::new(format!("{what}: no end after {seconds} s\n{}", process.log_tail())));
            }
            None => {}
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("{what}: {} s", started.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
