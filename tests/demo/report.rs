//! Shows and checks the results of the demo.

use std::collections::BTreeMap;

use live_message_operator::live::{Call, Client, ClientOptions, Credentials, Endpoint, GroupRef, Reply};
use serde_json::Value;

use crate::stage::Stage;
use crate::support::{ACCESS_KEY, Context as _, Emulator, Error, Result, documents, repository};

/// Returns the status and the reason of the condition `Ready`. A missing value is returned as "none".
pub fn ready(stage: &Stage, object: &str) -> Result<(String, String)> {
    let object = get(stage, object)?;
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let field = |name: &str| {
        let value = ready.and_then(|ready| ready[name].as_str());
        value.unwrap_or("none").to_owned()
    };
    Ok((field("status"), field("reason")))
}

/// Prints the objects as a table.
pub fn objects(stage: &Stage) -> Result<()> {
    println!("\n$ kubectl get livemessagegroups -A");
    print!("{}", stage.kubectl().run(&["get", "livemessagegroups", "-A"])?);
    Ok(())
}

/// Prints the conditions of an object and the message of `Ready`. Fails unless `Degraded` is True.
pub fn conditions(stage: &Stage, object: &str) -> Result<()> {
    let found = get(stage, object)?;
    let conditions = found["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |condition: &Value, name: &str| condition[name].as_str().unwrap_or_default().to_owned();
    println!("\nConditions of {object}, whose group had already been deleted:");
    for condition in conditions {
        println!("  {:<12}{:<8}{}", text(condition, "type"), text(condition, "status"), text(condition, "reason"));
    }
    for ready in conditions.iter().filter(|condition| condition["type"] == "Ready") {
        println!("  {}", text(ready, "message"));
    }
    if conditions.iter().any(|condition| condition["type"] == "Degraded" && condition["status"] == "True") {
        return Ok(());
    }
    Err(Error::new(format!("{object} does not have the condition Degraded=True")))
}

/// Prints the number of calls for each operation.
pub fn calls(emulator: &Emulator) -> Result<()> {
    let mut counts = BTreeMap::new();
    for request in emulator.requests()? {
        *counts.entry(request.operation).or_insert(0_u32) += 1;
    }
    println!("\nCalls that the emulator received:");
    for (operation, count) in counts {
        println!("  {count:>3}  {operation}");
    }
    Ok(())
}

/// Compares the GroupInfo in the manifest, the object and the emulator. Fails if they differ.
pub fn group_info(stage: &Stage, emulator: &Emulator, object: &str, group_id: &str) -> Result<()> {
    let manifest = std::fs::read_to_string(repository().join("examples/announcement.yaml"))?;
    let manifest = documents(&manifest)?;
    let written = manifest.first().and_then(|manifest| manifest["spec"]["groupInfo"].as_str());
    let written = written.context("examples/announcement.yaml has no groupInfo")?;
    let stored = get(stage, object)?;
    let received = describe(emulator, group_id)?;
    if stored["spec"]["groupInfo"] != written || received != written {
        let stored = &stored["spec"]["groupInfo"];
        return Err(Error::new(format!(
            "GroupInfo differs between manifest, object and emulator:\n{written:?}\n{stored}\n{received:?}"
        )));
    }
    let bytes = written.len();
    println!("\nDescribeLiveMessageGroup returns the {bytes} bytes of GroupInfo of {object} exactly as in");
    println!("examples/announcement.yaml (Chinese characters, quotes, &, +, a tab, line breaks):\n");
    for line in received.lines() {
        println!("  | {line}");
    }
    Ok(())
}

fn get(stage: &Stage, object: &str) -> Result<Value> {
    let found = stage.kubectl().run(&["get", "lmg", object, "--namespace", stage.namespace(), "--output=json"])?;
    Ok(serde_json::from_str(&found)?)
}

/// Gets the GroupInfo of a group in the app `demo` from the emulator.
fn describe(emulator: &Emulator, group_id: &str) -> Result<String> {
    // The client requires a TLS provider even for http://. An error means that one is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(Endpoint::parse(emulator.url(), true)?, ClientOptions::default())?;
    let (id, secret) = ACCESS_KEY;
    let group = GroupRef { app_id: "demo".to_owned(), group_id: group_id.to_owned(), data_center: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(client.send(&Call::Describe(group), &Credentials::new(id, secret, None)))?;
    match answer.value {
        Reply::Group(group) => Ok(group.group_info),
        other => Err(Error::new(format!("not a response to Describe: {other:?}"))),
    }
}
