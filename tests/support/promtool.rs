//! Runs promtool, which checks and evaluates rules as Prometheus does.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::error::{Context as _, Error, Result};
use super::{repository, tools};

/// Runs promtool in the repository root with this input, and returns its stdout. The error contains stdout and stderr.
pub fn promtool(args: &[&str], input: &str) -> Result<String> {
    let program = tools::promtool()?.join("promtool");
    let mut command = Command::new(&program);
    command.args(args).current_dir(repository());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(program.display())?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    let output = std::thread::scope(|scope| {
        // Ignore a failed write, because promtool may fail before it has read its input.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    });
    let output = output?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("promtool {}: {}\n{stdout}{stderr}", args.join(" "), output.status)))
}
