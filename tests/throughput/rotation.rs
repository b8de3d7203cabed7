//! Tests a credential rotation while hundreds of objects wait for a permit.

use live_message_operator::resources::ConditionType;
use serde_json::json;

use crate::support::{Result, Scratch, admin_request};
use crate::world::{World, app};
use crate::{CREATE, MEASURING};

#[tokio::test]
async fn key_rotation_stalls_no_object() -> Result<()> {
    let _guard = MEASURING.acquire().await?;
    let dir = Scratch::new("ini")?;
    let file = dir.join("credentials.ini");
    let write = |id: &str, secret: &str| {
        let text = format!("[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n");
        std::fs::write(&file, text)
    };
    let mut world = World::with(app()).await?;
    let (old, secret) = world.options.access_key.clone();
    write(&old, &secret)?;
    // An empty variable counts as unset, so the credential chain continues with the file.
    world.options.access_key = (String::new(), String::new());
    world.options.env.push(("ALIBABA_CLOUD_CREDENTIALS_FILE".to_owned(), file.display().to_string()));
    world.create_many("g", 500).await?;
    world.start()?;
    world.until("a hundred creates", 120, async || Ok(world.called(CREATE)?.len() >= 100)).await?;

    let admin = world.emulator.admin_url();
    let admin = admin.trim_start_matches("http://");
    admin_request(admin, "PUT", "/keys/renewed", &json!({"secret": "renewed-secret"}).to_string())?;
    write("renewed", "renewed-secret")?;
    admin_request(admin, "DELETE", &format!("/keys/{old}"), "")?;

    let mut stalled = 0;
    world
        .until("all to be ready", 120, async || {
            let objects = world.list().await?;
            let stalled_count =
                objects.iter().filter(|object| object.condition(ConditionType::Stalled).is_some()).count();
            assert_eq!(stalled_count, 0, "an object is stalled although the new key is valid");
            Ok(objects.iter().all(|object| crate::world::is(object, "Created")))
        })
        .await?;
    stalled += world.list().await?.iter().filter(|o| o.condition(ConditionType::Stalled).is_some()).count();
    let creates = world.called(CREATE)?;
    println!(
        "500 creates with a key rotation: {} rejected with the old key, {stalled} objects stalled, {:.1} s",
        creates.codes().len(),
        creates.span().as_secs_f64()
    );
    // Only calls in flight during the rotation can be rejected. There are at most 50 such calls. On an idle machine,
    // there are only one or two.
    assert!(creates.codes().len() <= 50, "{:?}", creates.codes());
    Ok(())
}
