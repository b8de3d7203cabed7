//! `live-message-operator run`.

use super::Outcome;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args) -> Outcome {
    Err("not built yet".into())
}
