//! The command line: a file per command.

mod crd;
mod emulate;
mod run;

use std::process::ExitCode;

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

/// Runs the chosen command to its end; an error is one line on stderr and exit code 1.
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
            ExitCode::FAILURE
        }
    }
}

/// What a command can fail with: any error, shown to the user as it is.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn in_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
