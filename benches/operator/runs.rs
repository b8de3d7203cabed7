//! The runs of the benchmark. Each run of an operator starts a new emulator and a new operator process. Runs that
//! create objects also use a new namespace.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::apiserver::Requests;
use crate::measure::{self, Memory};
use crate::objects;
use crate::subject::{Place, Running, Subject};
use crate::support::{ControlPlane, Emulator, EmulatorOptions, Error, Result};

/// The timeout for an operator to settle after it starts.
const SETTLES: Duration = Duration::from_secs(900);

/// The control plane of all runs.
pub struct Stage {
    pub control_plane: ControlPlane,
    /// How long a run waits after the last object is ready, so that the operator can send its remaining events. A run
    /// with existing objects waits for the same time after the operator is ready.
    rest: Duration,
}

impl Stage {
    pub fn start(rest: Duration) -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        control_plane.apply_crds()?;
        Ok(Self { control_plane, rest })
    }

    /// Starts an emulator. If `limit` is `None`, the emulator never throttles calls.
    fn emulator(limit: Option<u32>, latency: Duration) -> Result<Emulator> {
        let limit = limit.unwrap_or_default().to_string();
        let latency = latency.as_millis().to_string();
        let args = ["--requests-per-second", &limit, "--latency-ms", &latency, "--groups-per-app", "100000"];
        Emulator::start(&EmulatorOptions {
            apps: objects::APPS.map(str::to_owned).to_vec(),
            args: args.map(str::to_owned).to_vec(),
            ..EmulatorOptions::default()
        })
    }

    /// The CPU time of the apiserver, in seconds.
    fn apiserver_cpu(&self) -> Result<f64> {
        let [_, apiserver] = self.control_plane.pids();
        measure::cpu(apiserver)
    }
}

/// The result of a run with new objects.
pub struct New {
    /// The time from the first creation until the last object is ready, in seconds.
    pub seconds: f64,
    /// The CPU time of the operator, in seconds.
    pub cpu: f64,
    /// The CPU time of the apiserver, in seconds.
    pub apiserver: f64,
    pub requests: Requests,
    /// The times at which the creates arrived at the Live API, in seconds after the first creation.
    pub arrivals: Vec<f64>,
    /// The times at which the objects became ready, in seconds after the first creation.
    pub ready: Vec<f64>,
    /// The number of throttled calls.
    pub throttled: usize,
}

/// Creates objects while an operator runs, and waits until they are ready.
pub async fn new_objects(stage: &Stage, subject: Subject, count: usize, limit: Option<u32>) -> Result<New> {
    let place = Place::new(&stage.control_plane)?;
    let client = stage.control_plane.client().await?;
    let emulator = Stage::emulator(limit, Duration::ZERO)?;
    let mut running = Running::start_warm(subject, &place, &emulator, limit)?;
    let requests = Requests::read(&stage.control_plane)?;
    let (cpu, apiserver, begin) = (measure::cpu(running.pid())?, stage.apiserver_cpu()?, Instant::now());
    let clock = jiff::Timestamp::now();
    let ready = objects::all_ready(objects::watch(&client, &place.namespace), count);
    let done = tokio::try_join!(objects::create_new(&client, &place.namespace, count), ready);
    let ((), ready) = done.map_err(|error| running.explain(&error))?;
    let seconds = begin.elapsed().as_secs_f64();
    tokio::time::sleep(stage.rest).await;
    let result = New {
        seconds,
        cpu: measure::cpu(running.pid())? - cpu,
        apiserver: stage.apiserver_cpu()? - apiserver,
        requests: Requests::read(&stage.control_plane)? - requests,
        arrivals: arrivals(&emulator, clock)?,
        ready,
        throttled: emulator.requests()?.iter().filter(|call| call.code.as_deref() == Some(THROTTLED)).count(),
    };
    let created = emulator.calls(CREATE)? - result.throttled;
    running.stop()?;
    // If the operator did not create exactly one group for each object, its results cannot be compared.
    if created != count {
        return Err(Error::new(format!("{}: {created} creates for {count} objects", subject.name())));
    }
    Ok(result)
}

const CREATE: &str = "CreateLiveMessageGroup";
const THROTTLED: &str = "Throttling.User";

/// Returns the times at which the creates arrived at the Live API, in seconds after `begin`.
fn arrivals(emulator: &Emulator, begin: jiff::Timestamp) -> Result<Vec<f64>> {
    let requests = emulator.requests()?;
    let creates = requests.iter().filter(|call| call.operation == CREATE);
    creates.map(|call| Ok(call.arrived()?.duration_since(begin).as_secs_f64())).collect()
}

