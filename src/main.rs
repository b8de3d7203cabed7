//! Installs the TLS provider, parses the arguments and runs the command.

use std::process::ExitCode;

use live_message_operator::cli::Cli;

fn main() -> ExitCode {
    // Install the provider before the first TLS client is created. Without a provider, creating a TLS client panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: cannot install the TLS provider because another one is already installed. Report this bug.");
        return ExitCode::FAILURE;
    }
    live_message_operator::cli::main(Cli::from_environment())
}
