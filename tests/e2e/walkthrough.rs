//! Runs the commands in docs/getting-started.md as a reader would.

use std::process::Command;

use crate::cluster::Cluster;
use crate::support::{Context as _, Error, Result, repository};

const PAGE: &str = "docs/getting-started.md";

/// Runs the commands in a section, from the repository root.
pub fn section(cluster: &Cluster, heading: &str) -> Result<()> {
    let page = std::fs::read_to_string(repository().join(PAGE)).context(PAGE)?;
    let start = format!("\n## {heading}\n");
    let section = page.split_once(&start).context(format_args!("{PAGE} without the section {heading}"))?.1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks: Vec<&str> = section.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    if blocks.is_empty() {
        return Err(Error::new(format!("{PAGE}: the section {heading} has no commands")));
    }
    for block in blocks {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", block]).current_dir(repository());
        let output = shell.envs(cluster.user_environment()?).output()?;
        if !output.status.success() {
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            return Err(Error::new(format!("$ {block}\n{stdout}{stderr}{}", output.status)));
        }
    }
    Ok(())
}
