//! kubectl, always against a cluster that was named, never against the developer's current one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::{Context as _, Error, Result};

/// A kubectl and the cluster it talks to.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    target: Target,
}

#[derive(Clone, Debug)]
enum Target {
    /// A kubeconfig of ours; nothing else of the environment counts.
    Kubeconfig(PathBuf),
    /// A context of the user's kubeconfig, whose login programs may need the user's environment.
    Context(String),
}

impl Kubectl {
    /// Against the cluster of this kubeconfig; kubectl's caches go beside it.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, target: Target::Kubeconfig(kubeconfig) }
    }

    /// Against a context of the user's own kubeconfig.
    pub fn for_context(program: PathBuf, context: &str) -> Self {
        Self { program, target: Target::Context(context.to_owned()) }
    }

    /// The same kubectl as somebody else.
    pub fn with_kubeconfig(&self, kubeconfig: PathBuf) -> Self {
        Self::new(self.program.clone(), kubeconfig)
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it; its stdout, or its stderr as the error.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        self.run_with_input(args, "")
    }

    /// Runs it with this on stdin.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.output(args, input)?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("kubectl {}: {}\n{stdout}{stderr}", args.join(" "), output.status)))
    }

    /// Runs it and expects it to be refused; what it said on stderr.
    pub fn refused(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.output(args, input)?;
        if output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            return Err(Error::new(format!("kubectl {} was not refused:\n{stdout}", args.join(" "))));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs it, whatever comes out.
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
        // On a thread: kubectl may fill its own outputs before it has read all of this. It may also not want it at all
        // (a wrong flag), which is no failure of ours.
        let input = input.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output()?;
        let _ = writer.join();
        Ok(output)
    }
}
