//! Installs the SDKs into the cache. The package client of each language installs the pinned versions.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use live_message_operator::live::signature::sha256_hex;

use super::cache;
use super::scenario::folder;
use super::support::{Context as _, Error, Result, Scratch};

/// The minimum version of each language.
const PYTHON: (u32, u32) = (3, 11);
const NODE: (u32, u32) = (20, 0);
const GO: (u32, u32) = (1, 26);
const JAVA: (u32, u32) = (17, 0);
/// The toolchain that Go downloads if the installed version is older than the minimum version.
const GO_TOOLCHAIN: &str = "go1.26.8";

/// Installs the Python product SDK and returns its interpreter.
pub fn python() -> Result<PathBuf> {
    let hint = "the Python SDK needs Python 3.11 or later with its venv module: install python3 and python3-venv";
    let interpreter = output_of("python3", &["-c", "import sys; print(sys.version, sys.executable)"], hint)?;
    require_version("python3", &interpreter, PYTHON, hint)?;
    let files = ["build.txt", "requirements.txt"].map(|name| folder().join("python").join(name));
    let installed = cache::folder("python", &files, &interpreter, |into| {
        let log = Scratch::new("sdk-python")?;
        let log = log.join("log");
        let venv = [OsString::from("-m"), "venv".into(), into.into()];
        cache::run_step("creating a Python environment", Path::new("python3"), &venv, &[], &log).context(hint)?;
        // Packages without a wheel are built with pinned build tools.
        for (file, what) in files.iter().zip(["installing the Python build tools", "installing the Python SDK"]) {
            let install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes"];
            let mut args = install.map(OsString::from).to_vec();
            args.extend(["--no-deps".into(), "--no-build-isolation".into(), "--requirement".into(), file.into()]);
            cache::run_step(what, &into.join("bin/python"), &args, &[], &log)?;
        }
        Ok(())
    })?;
    Ok(installed.join("bin/python"))
}

/// Builds the runner of the Go product SDK and returns its path.
pub fn go() -> Result<PathBuf> {
    let hint = "the Go SDK needs Go 1.26 or later: install it (https://go.dev/dl)";
    let source = folder().join("go");
    // If the installed Go is older than the minimum version, it downloads the pinned toolchain as a Go module.
    let local = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/").output();
    let local = String::from_utf8(local.map_err(|_| Error::new(format!("go is missing: {hint}")))?.stdout)?;
    let toolchain = if version(&local).is_some_and(|found| found >= GO) { "local" } else { GO_TOOLCHAIN };
    let files = ["go.mod", "go.sum", "main.go", "sdk.go"].map(|name| source.join(name));
    let installed = cache::folder("go", &files, &format!("{local}{}", std::env::consts::ARCH), |into| {
        let env = [("GOTOOLCHAIN", toolchain), ("CGO_ENABLED", "0"), ("GOWORK", "off")];
        let env = env.map(|(name, value)| (name, OsString::from(value)));
        // Go requires `-C` to be the first flag.
        let mut args = vec![OsString::from("build"), "-C".into(), source.clone().into()];
        args.extend(["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"].map(OsString::from));
        args.extend([into.join("runner").into(), ".".into()]);
        let log = Scratch::new("sdk-go")?;
        cache::run_step("compiling the Go SDK, about 1 min", Path::new("go"), &args, &env, &log.join("log"))
            .context(hint)
    })?;
    Ok(installed.join("runner"))
}

/// Installs both Node packages and returns their `node_modules` folder.
pub fn node() -> Result<PathBuf> {
    let hint = "the Node SDKs need Node 20 or later with npm: install nodejs and npm";
    require_version("node", &output_of("node", &["--version"], hint)?, NODE, hint)?;
    output_of("npm", &["--version"], hint)?;
    let names = ["package.json", "package-lock.json", ".npmrc"];
    let files = names.map(|name| folder().join("node").join(name));
    let installed = cache::folder("node", &files, "", |into| {
        for (file, name) in files.iter().zip(names) {
            fs::copy(file, into.join(name)).context(file.display())?;
        }
        let mut args = vec![OsString::from("ci"), "--prefix".into(), into.into()];
        args.extend(["--ignore-scripts", "--no-audit", "--no-fund"].map(OsString::from));
        let log = Scratch::new("sdk-node")?;
        cache::run_step("installing the Node SDKs, about 10 s", Path::new("npm"), &args, &[], &log.join("log"))
    })?;
    Ok(installed.join("node_modules"))
}

