//! Outages: a missing CRD, a stopped apiserver, and unreadable objects. The test starts its own control plane.

use std::time::Duration;

use live_message_operator::resources::ConditionType;
use serde_json::{Value, json};

use crate::metrics::{GROUPS, scrape};
use crate::support::{ControlPlane, Result, repository};
use crate::world::{PATIENCE, World, app, condition};

const CRD: &str = "livemessagegroups.live.alibabacloud.com";

#[tokio::test]
async fn operator_survives_outages_of_the_control_plane() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let mut world = World::on(&control_plane, app(), &[]).await?;
    waits_for_the_crd(&mut world).await?;
    survives_an_apiserver_outage(&mut world).await?;
    tolerates_unreadable_objects(&mut world).await
}

async fn waits_for_the_crd(world: &mut World<'_>) -> Result<()> {
    world.start()?;
    let operator = world.operator.as_ref().unwrap();
    let readyz = format!("{}/readyz", operator.probes()?);
    let ready = async || -> Result<(u16, String)> {
        match reqwest::get(&readyz).await {
            Ok(answer) => Ok((answer.status().as_u16(), answer.text().await?)),
            // The operator does not accept connections yet.
            Err(_) => Ok((0, String::new())),
        }
    };
    world
        .until("/readyz to name the CRD", PATIENCE, async || {
            let (status, text) = ready().await?;
            assert_ne!(status, 200, "{text}");
            Ok(status == 503 && text.contains(CRD))
        })
        .await?;
    assert!(world.log().contains(&format!("waiting for the CustomResourceDefinition {CRD}")), "{}", world.log());
    assert_eq!(reqwest::get(format!("{}/healthz", operator.probes()?)).await?.status().as_u16(), 200);

    let shown = scrape(world).await?;
    assert_eq!(shown.value("live_message_operator_ready", &[]), 0.0);
    assert!(shown.series(GROUPS).is_empty(), "the number of objects is unknown");

    world.control_plane.apply_crds()?;
    world.create("room", json!({"groupInfo": "old"})).await?;
    world.ready("room", "True", "Created").await?;
    world.until("/readyz to be 200", PATIENCE, async || Ok(ready().await?.0 == 200)).await
}

async fn survives_an_apiserver_outage(world: &mut World<'_>) -> Result<()> {
    let pid = world.operator.as_ref().unwrap().process.pid();
    world.control_plane.stop_apiserver()?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let livez = format!("{}/livez", world.operator.as_ref().unwrap().probes()?);
    assert_eq!(reqwest::get(livez).await?.status().as_u16(), 200, "a restart would not help");
    world.control_plane.start_apiserver()?;
    world.create("after", json!({})).await?;
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    world.ready("after", "True", "Created").await?;
    world.ready("room", "True", "Created").await?;
    let recovered = async || {
        let shown = scrape(world).await?;
        let is_recovered = shown.value("live_message_operator_ready", &[]) == 1.0 && shown.sum(GROUPS) == 2.0;
        Ok(is_recovered.then_some(shown))
    };
    let shown = world.find("the metrics to recover", PATIENCE, recovered).await?;
    let unreachable = [("method", "GET"), ("code", "unreachable")];
    assert!(shown.sum_where("rest_client_requests_total", &unreachable) >= 1.0);
    let process = &mut world.operator.as_mut().unwrap().process;
    assert_eq!((process.pid(), process.exited()?), (pid, None));
    let log = world.log();
    let waits = log.lines().find(|line| line.contains("waiting for the apiserver") && line.contains("refused"));
    assert!(waits.is_some(), "the log does not name the connection failure: {log}");
    assert_eq!(world.called("CreateLiveMessageGroup")?.len(), 2, "existing groups are not created again");
    Ok(())
}

