//! Namespaces that are deleted with everything in them, by the real namespace controller: it takes what is in them in any
//! order, credentials and permissions too, and nothing can be made in them any more.

use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use serde_json::json;

use crate::accounts::{KEY, SECRET, account, create_many, emulator, secret};
use crate::by_hand::ByHand;
use crate::support::Result;
use crate::world::World;

const OBJECTS: usize = 5;

/// A namespace with a Secret, a LiveAccount and objects that have created their groups. The operator is at home in another
/// one and may work in all of them.
async fn team() -> Result<World<'static>> {
    let mut world = World::with(emulator(&[(KEY, SECRET)])).await?;
    let home = world.control_plane.namespace()?;
    let flags = ["--set", "rbac.secrets=cluster"];
    world.options.kubeconfig = world.control_plane.operator_kubeconfig_with(&home, &[], &flags)?;
    fill(&mut world).await?;
    Ok(world)
}

async fn fill(world: &mut World<'_>) -> Result<()> {
    secret(world, "team", (KEY, SECRET))?;
    account(world, "team", json!({}))?;
    create_many(world, "room", OBJECTS, "team", &json!({"deletionPolicy": "Delete"})).await?;
    world.start()?;
    world.count_of("Created", OBJECTS, 60).await.map(drop)
}

fn delete_namespace(world: &World<'_>) -> Result<()> {
    world.control_plane.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]).map(drop)
}

async fn until_gone(world: &World<'_>, seconds: u64) -> Result<()> {
    let api: Api<Namespace> = Api::all(world.control_plane.client().await?);
    let gone = async || Ok(api.get_opt(&world.namespace).await?.is_none());
    world.until("the namespace to be gone", seconds, gone).await
}

/// How many of the groups are deleted.
async fn deleted_groups(world: &World<'_>) -> Result<usize> {
    let hand = ByHand::at(world)?;
    let mut deleted = 0;
    for number in 0..OBJECTS {
        deleted += usize::from(hand.describe(&format!("room{number:04}")).await?.deleted);
    }
    Ok(deleted)
}

#[tokio::test]
async fn a_namespace_deleted_in_one_go_takes_its_groups_with_it() -> Result<()> {
    let world = team().await?;
    let started = Instant::now();
    delete_namespace(&world)?;
    until_gone(&world, 60).await?;
    println!("{OBJECTS} objects, their Secret and LiveAccount gone with their namespace after {:?}", started.elapsed());
    assert_eq!(deleted_groups(&world).await?, OBJECTS);
    // What happened cannot be told in a namespace that goes away, and nobody tries for long.
    let refused = world.log().matches("an event was not taken").count();
    assert!(refused <= 2 * OBJECTS, "{refused} events were refused");
    Ok(())
}
