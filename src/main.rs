//! Installs the TLS provider, parses the arguments and runs the command.

use std::process::ExitCode;

use live_message_operator::cli::Cli;

fn main() -> ExitCode {
    // The provider must be installed before the first TLS client is created, which panics without a provider.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: cannot install the TLS provider because another one is already installed. Report this bug.");
        return ExitCode::FAILURE;
    }
    live_message_operator::cli::main(Cli::from_environment())
}
