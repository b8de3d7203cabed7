//! A cache of SDK installations outside the work tree. The name of each folder is a hash of the inputs of the
//! installation.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use live_message_operator::live::signature::sha256_hex;

use super::support::{Context as _, Error, Process, Result};

/// The time between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);
/// The timeout of one installation step.
const STEP_TIMEOUT: Duration = Duration::from_secs(900);

/// Prints a line to stderr. Does not use `eprintln!`, because the test harness shows its output only if the test fails.
pub fn print_progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Returns the cached folder that `kind`, the content of `files` and `extra` identify. If the folder does not exist,
/// calls `fill` to create its content.
pub fn folder(kind: &str, files: &[PathBuf], extra: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let mut content = Vec::from(extra);
    for file in files {
        content.extend(fs::read(file).context(file.display())?);
    }
    let parent = cache_root()?.join("sdk").join(kind);
    fs::create_dir_all(&parent).context(parent.display())?;
    let folder = parent.join(&sha256_hex(&content)[..16]);
    if folder.is_dir() {
        return Ok(folder);
    }
    // The lock is required because tests of two SDKs share a folder, and because test runs can overlap.
    let _lock = lock(&folder.with_extension("lock"), kind)?;
    if !folder.is_dir() {
        // A killed test run leaves a partial folder. The rename ensures that the final folder is either complete or
        // absent.
        let partial = folder.with_extension("unfinished");
        if partial.exists() {
            fs::remove_dir_all(&partial).context(partial.display())?;
        }
        fs::create_dir(&partial).context(partial.display())?;
        fill(&partial)?;
        fs::rename(&partial, &folder).context(folder.display())?;
    }
    Ok(folder)
}

/// Returns the cache directory. `tests/tools/build` uses the same directory.
fn cache_root() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("LMO_CACHE_DIR")
        .or_else(|| Some(base()?.join("live-message-operator")))
        .context("the cache directory is unknown: set LMO_CACHE_DIR or HOME")
}

fn lock(path: &Path, kind: &str) -> Result<File> {
    let file = File::create(path).context(path.display())?;
    let mut last_message = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context(path.display()),
            Err(TryLockError::WouldBlock) => {}
        }
        if last_message.elapsed() >= PROGRESS_INTERVAL {
            last_message = Instant::now();
            print_progress(&format!("waiting for another test run to install the {kind} SDK"));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Runs an installation step and prints its progress. The step inherits all environment variables, so that the package
/// client uses the developer's settings.
pub fn run_step<A: AsRef<OsStr>>(
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
    print_progress(&format!("{what} (once per machine)"));
    let mut process = Process::spawn(program, args, &all, log)?;
    let (started, mut last_message) = (Instant::now(), Instant::now());
    loop {
        match process.exited()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Error::new(format!("{what} failed: {status}\n{}", process.log_tail()))),
            None if started.elapsed() > STEP_TIMEOUT => {
                let seconds = STEP_TIMEOUT.as_secs();
                return Err(Error::new(format!("{what} timed out after {seconds} s\n{}", process.log_tail())));
            }
            None => {}
        }
        if last_message.elapsed() >= PROGRESS_INTERVAL {
            last_message = Instant::now();
            print_progress(&format!("{what}: {} s", started.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
