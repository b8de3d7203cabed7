//! LiveAccounts of one number share its budget; a cap is one's own.

use serde_json::json;

use super::*;
use crate::calls::Calls;

const CREATE: &str = "CreateLiveMessageGroup";

/// Two keys of one account.
const KEYS: [(&str, &str); 2] = [("LTAIone", "hush-one@42"), ("LTAItwo", "hush-two@42")];

#[tokio::test]
async fn accounts_of_one_number_take_turns_and_a_cap_is_ones_own() -> Result<()> {
    let mut world = world(&KEYS).await?;
    for (name, (id, hush)) in ["one", "two"].into_iter().zip(KEYS) {
        secret(&world, name, (id, hush.trim_end_matches("@42")))?;
        account(&world, name, json!({"accountId": "42"}))?;
    }
    // Both may call before there is anything to do; and all of it is there when the operator goes on.
    world.start()?;
    for name in ["one", "two"] {
        account_is(&world, name, "Available", 0).await?;
    }
    world.operator.as_mut().unwrap().process.sigstop()?;
    // In turn by their names.
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
        "two LiveAccounts of one number: {} calls in {:?}, {} in the busiest second",
        calls.len(),
        calls.span(),
        calls.busiest_second()
    );
    assert!(calls.busiest_second() <= 50 && calls.codes().is_empty(), "{:?}", calls.codes());
    // They took turns: neither had to wait until the other was done. How evenly depends on who was decided first.
    let middle = half(&world)?;
    println!("of the first half {middle} were of the first");
    assert!((30..=120).contains(&middle), "{middle}");

    account(&world, "two", json!({"accountId": "42", "requestsPerSecond": 5}))?;
    account_is(&world, "two", "Available", 150).await?;
    let start = Timestamp::now();
    create_many(&world, "slow", 30, "two", &json!({})).await?;
    create_many(&world, "fast", 200, "one", &json!({})).await?;
    world
        .until("the account without a cap to be done", 2 * PATIENCE, async || {
            let objects = world.list().await?;
            let done = objects.iter().filter(|o| o.name_any().starts_with("fast") && crate::world::is(o, "Created"));
            Ok(done.count() == 200)
        })
        .await?;
    world.count_of("Created", 530, PATIENCE).await?;
    let calls = Calls::read(&world.emulator, CREATE)?.after(start);
    let (slow, fast) = (calls.of_key("LTAItwo"), calls.of_key("LTAIone"));
    println!(
        "capped at 5: {} in the busiest second; the other 200: {} in theirs, in {:?}",
        slow.busiest_second(),
        fast.busiest_second(),
        fast.span()
    );
    assert!(slow.busiest_second() <= 5, "{}", slow.busiest_second());
    // However slow the machine is, there was a second in which no cap held it.
    assert!(fast.busiest_second() > 10, "{}", fast.busiest_second());
    Ok(())
}

/// How many of the first 150 creates were made with the first key.
fn half(world: &World<'_>) -> Result<usize> {
    let requests = world.emulator.requests()?;
    let creates = requests.iter().filter(|request| request.operation == CREATE).take(150);
    Ok(creates.filter(|request| request.access_key_id.as_deref() == Some("LTAIone")).count())
}