/// Installs the classic Java product SDK, compiles its runner and returns the class path.
pub fn java() -> Result<OsString> {
    let hint = "the Java SDK needs a JDK 17 or later and Maven: install default-jdk-headless and maven";
    for program in ["java", "javac"] {
        require_version(program, &output_of(program, &["--version"], hint)?, JAVA, hint)?;
    }
    output_of("mvn", &["--version"], hint)?;
    let files = ["pom.xml", "sha256.txt", "Main.java", "Sdk.java"].map(|name| folder().join("java").join(name));
    let [pom, sums, main, sdk] = &files;
    let installed = cache::folder("java", &files, "", |into| {
        let (jars, log) = (into.join("jars"), Scratch::new("sdk-java")?);
        // Maven runs on a copy, so that it writes nothing to the work tree.
        fs::copy(pom, into.join("pom.xml")).context(pom.display())?;
        let mut args = vec![OsString::from("--file"), into.join("pom.xml").into()];
        args.extend(["--batch-mode", "--no-transfer-progress", "dependency:copy-dependencies"].map(OsString::from));
        args.push([OsStr::new("-DoutputDirectory="), jars.as_os_str()].into_iter().collect());
        cache::run_step("installing the Java SDK, about 1 min", Path::new("mvn"), &args, &[], &log.join("maven"))?;
        require_files(&jars, &fs::read_to_string(sums).context(sums.display())?).context(sums.display())?;
        let mut args = ["--release", "17", "-encoding", "UTF-8", "-cp"].map(OsString::from).to_vec();
        args.extend([jars.join("*").into(), "-d".into(), into.join("classes").into(), main.into(), sdk.into()]);
        cache::run_step("compiling the runner of the Java SDK", Path::new("javac"), &args, &[], &log.join("javac"))
    })?;
    std::env::join_paths([installed.join("classes"), installed.join("jars/*")]).context("the path of the cache")
}

/// Checks that a folder contains exactly the files in `sums`, a list in the format of `sha256sum`. This check is
/// required because Maven pins the versions of the files, but not their content.
fn require_files(folder: &Path, sums: &str) -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.insert(format!("{}  {name}", sha256_hex(&fs::read(&path).context(path.display())?)));
    }
    let expected: BTreeSet<String> = sums.lines().map(str::to_owned).collect();
    let problems: Vec<String> = (expected.difference(&found).map(|line| format!("missing: {line}")))
        .chain(found.difference(&expected).map(|line| format!("unexpected: {line}")))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let advice = "after a change to pom.xml, replace the missing lines with the unexpected ones; otherwise, do not trust the download";
    Err(Error::new(format!("the checksums of the jars do not match: {advice}\n{}", problems.join("\n"))))
}

/// Runs a program and returns its stdout. If this fails, the error contains `hint`.
fn output_of(program: &str, args: &[&str], hint: &str) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| Error::new(format!("cannot start {program} ({error}): {hint}")))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{program} {} failed: {hint}\n{stderr}", args.join(" "))));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn require_version(program: &str, output: &str, minimum: (u32, u32), hint: &str) -> Result<()> {
    match version(output) {
        Some(found) if found >= minimum => Ok(()),
        _ => Err(Error::new(format!("{program} is too old ({}): {hint}", output.trim()))),
    }
}

/// Parses the first two numbers of outputs such as `3.11.7 (main…`, `v20.20.2`, `go1.26.8` and `javac 21`.
fn version(output: &str) -> Option<(u32, u32)> {
    let digits = output.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[test]
fn versions_parse_from_program_output() {
    assert_eq!(version("3.11.7 (main, Jan 1 2026) [GCC] /usr/bin/python3"), Some((3, 11)));
    assert_eq!(version("v20.20.2\n"), Some((20, 20)));
    assert_eq!(version("go1.26.8\n"), Some((1, 26)));
    assert_eq!(version("javac 21\n"), Some((21, 0)));
    assert_eq!(version("devel"), None);
    assert!(require_version("node", "v18.19.1", NODE, "install it").is_err());
}

#[test]
fn installed_files_must_match_their_sums() -> Result<()> {
    let dir = Scratch::new("sdk-sums")?;
    dir.write("a.jar", "content")?;
    let sum = |content: &str, name| format!("{}  {name}\n", sha256_hex(content.as_bytes()));
    require_files(dir.path(), &sum("content", "a.jar"))?;
    let changed = require_files(dir.path(), &sum("other", "a.jar")).expect_err("the content differs").to_string();
    assert!(changed.contains("missing: ") && changed.contains("unexpected: "), "{changed}");
    require_files(dir.path(), "").expect_err("a file without a sum");
    require_files(dir.path(), &(sum("content", "a.jar") + &sum("", "b.jar"))).expect_err("a sum without a file");
    Ok(())
}
