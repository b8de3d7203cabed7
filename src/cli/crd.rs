//! `live-message-operator crd`.

use std::io::Write;
use std::path::PathBuf;

use super::CommandResult;
use crate::resources;

/// Arguments of `crd`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write a file per definition into this folder (which must exist) instead of printing them.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs the command: one stream of YAML documents, ready for `kubectl apply --server-side -f -`.
pub fn run(args: Args) -> CommandResult {
    match args.dir {
        None => std::io::stdout().lock().write_all(resources::crds_yaml()?.as_bytes())?,
        Some(dir) => {
            for (name, yaml) in resources::crd_files()? {
                let path = dir.join(name);
                std::fs::write(&path, yaml)
                    .map_err(|error| format!("--dir: cannot write {}: {error}", path.display()))?;
            }
        }
    }
    Ok(())
}
