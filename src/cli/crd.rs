//! The command `live-message-operator crd`.

use std::io::Write;
use std::path::PathBuf;

use super::CommandResult;
use crate::resources;

/// Arguments of `crd`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write each CRD to its own file in this directory, instead of printing all CRDs to stdout. The directory must
    /// exist.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the CRDs as a stream of YAML documents, or writes one file for each CRD.
pub fn run(args: Args) -> CommandResult {
    match args.dir {
        None => std::io::stdout().lock().write_all(resources::crds_yaml()?.as_bytes())?,
        Some(dir) => {
            for (name, yaml) in resources::crd_files()? {
                let path = dir.join(name);
                std::fs::write(&path, yaml).map_err(|error| {
                    format!("--dir: cannot write {}: {error}: use an existing, writable directory", path.display())
                })?;
            }
        }
    }
    Ok(())
}
