//! The command line. Each subcommand has its own file.

mod cluster;
mod crd;
mod election;
mod emulate;
mod run;
mod tenants;

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
    Run(Box<run::Args>),
    // The help text is the documentation of `emulate::Args`.
    Emulate(Box<emulate::Args>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(crd::Args),
}

impl Cli {
    /// Parses the arguments and the environment variables of the process, and exits if they are invalid or request
    /// help. An empty variable counts as unset, because charts and pipelines often set optional variables to an empty
    /// value.
    pub fn from_environment() -> Self {
        let unset_if_empty = |argument: clap::Arg| match argument.get_env().map(std::env::var_os) {
            Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
            _ => argument,
        };
        let command = Self::command().mut_subcommands(|command| command.mut_args(unset_if_empty));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Runs the command. An error is reported in one line on stderr, with exit code 2 for a usage error and 1 for any other
/// error.
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => in_runtime(run::run(*args)),
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

/// The result of a command. Its error is shown to the user unchanged.
pub type CommandResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// An error in arguments that were parsed successfully.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn in_runtime(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // Do not wait for blocking tasks: a DNS lookup that hangs would delay the exit. A process that has lost its
    // leadership must exit immediately, so that it sends no more requests.
    runtime.shutdown_background();
    result
}
