//! Installs the TLS provider, parses the arguments and runs the command.

use std::process::ExitCode;

use live_message_operator::cli::Cli;

fn main() -> ExitCode {
    // The provider must be installed before the first TLS client, which panics without one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider was installed before this program's own; this is a defect, please report it");
        return ExitCode::FAILURE;
    }
    live_message_operator::cli::main(Cli::from_environment())
}