/// Creates objects while no operator runs, and returns the CPU time that the apiserver used, in seconds.
pub async fn creation_alone(stage: &Stage, count: usize) -> Result<f64> {
    let namespace = stage.control_plane.namespace()?;
    let client = stage.control_plane.client().await?;
    let apiserver = stage.apiserver_cpu()?;
    objects::create_new(&client, &namespace, count).await?;
    tokio::time::sleep(stage.rest).await;
    Ok(stage.apiserver_cpu()? - apiserver)
}

/// Creates `count` objects one after another, and returns the time from each creation until the object is ready, in
/// seconds. The emulator answers each call after `latency`.
pub async fn single_objects(stage: &Stage, subject: Subject, count: usize, latency: Duration) -> Result<Vec<f64>> {
    let place = Place::new(&stage.control_plane)?;
    let client = stage.control_plane.client().await?;
    let emulator = Stage::emulator(Some(50), latency)?;
    let mut running = Running::start_warm(subject, &place, &emulator, Some(50))?;
    let times = objects::one_by_one(&client, &place.namespace, count).await;
    let times = times.map_err(|error| running.explain(&error))?;
    running.stop()?;
    Ok(times)
}

/// Starts the operator and creates objects in the namespace of `place`, while the other objects in this namespace wait
/// for the same permits at a lower priority. Returns the time from each creation until the first call for the object
/// arrives at the Live API, in seconds.
pub async fn first_calls(stage: &Stage, place: &Place, numbers: Range<usize>) -> Result<Vec<f64>> {
    let client = stage.control_plane.client().await?;
    let emulator = Stage::emulator(Some(50), Duration::ZERO)?;
    let mut running = Running::start_warm(Subject::Operator, place, &emulator, Some(50))?;
    let begun = objects::create_spaced(&client, &place.namespace, numbers).await;
    let begun = begun.map_err(|error| running.explain(&error))?;
    tokio::time::sleep(stage.rest).await;
    let times = first_arrivals(&emulator, &begun).map_err(|error| running.explain(&error))?;
    running.stop()?;
    Ok(times)
}

/// Returns the time from each creation in `begun` until the first call for the group arrived, in seconds.
fn first_arrivals(emulator: &Emulator, begun: &BTreeMap<String, jiff::Timestamp>) -> Result<Vec<f64>> {
    let mut arrived = BTreeMap::new();
    for call in emulator.requests()? {
        if let Some(group) = call.param("GroupId") {
            arrived.entry(group.to_owned()).or_insert(call.arrived()?);
        }
    }
    let missing: Vec<&String> = begun.keys().filter(|group| !arrived.contains_key(*group)).collect();
    if let Some(first) = missing.first() {
        let (missing, all) = (missing.len(), begun.len());
        return Err(Error::new(format!("no call arrived for {missing} of {all} new objects, such as {first}")));
    }
    Ok(begun.iter().map(|(group, begun)| arrived[group].duration_since(*begun).as_secs_f64()).collect())
}

/// The result of a run that starts an operator with existing objects.
pub struct Start {
    /// The time until the operator is ready, in seconds.
    pub ready: f64,
    /// The memory usage at the end of the idle period.
    pub memory: Memory,
    /// The duration of a scrape, in seconds. It is 0 for the yardstick, which does not serve metrics.
    pub scrape: f64,
    /// The number of calls to the Live API.
    pub calls: usize,
    /// The number of object writes.
    pub writes: f64,
    /// The share of a core that the operator uses while nothing changes.
    pub idle: f64,
}

/// Starts an operator that watches the namespace of `place`, which can contain settled objects. Waits until the
/// operator uses almost no CPU time, and then measures it for the duration of `idle`.
pub async fn start(stage: &Stage, subject: Subject, place: &Place, idle: Duration) -> Result<Start> {
    // The yardstick calls the Live API for each settled object. Without a rate limit, these calls do not take long.
    let emulator = Stage::emulator(None, Duration::ZERO)?;
    let requests = Requests::read(&stage.control_plane)?;
    let begin = Instant::now();
    let running = Running::start(subject, place, &emulator, None)?;
    let ready = measure::ready(&running.probes()?, begin)?.as_secs_f64();
    tokio::time::sleep(stage.rest).await;
    measure::quiet(running.pid(), SETTLES).await?;
    let (cpu, begin) = (measure::precise_cpu(running.pid())?, Instant::now());
    tokio::time::sleep(idle).await;
    let cpu = measure::precise_cpu(running.pid())? - cpu;
    let idle = cpu / begin.elapsed().as_secs_f64();
    let memory = measure::memory(running.pid())?;
    let scrape = if subject == Subject::Operator { measure::scrape(&running.probes()?)? } else { 0.0 };
    running.stop()?;
    let writes = (Requests::read(&stage.control_plane)? - requests).patches;
    Ok(Start { ready, memory, scrape, calls: emulator.requests()?.len(), writes, idle })
}
