//! `live-message-operator crd`.

use super::Outcome;

/// Arguments of `crd`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: Args) -> Outcome {
    Err("not built yet".into())
}
