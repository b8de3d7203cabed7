//! The command line: a file per command.

mod cluster;
mod crd;
mod emulate;
mod run;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _};

/// Makes Alibaba Cloud Live interactive-messaging groups declarative.
#[derive(Debug, clap::Parser)]
#[command(name = "live-message-operator", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Watch LiveMessageGroup objects and keep the groups of the Live API as they say.
    Run(run::Args),
    // Its help is long: the documentation of its arguments.
    Emulate(Box<emulate::Args>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(crd::Args),
}

impl Cli {
    /// Parses the arguments and the variables of this process; ends it where they ask for help or make no sense. An empty
    /// variable counts as absent: charts and pipelines set what they have no value for to nothing.
    pub fn from_environment() -> Self {
        let absent_if_empty = |argument: clap::Arg| match argument.get_env().map(std::env::var_os) {
            Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
            _ => argument,
        };
        let command = Self::command().mut_subcommands(|command| command.mut_args(absent_if_empty));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Runs the chosen command to its end; an error is one line on stderr and exit code 1, or 2 where the arguments are wrong,
/// as with those that cannot be parsed.
pub fn main(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Run(args) => in_runtime(run::run(args)),
        Command::Emulate(args) => in_runtime(emulate::run(*args)),
        Command::Crd(args) => crd::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What a command can fail with: any error, shown to the user as it is.
pub type CommandResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Arguments that can be parsed and make no sense: the same will fail again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn in_runtime(command: impl Future<Output = CommandResult>) -> CommandResult {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
