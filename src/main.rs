//! The binary: installs the TLS provider, parses the arguments and hands over to a command.

use std::process::ExitCode;

use live_message_operator::cli::Cli;

fn main() -> ExitCode {
    // First of all: without an installed provider the first TLS client panics, and two providers in the tree do too.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider was installed before this program's own; this is a defect, please report it");
        return ExitCode::FAILURE;
    }
    live_message_operator::cli::main(Cli::from_environment())
}
