//! How each SDK is installed: by its lock file, with the language's own client, into the cache.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache;
use super::scenario::folder;
use super::support::{Context as _, Error, Result, Scratch};

/// The oldest versions that do, and the Go that Go gets by itself where it is older.
const PYTHON: (u32, u32) = (3, 11);
const NODE: (u32, u32) = (20, 0);
const GO: (u32, u32) = (1, 26);
const GO_TOOLCHAIN: &str = "go1.26.8";

/// A Python with the product SDK.
pub fn python() -> Result<PathBuf> {
    let needs = "the Python SDK needs Python 3.11 or later with its venv module: install python3 and python3-venv";
    let interpreter = text("python3", &["-c", "import sys; print(sys.version, sys.executable)"], needs)?;
    at_least("python3", &interpreter, PYTHON, needs)?;
    let files = ["build.txt", "requirements.txt"].map(|name| folder().join("python").join(name));
    let made = cache::folder("python", &files, &interpreter, |into| {
        let log = Scratch::new("sdk-python")?;
        let log = log.join("log");
        let venv = [OsString::from("-m"), "venv".into(), into.into()];
        cache::run("making a Python environment", Path::new("python3"), &venv, &[], &log).context(needs)?;
        // Some packages have no wheel. They are built with what is pinned, not with what is newest today.
        for (file, what) in files.iter().zip(["installing what builds Python packages", "installing the Python SDK"]) {
            let install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes"];
            let mut args = install.map(OsString::from).to_vec();
            args.extend(["--no-deps".into(), "--no-build-isolation".into(), "--requirement".into(), file.into()]);
            cache::run(what, &into.join("bin/python"), &args, &[], &log)?;
        }
        Ok(())
    })?;
    Ok(made.join("bin/python"))
}

/// The runner of the Go product SDK.
pub fn go() -> Result<PathBuf> {
    let needs = "the Go SDK needs Go 1.26 or later: install it (https://go.dev/dl)";
    let source = folder().join("go");
    // A Go of before 1.26 gets the one of that version by itself, as a module.
    let local = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/").output();
    let local = String::from_utf8(local.map_err(|_| Error::new(format!("go is missing: {needs}")))?.stdout)?;
    let toolchain = if version(&local).is_some_and(|found| found >= GO) { "local" } else { GO_TOOLCHAIN };
    let files = ["go.mod", "go.sum", "main.go", "sdk.go"].map(|name| source.join(name));
    let made = cache::folder("go", &files, &format!("{local}{}", std::env::consts::ARCH), |into| {
        let env = [("GOTOOLCHAIN", toolchain), ("CGO_ENABLED", "0"), ("GOWORK", "off")];
        let env = env.map(|(name, value)| (name, OsString::from(value)));
        // -C must be the first of its flags.
        let mut args = vec![OsString::from("build"), "-C".into(), source.clone().into()];
        args.extend(["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"].map(OsString::from));
        args.extend([into.join("runner").into(), ".".into()]);
        let log = Scratch::new("sdk-go")?;
        cache::run("compiling the Go SDK, about 1 min", Path::new("go"), &args, &env, &log.join("log")).context(needs)
    })?;
    Ok(made.join("runner"))
}

/// The folder `node_modules` with both Node packages.
pub fn node() -> Result<PathBuf> {
    let needs = "the Node SDKs need Node 20 or later with npm: install nodejs and npm";
    at_least("node", &text("node", &["--version"], needs)?, NODE, needs)?;
    text("npm", &["--version"], needs)?;
    let names = ["package.json", "package-lock.json", ".npmrc"];
    let files = names.map(|name| folder().join("node").join(name));
    let made = cache::folder("node", &files, "", |into| {
        for (file, name) in files.iter().zip(names) {
            fs::copy(file, into.join(name)).context(file.display())?;
        }
        let mut args = vec![OsString::from("ci"), "--prefix".into(), into.into()];
        args.extend(["--ignore-scripts", "--no-audit", "--no-fund"].map(OsString::from));
        let log = Scratch::new("sdk-node")?;
        cache::run("installing the Node SDKs, about 10 s", Path::new("npm"), &args, &[], &log.join("log"))
    })?;
    Ok(made.join("node_modules"))
}

/// What a program prints; what to install when there is none.
fn text(program: &str, args: &[&str], needs: &str) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| Error::new(format!("cannot start {program} ({error}): {needs}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(format!("{program} {} failed: {needs}\n{said}", args.join(" "))));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn at_least(program: &str, said: &str, least: (u32, u32), needs: &str) -> Result<()> {
    match version(said) {
        Some(found) if found >= least => Ok(()),
        _ => Err(Error::new(format!("{program} is too old ({}): {needs}", said.trim()))),
    }
}

/// The first two numbers of `3.11.7 (main…`, `v20.20.2`, `go1.26.8`.
fn version(said: &str) -> Option<(u32, u32)> {
    let digits = said.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[test]
fn versions_are_read_as_the_programs_print_them() {
    assert_eq!(version("3.11.7 (main, Jan 1 2026) [GCC] /usr/bin/python3"), Some((3, 11)));
    assert_eq!(version("v20.20.2\n"), Some((20, 20)));
    assert_eq!(version("go1.26.8\n"), Some((1, 26)));
    assert_eq!(version("devel"), None);
    assert!(at_least("node", "v18.19.1", NODE, "install it").is_err());
}
