//! Tests credentials from STS and from a file, and tests that no secret appears in the log or in an object.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use live_message_operator::live::encode::percent_encode;
use live_message_operator::resources::ConditionType;
use serde_json::json;

use crate::support::{EmulatorOptions, IssuedKey, Result, Scratch, Sts};
use crate::world::{World, app, condition};

const KEY: &str = "STS.LTAItest0001";
const WRONG_SECRET: &str = "wrong-hush/secret+1=";
const SECRET: &str = "right-hush/secret+2=";
const TOKEN: &str = "hush/security+token==/of-some-length";
const OIDC_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.hush_oidc-token.c2ln";

/// Returns a secret as plain text, and percent-encoded, in base64 and in hexadecimal, because each form could leak.
fn forms_of(secret: &str) -> Vec<String> {
    let encoded = percent_encode(secret);
    // Base64 encodes groups of three bytes. If the last group of the secret is incomplete, its encoding depends on the
    // bytes that follow the secret in a text, so this group is omitted.
    let whole = &secret[..secret.len() / 3 * 3];
    vec![
        secret.to_owned(),
        encoded.to_lowercase(),
        encoded,
        STANDARD.encode(whole),
        URL_SAFE_NO_PAD.encode(whole),
        hex::encode(secret),
    ]
}

/// Creates a world whose emulator accepts this key. The operator has these environment variables and no access key.
async fn world(variables: Vec<(String, String)>, key: (&str, &str), token: Option<&str>) -> Result<World<'static>> {
    let token = token.map(|token| ["--security-token".to_owned(), format!("{}:{token}", key.0)]);
    let emulator = EmulatorOptions {
        access_keys: vec![(key.0.to_owned(), key.1.to_owned())],
        args: token.into_iter().flatten().collect(),
        ..app()
    };
    let mut world = World::with(emulator).await?;
    world.options.access_key = Default::default();
    world.options.env.extend(variables);
    Ok(world)
}

#[tokio::test]
async fn run_with_rrsa_leaks_no_secrets() -> Result<()> {
    let dir = Scratch::new("rrsa")?;
    dir.write("token", OIDC_TOKEN)?;
    let secrets = &[WRONG_SECRET, WRONG_SECRET, SECRET];
    let sts = Sts::start(IssuedKey { access_key_id: KEY, secrets, security_token: TOKEN })?;
    let variables = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/live".to_owned()),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack".to_owned()),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", dir.join("token").display().to_string()),
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.origin.clone()),
        ("RUST_LOG", "trace".to_owned()),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut world = world(variables, (KEY, SECRET), Some(TOKEN)).await?;
    world.start()?;
    world.create("room", json!({"groupInfo": "x".repeat(9000)})).await?;
    // The Live API rejects the first secret. The operator then loads the second secret, which is rejected too. The
    // probe loads the third secret, which is valid.
    let rejected = world.ready("room", "False", "CredentialsRejected").await?;
    assert_eq!(condition(&rejected, ConditionType::Stalled), ["True", "CredentialsRejected"]);
    let created = async || Ok(condition(&world.api.get("room").await?, ConditionType::Ready)[1] == "Created");
    world.until("the probe to find the new secret", 100, created).await?;
    // Do not call `World::stop`, because it drops the operator and its log, which is read below.
    let operator = world.operator.as_mut().unwrap();
    operator.process.sigterm()?;
    operator.process.wait(Duration::from_secs(30))?;
    let exchanges = sts.received_requests();
    assert_eq!(exchanges.len(), secrets.len());
    let token = format!("OIDCToken={}", percent_encode(OIDC_TOKEN));
    assert!(exchanges.iter().all(|form| form.split('&').any(|pair| pair == token)), "{exchanges:?}");

    let objects = world.control_plane.kubectl(&["get", "lmg,events", "-n", &world.namespace, "-o", "json"])?;
    assert!(objects.contains("CredentialsRejected"), "the objects do not include the events");
    for (what, text) in [("the log", world.log()), ("the objects", objects)] {
        for secret in [WRONG_SECRET, SECRET, TOKEN, OIDC_TOKEN].iter().flat_map(|secret| forms_of(secret)) {
            let shown = text.lines().find(|line| line.contains(&secret));
            assert!(shown.is_none(), "{what} shows {secret}: {}", shown.unwrap_or_default());
        }
    }
    assert!(world.log().contains("TRACE"), "the log is not at the most detailed level");
    Ok(())
}

#[tokio::test]
async fn late_and_rotated_credentials_need_no_restart() -> Result<()> {
    let dir = Scratch::new("ini")?;
    let file: PathBuf = dir.join("credentials.ini");
    let section = |secret: &str| {
        format!("[default]\ntype = access_key\naccess_key_id = {KEY}\naccess_key_secret = \"{secret}\"\n")
    };
    let variables = vec![("ALIBABA_CLOUD_CREDENTIALS_FILE".to_owned(), file.display().to_string())];
    let mut world = world(variables, (KEY, SECRET), None).await?;
    world.start()?;
    world.create("first", json!({})).await?;
    let first = world.ready("first", "False", "CredentialsMissing").await?;
    let message = &first.condition(ConditionType::Ready).unwrap().message;
    assert!(message.contains("no credentials from credentials file: file"), "{message}");
    assert!(message.contains("environment (ALIBABA_CLOUD_ACCESS_KEY_ID"), "{message}");
    assert!(world.emulator.requests()?.is_empty(), "nothing is sent without credentials");
    std::fs::write(&file, section(SECRET))?;
    world.ready("first", "True", "Created").await?;

    // The key is rotated in the emulator and in the file. The operator reads the file again after the rejection, and
    // reports no failure.
    let renewed = EmulatorOptions { access_keys: vec![(KEY.to_owned(), "renewed".to_owned())], ..app() };
    world.replace_emulator(renewed)?;
    std::fs::write(&file, section("renewed"))?;
    world.create("second", json!({})).await?;
    world.ready("second", "True", "Created").await?;
    let codes: Vec<_> = world.emulator.requests()?.into_iter().map(|request| request.code).collect();
    assert_eq!(codes, [Some("SignatureDoesNotMatch".to_owned()), None]);
    let events = world.control_plane.kubectl(&["get", "events", "-n", &world.namespace, "-o", "json"])?;
    assert!(!events.contains("CredentialsRejected"), "{events}");
    Ok(())
}
