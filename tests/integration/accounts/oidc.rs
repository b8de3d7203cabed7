//! A role that is assumed with a token of a ServiceAccount.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const STS_KEY: &str = "STS.team0001";
const TOKEN: &str = "hush/team-token";

/// An STS that tells what it was asked.
fn sts() -> Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let _ = sender.send(String::from_utf8(body).unwrap());
            let expiration = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3600).unwrap();
            let answer = json!({"Credentials": {
                "AccessKeyId": STS_KEY, "AccessKeySecret": SECRET, "SecurityToken": TOKEN,
                "Expiration": expiration.to_string()
            }})
            .to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            stream.get_mut().write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
    });
    Ok((origin, receiver))
}

#[tokio::test]
async fn a_role_is_assumed_with_a_token_of_a_service_account_of_the_namespace() -> Result<()> {
    let (origin, asked) = sts()?;
    let mut emulator = emulator(&[(STS_KEY, SECRET)]);
    emulator.args = ["--security-token".to_owned(), format!("{STS_KEY}:{TOKEN}")].into();
    let mut world = World::with(emulator).await?;
    let namespace = world.namespace.clone();
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&namespace, &[&namespace], &FLAGS)?;
    world.options.env.push(("ALIBABA_CLOUD_STS_ENDPOINT".into(), origin));
    world.start()?;
    let oidc = json!({"oidc": {
        "roleArn": "acs:ram::42:role/live", "oidcProviderArn": "acs:ram::42:oidc-provider/ack",
        "serviceAccountRef": {"name": "team"}
    }});
    account(&world, "team", json!({"credentials": oidc}))?;
    world.create("room", of("team")).await?;
    world.ready("room", "False", "CredentialsMissing").await?;
    let told = message(&world.api.get("room").await?);
    assert_eq!(told, "LiveAccount team has no credentials: there is no ServiceAccount team in this namespace");
    apply(&world, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}}))?;
    world.ready("room", "True", "Created").await?;
    assert_eq!(last_key(&world, "room")?.as_deref(), Some(STS_KEY));
    let body = asked.recv()?;
    let token = body.split('&').find_map(|pair| pair.strip_prefix("OIDCToken=")).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap())?;
    let claims: Value = serde_json::from_slice(&claims)?;
    assert_eq!(claims["aud"], json!(["sts.aliyuncs.com"]));
    assert_eq!(claims["sub"], json!(format!("system:serviceaccount:{namespace}:team")));
    assert!(body.contains("RoleArn=acs%3Aram%3A%3A42%3Arole%2Flive"), "{body}");
    assert!(!world.log().contains(token) && !world.log().contains(TOKEN));
    Ok(())
}
