//! Runs kubectl against an explicitly selected cluster, never against the developer's current context.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::{Context as _, Error, Result};

/// The kubectl program and its cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    target: Target,
}

#[derive(Clone, Debug)]
enum Target {
    /// A kubeconfig of the test environment. The developer's settings have no effect.
    Kubeconfig(PathBuf),
    /// A context of the user's kubeconfig. kubectl inherits the environment, because credential plugins may need it.
    Context(String),
}

impl Kubectl {
    /// Uses a kubeconfig. kubectl keeps its caches in the directory of the kubeconfig.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, target: Target::Kubeconfig(kubeconfig) }
    }

    /// Uses a context of the user's kubeconfig.
    pub fn for_context(program: PathBuf, context: &str) -> Self {
        Self { program, target: Target::Context(context.to_owned()) }
    }

    /// Returns the same program with another kubeconfig.
    pub fn with_kubeconfig(&self, kubeconfig: PathBuf) -> Self {
        Self::new(self.program.clone(), kubeconfig)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs kubectl and returns its stdout. The error contains stdout and stderr.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "")
    }

    /// Like [`run`](Self::run), but with `input` on stdin.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.output(args, input)?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("kubectl {}: {}\n{stdout}{stderr}", args.join(" "), output.status)))
    }

    /// Runs kubectl, expects it to fail, and returns its stderr.
    pub fn refused(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.output(args, input)?;
        if output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            return Err(Error::new(format!("kubectl {} did not fail:\n{stdout}", args.join(" "))));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs kubectl and returns its output, even if it fails.
    pub fn output(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.program);
        match &self.target {
            Target::Kubeconfig(path) => {
                let home = path.parent().unwrap_or(Path::new("/"));
                command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
                command.arg("--kubeconfig").arg(path);
            }
            Target::Context(context) => {
                command.arg("--context").arg(context);
            }
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(self.program.display())?;
        let mut stdin = child.stdin.take().context("kubectl has no stdin")?;
        // Write the input on a separate thread, because kubectl may fill its output pipes before it has read all of the
        // input. Ignore a failed write, because kubectl may exit without reading its input.
        let input = input.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output()?;
        let _ = writer.join();
        Ok(output)
    }
}
