//! The endpoints that LiveAccounts may use, and the error messages for other endpoints.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

/// Starts a server that answers each request with these bytes. Returns the URL of the server.
fn server(answer: &'static [u8]) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
                // If there is no answer to send, keep the connection open until the client closes it.
                if answer.is_empty() {
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            });
        }
    });
    Ok(url)
}

#[tokio::test]
async fn endpoint_outside_of_the_allowed_hosts_is_refused() -> Result<()> {
    let mut world = world(&[(KEY, SECRET)]).await?;
    let other = Emulator::start(&emulator(&[(KEY, SECRET)]))?;
    secret(&world, "team", (KEY, SECRET))?;
    account(&world, "team", json!({"endpoint": other.url()}))?;
    world.create("room", of("team")).await?;
    world.start()?;
    let status = account_is(&world, "team", "InvalidInput", 1).await?.status.unwrap_or_default();
    let stalled = status.condition(ConditionType::Stalled).map(|stalled| stalled.message.clone()).unwrap_or_default();
    assert!(stalled.contains("is not permitted: use one of live.aliyuncs.com, live.REGION.aliyuncs.com"), "{stalled}");
    world.says("room", "CredentialsMissing", "LiveAccount team cannot be used: the host of endpoint").await?;
    assert!(other.requests()?.is_empty());

    world.stop()?;
    world.options.args.push("--account-endpoints=127.0.0.1".to_owned());
    world.start()?;
    world.says("room", "CredentialsMissing", "uses plain http, which is not permitted for LiveAccounts").await?;
    assert!(other.requests()?.is_empty(), "the operator's --allow-http is not for LiveAccounts");

    world.stop()?;
    world.options.args.push("--account-allow-http".to_owned());
    world.start()?;
    world.ready("room", "True", "Created").await?;
    assert!(!other.requests()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn foreign_endpoints_reveal_nothing_of_the_network() -> Result<()> {
    let mut world = world(&[]).await?;
    world.options.args.extend(LOOPBACK.map(str::to_owned));
    world.options.args.push("--request-timeout=3s".to_owned());
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let page = b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\nconnection: close\r\n\r\nbanner";
    let json = b"HTTP/1.1 403 X\r\ncontent-type: application/json\r\ncontent-length: 38\r\nconnection: close\r\n\r\n\
                 {\"Code\":\"banner\",\"Message\":\"a banner\"}";
    let endpoints = [
        ("closed", closed.clone()),
        ("tls", closed.replace("http:", "https:")),
        ("silent", server(b"")?),
        ("ssh", server(b"SSH-2.0-banner\r\n")?),
        ("page", server(page)?),
        ("json", server(json)?),
    ];
    secret(&world, "team", (KEY, SECRET))?;
    for (name, endpoint) in &endpoints {
        account(&world, name, json!({"endpoint": endpoint, "credentials": {"secretRef": {"name": "team"}}}))?;
        world.create(name, of(name)).await?;
    }
    world.start()?;
    let objects = world.count_of("Unreachable", endpoints.len(), PATIENCE).await?;
    for object in &objects {
        assert_eq!(message(object), message(&objects[0]), "{}", object.name_any());
        let failure = object.status.as_ref().and_then(|status| status.last_failure.clone());
        assert_eq!(failure, objects[0].status.as_ref().and_then(|status| status.last_failure.clone()));
        assert!(!serde_json::to_string(object)?.contains("banner"));
    }
    assert!(message(&objects[0]).contains("check spec.endpoint of the LiveAccount"), "{}", message(&objects[0]));
    assert!(world.log().contains("a banner"), "the log of the operator shows the response");
    Ok(())
}
