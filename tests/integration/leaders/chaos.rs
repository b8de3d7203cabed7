//! Tests operators that exit, freeze or lose their connection to the apiserver at random moments. At the same time,
//! objects are created and deleted.
//!
//! `LMO_CHAOS_ROUNDS=100` makes the test longer, and `LMO_CHAOS_SEED` repeats the random choices of an earlier run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use live_message_operator::resources::ConditionType;
use serde_json::json;
use tokio::time::sleep;

use super::{End, Replica, elected};
use crate::support::{EmulatorOptions, OperatorOptions, Result, Scratch, repeated_creates};
use crate::world::{World, app, condition, setting};

/// The default number of rounds.
const ROUNDS: usize = 3;

/// The number of objects that each round creates. The next round deletes a third of them.
const OBJECTS: usize = 60;

const OPERATIONS: [&str; 3] = ["CreateLiveMessageGroup", "DescribeLiveMessageGroup", "DeleteLiveMessageGroup"];

/// The maximum time in seconds that the operators may need to process all objects after the last round.
const LONGEST: u64 = 180;

/// Two operators. `started` also counts the operators that have exited.
struct Pair<'a> {
    options: &'a OperatorOptions,
    scratch: &'a Scratch,
    replicas: [Replica; 2],
    started: usize,
    /// The logs of the operators that have exited.
    ended: Vec<String>,
}

impl<'a> Pair<'a> {
    fn start(options: &'a OperatorOptions, scratch: &'a Scratch) -> Result<Self> {
        let replicas = [Replica::start(options, scratch, "pod0")?, Replica::start(options, scratch, "pod1")?];
        Ok(Self { options, scratch, replicas, started: 2, ended: Vec::new() })
    }

    /// Disturbs one of the operators. An operator that is frozen or cut off recovers after `pause`.
    async fn disturb(&mut self, replica: usize, end: End, pause: Duration) -> Result<()> {
        // An operator that lost the Lease in an earlier round may have exited in the meantime.
        self.restart_exited()?;
        self.replicas[replica].end(end)?;
        match end {
            End::Stopped => drop(self.replicas[replica].operator.process.wait(Duration::from_secs(30))?),
            End::Killed => {}
            End::Frozen => {
                sleep(pause).await;
                self.replicas[replica].operator.process.sigcont()?;
            }
            End::CutOff => {
                sleep(pause).await;
                self.replicas[replica].proxy.recover();
            }
        }
        Ok(())
    }

    /// Restarts the operators that have exited, as a kubelet does.
    fn restart_exited(&mut self) -> Result<()> {
        for replica in &mut self.replicas {
            if replica.operator.process.exited()?.is_some() {
                self.ended.push(replica.operator.process.log());
                *replica = Replica::start(self.options, self.scratch, &format!("pod{}", self.started))?;
                self.started += 1;
            }
        }
        Ok(())
    }
}

impl Pair<'_> {
    /// Returns the lines that contain one of these words, from all logs, sorted by time.
    fn lines_about(&self, words: &[String]) -> String {
        let current = self.replicas.iter().map(|replica| replica.operator.process.log());
        let logs: Vec<String> = self.ended.iter().cloned().chain(current).collect();
        let lines = logs.iter().enumerate().flat_map(|(number, log)| log.lines().map(move |line| (line, number)));
        let mut lines: Vec<_> = lines.filter(|(line, _)| words.iter().any(|word| line.contains(word))).collect();
        lines.sort_unstable();
        lines.iter().map(|(line, number)| format!("log {number}: {line}\n")).collect()
    }
}

/// Returns the groups in the emulator that are not deleted.
fn existing_groups(world: &World<'_>) -> Result<BTreeSet<String>> {
    let state = world.emulator.get("/state")?;
    let groups = state["apps"][0]["groups"].as_array().into_iter().flatten();
    let existing = groups.filter(|group| group["deleted"].is_null());
    Ok(existing.filter_map(|group| group["id"].as_str()).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_failures_lose_no_group_and_leave_none_behind() -> Result<()> {
    let rounds = setting("LMO_CHAOS_ROUNDS", ROUNDS)?;
    let seed = setting("LMO_CHAOS_SEED", fastrand::u64(..))?;
    println!("LMO_CHAOS_SEED={seed} LMO_CHAOS_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let args = vec!["--latency-ms=40".to_owned()];
    let world = World::with(EmulatorOptions { args, ..app() }).await?;
    let (scratch, mut options) = (Scratch::new("chaos")?, elected(&world));
    options.args.push("--drift-check-interval=168h".to_owned());
    let mut pair = Pair::start(&options, &scratch)?;
    for round in 0..rounds {
        let create = async {
            for number in 0..OBJECTS {
                world.create(&format!("r{round}n{number}"), json!({"deletionPolicy": "Delete"})).await?;
                if round > 0 && number % 3 == 0 {
                    world.api.delete(&format!("r{}n{number}", round - 1), &DeleteParams::default()).await?;
                }
            }
            Ok::<_, crate::support::Error>(())
        };
        let (replica, end) = (random.usize(0..2), random.choice(End::ALL).unwrap_or(End::Killed));
        let [before, pause] = [1_500, 22_000].map(|most| Duration::from_millis(random.u64(0..most)));
        let disturb = async {
            sleep(before).await;
            pair.disturb(replica, end, pause).await
        };
        println!("round {round}: operator {replica} {end:?} after {before:?}, for {pause:?}");
        let (created, disturbed) = tokio::join!(create, disturb);
        created.and(disturbed)?;
        pair.restart_exited()?;
    }
    // An operator that lost the Lease in the last round may exit during this wait and must then be restarted.
    let pair = tokio::sync::Mutex::new(pair);
    let expected = OBJECTS * rounds - (OBJECTS / 3) * (rounds - 1);
    let objects = world
        .find("every object to be ready or gone", LONGEST, async || {
            pair.lock().await.restart_exited()?;
            let objects = world.list().await?;
            let ready = objects.iter().filter(|object| condition(object, ConditionType::Ready)[0] == "True").count();
            Ok((objects.len() == expected && ready == expected).then_some(objects))
        })
        .await?;

    let names: BTreeSet<String> = objects.iter().map(|object| object.name_any()).collect();
    assert_eq!(existing_groups(&world)?, names, "no group is lost, and none is left behind");
    for operation in OPERATIONS {
        let busiest = world.called(operation)?.busiest_second();
        assert!(busiest <= 50, "{busiest} calls of {operation} in one second");
    }
    let ready_times: BTreeMap<String, Timestamp> = objects
        .iter()
        .filter_map(|object| Some((object.name_any(), object.condition(ConditionType::Ready)?.last_transition_time.0)))
        .collect();
    let pair = pair.into_inner();
    let creates = world.called(OPERATIONS[0])?;
    let repeated = repeated_creates(&world.emulator.requests()?, &ready_times).inspect_err(|_| {
        let groups = creates.by_group().into_iter().filter(|(_, count)| *count > 1);
        let mut words: Vec<String> = groups.map(|(group, _)| format!("/{group} ")).collect();
        words.extend(["lease", "watch"].map(str::to_owned));
        println!("{}", pair.lines_about(&words));
    })?;
    println!("creates repeated before their status was written: {repeated}");
    Ok(())
}
