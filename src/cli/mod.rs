//! The command line. Each subcommand is a file.

mod cluster;
mod crd;
mod emulate;
mod run;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _};

/// Manages Alibaba Cloud Live interactive-messaging groups as Kubernetes objects.
#[derive(Debug, clap::Parser)]
#[command(name = "live-message-operator", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the operator: reconcile LiveMessageGroup objects with the groups of the Live API.
    Run(run::Args),
    // The help text is the documentation of `emulate::Args`.
    Emulate(Box<emulate::Args>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(crd::Args),
}

impl Cli {
    /// Parses the arguments and the environment variables of the process, and exits if they are invalid or request
    /// help. An empty variable counts as unset: charts and pipelines pass one for a value they do not have.
    pub fn from_environment() -> Self {
        let unset_if_empty = |argument: clap::Arg| match argument.get_env().map(std::env::var_os) {
            Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
            _ => argument,
        };
        let command = Self::command().mut_subcommands(|command| command.mut_args(unset_if_empty));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Runs the command. An error is one line on stderr and exit code 1, or 2 for a usage error, as with arguments that
/// cannot be parsed.
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => in_runtime(run::run(args)),
        Command::Emulate(args) => in_runtime(emulate::run(*args)),
        Command::Crd(args) => crd::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// The result of a command; the error is shown to the user unchanged.
pub type CommandResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Arguments that can be parsed but are invalid. A retry cannot succeed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn in_runtime(command: impl Future<Output = CommandResult>) -> CommandResult {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
