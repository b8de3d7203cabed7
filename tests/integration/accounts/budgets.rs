//! LiveAccounts with the same account ID share a budget, but `requestsPerSecond` limits each LiveAccount separately.

use serde_json::json;

use super::*;
use crate::calls::Calls;

const CREATE: &str = "CreateLiveMessageGroup";

/// The access keys of two LiveAccounts with the same account ID.
const KEYS: [(&str, &str); 2] = [("LTAIone", "hush-one@42"), ("LTAItwo", "hush-two@42")];

#[tokio::test]
async fn accounts_share_a_budget_fairly_but_not_their_caps() -> Result<()> {
    let mut world = world(&KEYS).await?;
    for (name, (id, key_secret)) in ["one", "two"].into_iter().zip(KEYS) {
        secret(&world, name, (id, key_secret.trim_end_matches("@42")))?;
        account(&world, name, json!({"accountId": "42"}))?;
    }
    // Wait for both accounts, then suspend the operator until all objects exist.
    world.start()?;
    for name in ["one", "two"] {
        account_is(&world, name, "Available", 0).await?;
    }
    world.operator.as_mut().unwrap().process.sigstop()?;
    // Create objects for both accounts, alternating between them.
    let all = futures::stream::iter(0..300);
    all.map(async |number| {
        let account = if number % 2 == 0 { "one" } else { "two" };
        world.create(&format!("room{number:04}"), of(account)).await.map(drop)
    })
    .buffer_unordered(32)
    .try_collect::<()>()
    .await?;
    world.operator.as_mut().unwrap().process.sigcont()?;
    world.count_of("Created", 300, 120).await?;
    let calls = world.called(CREATE)?;
    println!(
        "two LiveAccounts with one number: {} calls in {:?}, {} in the busiest second",
        calls.len(),
        calls.span(),
        calls.busiest_second()
    );
    assert!(calls.busiest_second() <= 50 && calls.codes().is_empty(), "{:?}", calls.codes());
    // The calls of both accounts are interleaved. The exact share depends on the order of the first reconcile passes.
    let of_first_key = early_creates_of_first_key(&world)?;
    println!("{of_first_key} of the first 150 creates used the first key");
    assert!((30..=120).contains(&of_first_key), "{of_first_key}");

    account(&world, "two", json!({"accountId": "42", "requestsPerSecond": 5}))?;
    account_is(&world, "two", "Available", 150).await?;
    let start = Timestamp::now();
    create_many(&world, "slow", 30, "two", &json!({})).await?;
    create_many(&world, "fast", 200, "one", &json!({})).await?;
    world
        .until("the objects of the account without a cap to be created", 2 * PATIENCE, async || {
            let objects = world.list().await?;
            let done = objects.iter().filter(|o| o.name_any().starts_with("fast") && crate::world::is(o, "Created"));
            Ok(done.count() == 200)
        })
        .await?;
    world.count_of("Created", 530, PATIENCE).await?;
    let calls = Calls::read(&world.emulator, CREATE)?.after(start);
    let (slow, fast) = (calls.of_key("LTAItwo"), calls.of_key("LTAIone"));
    println!(
        "capped at 5: {} in the busiest second; without a cap: {} in the busiest second, 200 in {:?}",
        slow.busiest_second(),
        fast.busiest_second(),
        fast.span()
    );
    assert!(slow.busiest_second() <= 5, "{}", slow.busiest_second());
    // Even on a slow machine, the account without a cap exceeds 5 calls per second.
    assert!(fast.busiest_second() > 10, "{}", fast.busiest_second());
    Ok(())
}

/// Counts how many of the first 150 creates used the first key.
fn early_creates_of_first_key(world: &World<'_>) -> Result<usize> {
    let requests = world.emulator.requests()?;
    let creates = requests.iter().filter(|request| request.operation == CREATE).take(150);
    Ok(creates.filter(|request| request.access_key_id.as_deref() == Some("LTAIone")).count())
}
