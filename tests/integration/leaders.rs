//! Tests takeovers between two operators with leader election. The leader is stopped, killed, frozen or cut off from
//! the apiserver. `LMO_TAKEOVERS=30` repeats each of these takeovers 30 times.

mod chaos;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Operator, OperatorOptions, Proxy, Result, Scratch, wait_for};
use crate::world::{PATIENCE, World, setting};

const LEASE_DURATION: Duration = Duration::from_secs(15);

/// The interval at which a standby reads the Lease, plus the wait for the first permit.
const TAKEOVER: Duration = Duration::from_secs(3);

/// The delay that a busy machine may add to a takeover.
const SLACK: Duration = Duration::from_secs(7);

/// How a leader stops or fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Stopped,
    Killed,
    Frozen,
    CutOff,
}

impl End {
    const ALL: [Self; 4] = [Self::Stopped, Self::Killed, Self::Frozen, Self::CutOff];
}

/// An operator with its own connection to the apiserver.
struct Replica {
    operator: Operator,
    proxy: Proxy,
}

impl Replica {
    fn start(options: &OperatorOptions, scratch: &Scratch, name: &str) -> Result<Self> {
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&options.kubeconfig)?)?;
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default().to_owned();
        let proxy = Proxy::start(server.trim_start_matches("https://"))?;
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", proxy.address()));
        let kubeconfig: PathBuf = scratch.write(&format!("{name}.kubeconfig"), config.to_string())?;
        let mut options = OperatorOptions { kubeconfig, ..options.clone() };
        options.env.push(("POD_NAME".to_owned(), name.to_owned()));
        let replica = Self { operator: Operator::start(&options)?, proxy };
        wait_for("the replica to elect", Duration::from_secs(60), || {
            let log = replica.operator.process.log();
            Ok((log.contains("acquired the lease") || log.contains("waiting for the lease")).then_some(()))
        })?;
        Ok(replica)
    }

    fn leads(&self) -> bool {
        self.operator.process.log().contains("acquired the lease")
    }

    /// Stops, kills or freezes the leader, or cuts its connection.
    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Stopped => self.operator.process.sigterm(),
            End::Killed => self.operator.process.sigkill(),
            End::Frozen => self.operator.process.sigstop(),
            End::CutOff => {
                self.proxy.silence();
                Ok(())
            }
        }
    }

    /// Waits until the leader has exited. Returns its exit code, or `None` if a signal killed it.
    fn exit_code(&mut self, end: End) -> Result<Option<i32>> {
        if end == End::Frozen {
            self.operator.process.sigcont()?;
        }
        Ok(self.operator.process.wait(Duration::from_secs(30))?.code())
    }
}

/// Returns the options for an operator that uses leader election.
pub fn elected(world: &World<'_>) -> OperatorOptions {
    let mut options = world.options.clone();
    let flags = ["--leader-elect".to_owned(), format!("--leader-elect-resource-name=lmo-{}", world.namespace)];
    options.args.extend(flags);
    options
}

/// Creates an object and waits until it is ready. Returns the elapsed time.
async fn create_ready(world: &World<'_>, name: &str) -> Result<Duration> {
    let started = Instant::now();
    world.create(name, json!({"deletionPolicy": "Delete"})).await?;
    world.ready(name, "True", "Created").await?;
    Ok(started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_takes_over_after_every_end_of_a_leader() -> Result<()> {
    let world = World::new(&[]).await?;
    let (scratch, mut options) = (Scratch::new("leaders")?, elected(&world));
    options.args.push("--drift-check-interval=168h".to_owned());
    let mut leader = Replica::start(&options, &scratch, "replica0")?;
    assert!(leader.leads());
    create_ready(&world, "before").await?;
    let mut times: BTreeMap<End, Vec<Duration>> = BTreeMap::new();
    let ends = std::iter::repeat_n(End::ALL, setting("LMO_TAKEOVERS", 1)?).flatten();
    for (number, end) in ends.enumerate() {
        let standby = Replica::start(&options, &scratch, &format!("replica{}", number + 1))?;
        assert!(!standby.leads());
        create_ready(&world, &format!("settled{number}")).await?;
        leader.end(end)?;
        let took = create_ready(&world, &format!("next{number}")).await?;
        times.entry(end).or_default().push(took);
        let expected = if end == End::Stopped { TAKEOVER } else { LEASE_DURATION + TAKEOVER };
        assert!(took < expected + SLACK, "{end:?}: {took:?}");
        assert!(standby.leads());
        let code = leader.exit_code(end)?;
        let log = leader.operator.process.log();
        match end {
            End::Stopped => assert!(code == Some(0) && log.contains("released the lease"), "{code:?}"),
            End::Killed => assert_eq!(code, None),
            End::Frozen | End::CutOff => assert!(code == Some(1) && log.contains("lost the lease"), "{code:?}: {log}"),
        }
        leader = standby;
    }
    for (end, mut times) in times {
        times.sort();
        let [least, median, most] = [0, times.len() / 2, times.len() - 1].map(|index| times[index].as_secs_f64());
        println!("{end:?}, {} times: next object ready after {least:.1} / {median:.1} / {most:.1} s", times.len());
    }
    for operation in ["CreateLiveMessageGroup", "DescribeLiveMessageGroup"] {
        let calls = world.called(operation)?;
        assert!(calls.busiest_second() <= 50);
        assert!(
            calls.by_group().values().all(|count| *count == 1),
            "a recorded call was repeated: {:?}",
            calls.by_group()
        );
    }
    Ok(())
}

#[tokio::test]
async fn forbidden_lease_is_reported_with_what_to_do() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options = elected(&world);
    world.options.args.push("--leader-elect-resource-namespace=default".to_owned());
    world.start()?;
    world
        .until("the refusal to be logged", PATIENCE, async || {
            Ok(world.log().contains("install the Role of the chart for leases"))
        })
        .await?;
    world.create("room", json!({})).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.requests()?.len(), 0, "a process without the Lease makes no calls");
    Ok(())
}
