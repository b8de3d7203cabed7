//! LiveAccounts that assume a RAM role with a ServiceAccount token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::support::{IssuedKey, Sts};

const STS_KEY: &str = "STS.team0001";
const TOKEN: &str = "hush/team-token";

#[tokio::test]
async fn account_assumes_a_role_with_a_service_account_token() -> Result<()> {
    let sts = Sts::start(IssuedKey { access_key_id: STS_KEY, secrets: &[SECRET], security_token: TOKEN })?;
    let mut emulator = emulator(&[(STS_KEY, SECRET)]);
    emulator.args = ["--security-token".to_owned(), format!("{STS_KEY}:{TOKEN}")].into();
    let mut world = World::with(emulator).await?;
    let namespace = world.namespace.clone();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&namespace, &[&namespace], &FLAGS)?;
    world.options.env.push(("ALIBABA_CLOUD_STS_ENDPOINT".into(), sts.origin.clone()));
    world.start()?;
    let oidc = json!({"oidc": {
        "roleArn": "acs:ram::42:role/live", "oidcProviderArn": "acs:ram::42:oidc-provider/ack",
        "serviceAccountRef": {"name": "team"}
    }});
    account(&world, "team", json!({"credentials": oidc}))?;
    world.create("room", of("team")).await?;
    let missing =
        "LiveAccount team has no credentials: ServiceAccount team does not exist in this namespace: create it";
    world
        .until("the ServiceAccount to be reported as missing", PATIENCE, async || {
            Ok(message(&world.api.get("room").await?) == missing)
        })
        .await?;
    apply(&world, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}}))?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(STS_KEY));
    let body = sts.next_request()?;
    let token = body.split('&').find_map(|pair| pair.strip_prefix("OIDCToken=")).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap())?;
    let claims: Value = serde_json::from_slice(&claims)?;
    assert_eq!(claims["aud"], json!(["sts.aliyuncs.com"]));
    assert_eq!(claims["sub"], json!(format!("system:serviceaccount:{namespace}:team")));
    assert!(body.contains("RoleArn=acs%3Aram%3A%3A42%3Arole%2Flive"), "{body}");
    assert!(!world.log().contains(token) && !world.log().contains(TOKEN));
    Ok(())
}

#[tokio::test]
async fn unresponsive_sts_does_not_delay_other_accounts() -> Result<()> {
    const ACCOUNTS: usize = 60;
    /// The timeout of a call to STS, in seconds. Even on a busy machine, the other accounts become available sooner.
    const STS_PATIENCE: u64 = 60;
    // The listener accepts connections but never responds.
    let sts = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.push(format!("--request-timeout={STS_PATIENCE}s"));
    world.options.env.push(("ALIBABA_CLOUD_STS_ENDPOINT".into(), format!("http://{}", sts.local_addr()?)));
    world.start()?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({}))?;
    apply(&world, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mute"}}))?;
    let oidc = json!({
        "roleArn": "acs:ram::42:role/live", "oidcProviderArn": "acs:ram::42:oidc-provider/ack",
        "serviceAccountRef": {"name": "mute"}
    });
    let mute = (0..ACCOUNTS).map(|number| {
        json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount",
            "metadata": {"name": format!("mute{number}")}, "spec": {"credentials": {"oidc": oidc}}
        })
    });
    apply(&world, &json!({"apiVersion": "v1", "kind": "List", "items": mute.collect::<Vec<_>>()}))?;
    for number in 0..ACCOUNTS {
        world.create(&format!("mute{number}"), of(&format!("mute{number}"))).await?;
    }
    let began = Instant::now();
    world.create("own", json!({})).await?;
    world.create("team", of("team")).await?;
    world.ready("own", "True", "Created").await?;
    world.ready("team", "True", "Created").await?;
    let took = began.elapsed();
    println!("with {ACCOUNTS} accounts whose STS does not respond: {took:?}");
    assert!(took < Duration::from_secs(STS_PATIENCE), "the other accounts waited {took:?} for STS");
    world.count_of("CredentialsMissing", ACCOUNTS, 2 * PATIENCE).await?;
    Ok(())
}