/// Creates objects that the operator cannot read, and returns their names.
async fn create_unreadable(world: &World<'_>) -> Result<[&'static str; 2]> {
    let unreadable = [
        ("noapp", json!({"groupInfo": "which app?"})),
        ("text", json!({"appId": "demo", "administrators": "should be a list"})),
    ];
    for (name, spec) in &unreadable {
        let object = json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"name": name, "namespace": world.namespace}, "spec": spec
        });
        // A changed CRD takes effect shortly after the apiserver has stored it.
        world
            .until("the apiserver to accept any spec", PATIENCE, async || {
                let create = ["create", "--validate=false", "-f", "-"];
                Ok(world.control_plane.kubectl_with_input(&create, &object.to_string()).is_ok())
            })
            .await?;
    }
    Ok(unreadable.map(|(name, _)| name))
}

async fn tolerates_unreadable_objects(world: &mut World<'_>) -> Result<()> {
    let namespace = world.namespace.clone();
    world.control_plane.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &lax_definition()?)?;
    let unreadable = create_unreadable(world).await?;
    let get = |name: &str| -> Result<Value> {
        let object = world.control_plane.kubectl(&["get", "lmg", name, "-n", &namespace, "-o", "json"])?;
        Ok(serde_json::from_str(&object)?)
    };
    let is_reported = |name: &str| -> Result<bool> {
        let object = get(name)?;
        let has = |kind: &str, status: &str| {
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            conditions.filter(|c| c["type"] == kind && c["status"] == status && c["reason"] == "InvalidSpec").count()
                == 1
        };
        Ok(has("Ready", "False") && has("Stalled", "True"))
    };
    for name in &unreadable {
        world.until(&format!("{name} to be InvalidSpec"), PATIENCE, async || is_reported(name)).await?;
    }
    let warned = |name: &str| -> Result<usize> {
        let of = format!("involvedObject.name={name},reason=InvalidSpec,type=Warning");
        let events = ["get", "events", "-n", &namespace, "--field-selector", &of, "--output=name"];
        Ok(world.control_plane.kubectl(&events)?.lines().count())
    };
    world.until("the event of an unreadable object", PATIENCE, async || Ok(warned("text")? == 1)).await?;
    world.create("good", json!({})).await?;
    world.ready("good", "True", "Created").await?;
    let patch = json!({"spec": {"appId": "demo"}}).to_string();
    world.control_plane.kubectl(&["patch", "lmg", "noapp", "-n", &namespace, "--type=merge", "-p", &patch])?;
    world.ready("noapp", "True", "Created").await?;

    // Restore the CRD and restart the operator. The object `text` is still unreadable.
    world.control_plane.kubectl(&["apply", "--server-side", "-f", &repository().join("crds").to_string_lossy()])?;
    let version = get("text")?["metadata"]["resourceVersion"].clone();
    world.stop()?;
    world.start()?;
    world.create("better", json!({})).await?;
    world.ready("better", "True", "Created").await?;
    assert!(is_reported("text")?, "{}", get("text")?);
    assert_eq!(get("text")?["metadata"]["resourceVersion"], version, "an unchanged status is not written again");
    let patch = json!({"spec": {"administrators": ["a"]}}).to_string();
    world.control_plane.kubectl(&["patch", "lmg", "text", "-n", &namespace, "--type=merge", "-p", &patch])?;
    let text = world.ready("text", "True", "Created").await?;
    assert_eq!(condition(&text, ConditionType::Stalled), ["", ""]);
    assert!(!world.log().contains("panicked"));
    Ok(())
}

/// Returns a CRD that accepts any spec and status. A CRD in a cluster can be this lax if it is outdated or was edited
/// incorrectly.
fn lax_definition() -> Result<String> {
    let text = std::fs::read_to_string(repository().join("crds").join(format!("{CRD}.yaml")))?;
    let mut definition: Value = serde_yaml::from_str(&text)?;
    let version = &mut definition["spec"]["versions"][0];
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version["schema"] = json!({"openAPIV3Schema": {
        "type": "object", "properties": {"spec": anything.clone(), "status": anything}
    }});
    version.as_object_mut().unwrap().remove("selectableFields");
    Ok(definition.to_string())
}
