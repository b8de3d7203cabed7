//! One TLS provider, `ring`: rustls panics when two are compiled in and none was chosen, and two double the audit.

use live_message_operator::live::{Client, ClientOptions, Endpoint};

/// Other providers of rustls, and other TLS libraries.
const NEVER: &[&str] =
    &["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "boring", "boring-sys", "native-tls", "openssl", "openssl-sys"];

/// How many versions of a package the lock file has, for every platform.
fn versions(name: &str) -> usize {
    let lock = include_str!("../../Cargo.lock");
    lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count()
}

#[test]
fn one_provider_is_in_the_tree() {
    for name in NEVER {
        assert_eq!(versions(name), 0, "who brings it: cargo tree --target all -i {name}");
    }
    for name in ["ring", "rustls"] {
        assert_eq!(versions(name), 1, "who brings another: cargo tree --target all -i {name}");
    }
}

#[test]
fn both_clients_can_be_built_with_it() {
    // As the first line of `main` does.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let endpoint = Endpoint::parse("https://live.aliyuncs.com", false).unwrap();
    Client::new(endpoint, ClientOptions::default()).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = kube::Config::new("https://127.0.0.1:6443".parse().unwrap());
        kube::Client::try_from(config).unwrap();
    });
}
