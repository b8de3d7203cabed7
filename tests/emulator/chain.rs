//! Tests the operator's credential chain and its Live API client against the emulator.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::emulator::{Emulator, Handle, Imds};
use live_message_operator::live::credentials::{Chain, ProviderEnv};
use live_message_operator::live::{Call, Client, ClientOptions, Endpoint, GroupRef, HttpOptions};

use crate::sts::{ROLE, token};

fn emulator(imds: Imds) -> Handle {
    let builder = Emulator::builder().app_of("42", "demo").group("demo", "g1").role(ROLE.parse().unwrap()).imds(imds);
    builder.ecs_role("an-operator@42".parse().unwrap()).admin_listen("127.0.0.1:0").start().unwrap()
}

/// Gets a key from the credential chain, which reads these environment variables, and makes a call with this key.
/// Returns the name of the provider that issued the key.
async fn issuing_provider(emulator: &Handle, variables: &[(&str, &str)]) -> &'static str {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = Endpoint::parse(&emulator.base_url(), true).unwrap();
    let values: HashMap<String, String> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let env = ProviderEnv::new(move |name| values.get(name).cloned(), None, HttpOptions::default(), true);
    let (issued, provider) = Chain::default_chain(&env.with_metadata(&endpoint)).issue().await.unwrap();
    assert!(issued.lifetime.is_some_and(|left| left > Duration::from_secs(1800)), "{:?}", issued.lifetime);
    let client = Client::new(endpoint, ClientOptions::default()).unwrap();
    let group = GroupRef { app_id: "demo".to_owned(), group_id: "g1".to_owned(), data_center: None };
    client.send(&Call::Describe(group), &issued.credentials).await.unwrap();
    provider
}

#[tokio::test]
async fn credential_chain_gets_keys_from_every_source() {
    for imds in [Imds::Any, Imds::V1, Imds::V2] {
        let emulator = emulator(imds);
        assert_eq!(issuing_provider(&emulator, &[]).await, "ECS RAM role");
        assert_eq!(issuing_provider(&emulator, &[("ALIBABA_CLOUD_ECS_METADATA", "an-operator")]).await, "ECS RAM role");
    }
    let emulator = emulator(Imds::Any);
    let uri = format!("http://{}/credentials?account=42", emulator.admin_address().unwrap());
    let no_instance = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    assert_eq!(
        issuing_provider(&emulator, &[no_instance, ("ALIBABA_CLOUD_CREDENTIALS_URI", &uri)]).await,
        "credentials URI"
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token(Timestamp::now() + Duration::from_secs(600))).unwrap();
    let rrsa = [
        ("ALIBABA_CLOUD_ROLE_ARN", ROLE),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::42:oidc-provider/ack"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &emulator.base_url()),
    ];
    assert_eq!(issuing_provider(&emulator, &rrsa).await, "OIDC (RRSA)");
}
