//! `live-message-operator emulate`.

use super::Outcome;

/// Arguments of `emulate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args) -> Outcome {
    Err("not built yet".into())
}
