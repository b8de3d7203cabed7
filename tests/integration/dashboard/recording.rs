//! Records the metrics of two replicas during a burst, faults, edits, deletions and a takeover.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DeleteParams};
use live_message_operator::live::Call;
use live_message_operator::resources::LiveMessageGroup;
use serde_json::{Value, json};

use crate::accounts;
use crate::by_hand::{ByHand, group};
use crate::leaders::elected;
use crate::metrics::scrape_of;
use crate::support::{Context as _, Operator, Result, repository, shared_control_plane};
use crate::world::{PATIENCE, World, app, create_in};

/// The recorded series, in the notation of promtool.
pub const RECORDING: &str = "tests/dashboard/burst.json";

/// The time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The number of samples.
pub const SAMPLES: u32 = 37;

/// The leader is killed immediately before the sample with this index.
const KILLED: usize = 27;

/// The number of objects that the burst creates in each of the two namespaces.
const OBJECTS: [usize; 2] = [900, 200];

/// The samples of each series. A sample is `None` if the operator cannot be scraped or does not export the series.
#[derive(Default)]
struct Recording(BTreeMap<String, Vec<Option<f64>>>);

impl Recording {
    /// Adds sample number `index` of a pod.
    async fn sample(&mut self, index: usize, pod: usize, operator: &Operator, names: &[(String, &str)], start: f64) {
        let Ok(shown) = scrape_of(operator).await else { return };
        for (name, labels, value) in shown.all() {
            let mut labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            labels.push(format!(r#"pod="{pod}",instance="{pod}""#));
            let series = format!("{name}{{{}}}", labels.join(","));
            let series = names.iter().fold(series, |series, (from, to)| series.replace(from.as_str(), to));
            // In promtool, time starts at zero.
            let is_time = name.contains("timestamp_seconds") || name.contains("start_time_seconds");
            let value = if is_time { value - start } else { value };
            let samples = self.0.entry(series).or_default();
            samples.resize(index, None);
            samples.push(Some((value * 1000.0).round() / 1000.0));
        }
    }

    /// Serializes the recording as a JSON array with one line for each series.
    fn lines(mut self) -> String {
        self.0.values_mut().for_each(|samples| samples.resize(SAMPLES as usize, None));
        let lines =
            self.0.iter().map(|(series, samples)| json!({"series": series, "values": values(samples)}).to_string());
        format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n"))
    }
}

/// The recorded series, with the labels that Prometheus adds.
pub fn recorded() -> Result<Vec<Value>> {
    let text = fs::read_to_string(repository().join(RECORDING)).context(RECORDING)?;
    let mut recorded: Vec<Value> = serde_json::from_str(&text).context(RECORDING)?;
    for line in &mut recorded {
        let series = line["series"].as_str().and_then(|series| series.strip_suffix('}')).context("a series")?;
        line["series"] = json!(format!(r#"{series},namespace="lmo",job="lmo-metrics"}}"#));
    }
    Ok(recorded)
}

/// Formats samples in the notation of promtool. `VALUE` is one sample, `VALUExN` is a sample that is followed by N more
/// samples with the same value, and `_xN` is N missing samples.
fn values(samples: &[Option<f64>]) -> String {
    let mut words = Vec::new();
    for run in samples.chunk_by(|one, next| one == next) {
        match run[0] {
            Some(value) if run.len() == 1 => words.push(value.to_string()),
            Some(value) => words.push(format!("{value}x{}", run.len() - 1)),
            // Mark the end of a series as stale, as Prometheus does after a failed scrape.
            None if !words.is_empty() => {
                words.push("stale".to_owned());
                words.push(format!("_x{}", run.len() - 1));
            }
            None => words.push(format!("_x{}", run.len())),
        }
    }
    words.retain(|word| word != "_x0");
    words.join(" ")
}

#[test]
fn samples_are_written_in_the_notation_of_promtool() {
    let samples = [None, None, Some(1.0), Some(2.5), Some(2.5), Some(2.5), None, Some(3.0), None, None];
    assert_eq!(values(&samples), "_x2 1 2.5x2 stale 3 stale _x1");
}

/// Simulates the actions of users and other clients.
async fn act(world: &World<'_>, second: &Api<LiveMessageGroup>, started: Instant) -> Result<()> {
    let wait_for = async |sample: u32| tokio::time::sleep((INTERVAL * sample).saturating_sub(started.elapsed())).await;
    wait_for(2).await;
    world.emulator.faults(&["CreateLiveMessageGroup:throttle,share=1%"])?;
    world.create_many("room", OBJECTS[0]).await?;
    let others = futures::stream::iter(0..OBJECTS[1]).map(async |number| {
        create_in(second, &format!("room{number}"), json!({"groupId": format!("second{number}")})).await
    });
    others.buffer_unordered(32).try_collect::<Vec<_>>().await?;
    wait_for(8).await;
    world.emulator.faults(&[])?;
    wait_for(13).await;
    create_in(second, "lost", json!({"appId": "no"})).await?;
    accounts::account(world, "team", json!({}))?;
    world.create("unpaid", accounts::of("team")).await?;
    let hand = ByHand::at(world)?;
    world.ready("room002", "True", "Created").await?;
    hand.call(Call::Delete(group("room002"))).await?;
    wait_for(17).await;
    world.emulator.faults(&["ModifyLiveMessageGroup:error=ServerError,share=20%"])?;
    for number in 10..110 {
        let spec = json!({"spec": {"groupInfo": "new", "deletionPolicy": "Delete"}});
        world.patch(&format!("room{number:03}"), spec).await?;
    }
    wait_for(20).await;
    world.emulator.faults(&[])?;
    world.ready("room100", "True", "Created").await?;
    hand.set_info("room100", "theirs").await?;
    wait_for(24).await;
    for number in 10..60 {
        world.api.delete(&format!("room{number:03}"), &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Records the samples with which the queries of the dashboard are tested. The recording takes three minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "records metrics: see docs/development.md"]
async fn record_burst() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let second = control_plane.namespace()?;
    let mut world = World::on(control_plane, app(), &[&second]).await?;
    world.options = elected(&world);
    let flags = ["--drift-check-interval=15s", "--metric-namespaces=1"];
    // With these times, the leader keeps the Lease even on a busy machine.
    let patient = ["--leader-elect-lease-duration=30s", "--leader-elect-renew-deadline=24s"];
    world.options.args.extend(flags.iter().chain(&patient).map(|flag| (*flag).to_owned()));
    world.start()?;
    let leads = async || Ok(world.log().contains("acquired the lease"));
    world.until("the first operator to lead", PATIENCE, leads).await?;
    let mut pods = [world.operator.take(), Some(Operator::start(&world.options)?)];
    let others = Api::namespaced(control_plane.client().await?, &second);
    let config: Value = serde_json::from_str(&fs::read_to_string(&world.options.kubeconfig)?)?;
    let apiserver = config["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default();
    let names = [
        (world.namespace.clone(), "team-a"),
        (second.clone(), "team-b"),
        (apiserver.trim_start_matches("https://").to_owned(), "10.96.0.1:443"),
    ];
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let (started, mut recording) = (Instant::now(), Recording::default());
    let record = async {
        for index in 0..SAMPLES as usize {
            tokio::time::sleep((INTERVAL * index as u32).saturating_sub(started.elapsed())).await;
            if index == KILLED
                && let Some(mut leader) = pods[0].take()
            {
                leader.process.sigkill()?;
            }
            for (pod, operator) in pods.iter().enumerate() {
                if let Some(operator) = operator {
                    recording.sample(index, pod, operator, &names, start).await;
                }
            }
        }
        Result::Ok(())
    };
    tokio::try_join!(record, act(&world, &others, started))?;
    let lines = recording.lines();
    assert!(!lines.contains(&world.namespace) && lines.contains("team-a"), "the names are replaced");
    fs::write(repository().join(RECORDING), lines)?;
    Ok(())
}
