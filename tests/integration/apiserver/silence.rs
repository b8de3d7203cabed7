//! A network that stops forwarding data between the operator and the apiserver, but does not reset the connections.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::metrics::scrape;
use crate::support::{Proxy, Result, Scratch};
use crate::world::World;

/// An object that was created during the outage must be ready within this time after the outage ends.
const RECOVERY: Duration = Duration::from_secs(30);

/// Writes a copy of `kubeconfig` in which the proxy is the server. Returns the path of the copy.
fn through(proxy: &Proxy, kubeconfig: &str, scratch: &Scratch) -> Result<std::path::PathBuf> {
    let mut config: Value = serde_json::from_str(kubeconfig)?;
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", proxy.address()));
    scratch.write("kubeconfig", config.to_string())
}

#[tokio::test]
async fn object_created_in_a_silent_outage_is_served_soon() -> Result<()> {
    let mut world = World::new(&[]).await?;
    let scratch = Scratch::new("silence")?;
    let kubeconfig = std::fs::read_to_string(&world.options.kubeconfig)?;
    let config: Value = serde_json::from_str(&kubeconfig)?;
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default().to_owned();
    let proxy = Proxy::start(server.trim_start_matches("https://"))?;
    world.options.kubeconfig = through(&proxy, &kubeconfig, &scratch)?;
    world.start()?;
    world.create("before", json!({})).await?;
    world.ready("before", "True", "Created").await?;

    // After an outage, the existing connections never forward data again. The short outage ends before any timeout
    // expires.
    for (name, outage) in [("short", 1), ("long", 40)] {
        proxy.silence();
        world.create(name, json!({})).await?;
        tokio::time::sleep(Duration::from_secs(outage)).await;
        proxy.recover();
        let returned = Instant::now();
        world.ready(name, "True", "Created").await?;
        let took = returned.elapsed();
        println!("after {outage} s of silence: served {took:?} after the return of the network");
        assert!(took < RECOVERY, "{name}: {took:?}");
    }

    let resource = [("resource", "livemessagegroups")];
    let shown = scrape(&world).await?;
    assert!(shown.value("live_message_operator_watch_recoveries_total", &resource) >= 1.0);
    assert!(shown.value("live_message_operator_watch_errors_total", &resource) >= 1.0);
    assert!(shown.value("live_message_operator_watch_silence_seconds", &resource) < 30.0);
    let log = world.log();
    assert!(log.contains("the apiserver did not end the watch") && log.contains("watching again"), "{log}");
    Ok(())
}
