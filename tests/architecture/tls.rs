//! Tests that the only TLS provider is `ring`. With two providers, rustls panics unless the program selects
//! one, and both providers would have to be audited.

use live_message_operator::live::{Client, ClientOptions, Endpoint};

/// The rustls providers and TLS libraries that must not be dependencies.
const NEVER: &[&str] =
    &["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "boring", "boring-sys", "native-tls", "openssl", "openssl-sys"];

/// Counts the versions of a package in the lock file, which covers all platforms.
fn versions(name: &str) -> usize {
    let lock = include_str!("../../Cargo.lock");
    lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count()
}

#[test]
fn dependencies_have_one_tls_provider() {
    for name in NEVER {
        assert_eq!(versions(name), 0, "to find its dependents, run: cargo tree --target all -i {name}");
    }
    for name in ["ring", "rustls"] {
        assert_eq!(versions(name), 1, "to find its dependents, run: cargo tree --target all -i {name}");
    }
}

#[test]
fn both_clients_work_with_ring() {
    // Install the provider, as `main` does.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let endpoint = Endpoint::parse("https://live.aliyuncs.com", false).unwrap();
    Client::new(endpoint, ClientOptions::default()).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = kube::Config::new("https://127.0.0.1:6443".parse().unwrap());
        kube::Client::try_from(config).unwrap();
    });
}
