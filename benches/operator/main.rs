//! Compares the operator with a plain controller-runtime operator (`benches/yardstick`). The benchmark runs the two
//! operators alternately, with the same apiserver and the same emulator settings.
//!
//! `make bench` takes about 20 minutes on two cores. It requires the same tools as the integration tests. It runs only
//! on Linux, because it reads memory and CPU time from `/proc`. With `BENCH_SMOKE=1`, it uses few objects and only
//! checks that the table can be produced. `make bench-large` creates 5,000 objects at the rate limit, measures the
//! operator with 100,000 objects, and writes plots to `docs/images`.
//! Arguments select parts of the benchmark, for example `cargo bench --bench operator -- unlimited`; see [`PARTS`].

mod apiserver;
mod measure;
mod objects;
mod plot;
mod runs;
mod subject;
mod table;

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; each uses a part of it")]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use measure::{busiest_second, median, percentile};
use plot::Line;
use runs::Stage;
use subject::{Place, Subject};
use support::Result;
use table::Row;

/// The latency of the Live API in the runs that create objects one after another.
const LATENCY: Duration = Duration::from_millis(20);

/// The rate limit of an account, in calls per second.
const LIMIT: u32 = 50;

/// The numbers of objects and runs.
struct Sizes {
    runs: usize,
    /// The number of new objects in a run without a rate limit.
    unlimited: usize,
    /// The number of new objects in a run with the account's rate limit.
    limited: usize,
    /// The number of objects that are created one after another.
    single: usize,
    /// The number of settled objects, which need no calls.
    settled: usize,
    /// The number of objects that wait for permits while new objects are created.
    waiting: usize,
    /// The operators that are measured with settled objects.
    settled_subjects: &'static [Subject],
    /// The folder of the plots.
    plots: &'static str,
    /// How long an idle operator is measured.
    idle: Duration,
    /// The delay before the CPU time is read.
    rest: Duration,
}

const FULL: Sizes = Sizes {
    runs: 3,
    unlimited: 2_000,
    limited: 1_000,
    single: 100,
    settled: 10_000,
    waiting: 5_000,
    settled_subjects: &BOTH,
    plots: "target/bench",
    idle: Duration::from_secs(30),
    rest: Duration::from_secs(5),
};
const SMOKE: Sizes = Sizes {
    runs: 1,
    unlimited: 50,
    limited: 60,
    single: 5,
    settled: 50,
    waiting: 50,
    settled_subjects: &BOTH,
    plots: "target/bench",
    idle: Duration::from_secs(1),
    rest: Duration::from_secs(1),
};
/// The sizes for `make bench-large`. With this many settled objects, a measurement of the yardstick would take more
/// than half an hour, because the yardstick calls the Live API for each of these objects after every start.
const LARGE: Sizes = Sizes {
    limited: 5_000,
    settled: 100_000,
    waiting: 100_000,
    settled_subjects: &[Subject::Operator],
    plots: "docs/images",
    ..FULL
};
const BOTH: [Subject; 2] = [Subject::Yardstick, Subject::Operator];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The parts of the benchmark. Without an argument, all of them run.
const PARTS: [&str; 5] = ["unlimited", "limited", "single", "settled", "waiting"];

/// The parts that `make bench-large` runs.
const LARGE_PARTS: [&str; 3] = ["limited", "settled", "waiting"];

async fn run() -> Result<()> {
    let large = std::env::args().any(|arg| arg == "large");
    let smoke = std::env::var_os("BENCH_SMOKE").is_some_and(|value| value == "1");
    let sizes = if large {
        LARGE
    } else if smoke {
        SMOKE
    } else {
        FULL
    };
    let selected: Vec<String> = std::env::args().filter(|arg| PARTS.contains(&arg.as_str())).collect();
    let runs = |part: &str| {
        if selected.is_empty() { !large || LARGE_PARTS.contains(&part) } else { selected.iter().any(|arg| arg == part) }
    };
    let stage = Stage::start(sizes.rest)?;
    let mut rows = Vec::new();
    for part in PARTS.into_iter().filter(|part| runs(part)) {
        let measured = match part {
            "unlimited" => unlimited(&stage, &sizes).await?,
            "limited" => limited(&stage, &sizes).await?,
            "single" => single(&stage, &sizes).await?,
            "settled" => settled(&stage, &sizes).await?,
            _ => waiting(&stage, &sizes).await?,
        };
        // A later part can fail.
        eprintln!("{}", table::markdown(&measured));
        rows.extend(measured);
    }
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, shared by etcd, kube-apiserver, the emulator, the operator and the benchmark.");
    println!("Medians of {} runs of each operator, alternating.\n", sizes.runs);
    print!("{}", table::markdown(&rows));
    println!("\n{NOTES}");
    Ok(())
}

const NOTES: &str = "\
limit: the best value that any operator can reach; for the apiserver CPU, the cost of creating the objects without an operator.
ratio: operator / yardstick. Both run with leader election.
Both record one event for each new object, but the operator drops events while 1,024 wait to be sent.
CPU is measured from the first creation until 5 s after the last object is ready.
Each settled object has 2 KiB of groupInfo. Memory is read after the idle period.
The yardstick calls the Live API for each settled object after a start; it is measured when these calls are done.
Its first start also writes the status of each settled object.
It does not adopt or delete groups, does not check for drift, and does not serve metrics.";

/// Alternates between the operators, and runs `work` `runs` times for each of them.
async fn alternating<T>(
    what: &str,
    runs: usize,
    subjects: &[Subject],
    work: impl AsyncFn(Subject) -> Result<T>,
) -> Result<Vec<(Subject, T)>> {
    let mut results = Vec::new();
    for run in 1..=runs {
        for &subject in subjects {
            eprintln!("{what}: {}, run {run} of {runs}", subject.name());
            results.push((subject, work(subject).await?));
        }
    }
    Ok(results)
}

async fn unlimited(stage: &Stage, sizes: &Sizes) -> Result<Vec<Row>> {
    let count = sizes.unlimited;
    let objects = count as f64;
    let mut alone = Vec::new();
    for _ in 0..sizes.runs {
        alone.push(runs::creation_alone(stage, count).await? * 1000.0 / objects);
    }
    let what = format!("{count} new objects without a limit");
    let results =
        alternating(&what, sizes.runs, &BOTH, async |subject| runs::new_objects(stage, subject, count, None).await);
    let results = results.await?;
    Ok(vec![
        Row::new(format!("new objects per CPU second, no rate limit ({count} objects)"), 0)
            .of(&results, |run| objects / run.cpu),
        Row::new("new objects per second, no rate limit", 0).of(&results, |run| objects / run.seconds),
        Row::new("GET of objects per new object", 2).limit(0.0).of(&results, |run| run.requests.gets / objects),
        Row::new("PATCH of objects per new object", 2).limit(1.0).of(&results, |run| run.requests.patches / objects),
        Row::new("POST of events per new object", 2).of(&results, |run| run.requests.events / objects),
        Row::new("CPU of the apiserver per new object, ms", 2)
            .limit(median(&mut alone))
            .of(&results, |run| run.apiserver * 1000.0 / objects),
    ])
}

async fn limited(stage: &Stage, sizes: &Sizes) -> Result<Vec<Row>> {
    let count = sizes.limited;
    let what = format!("{count} new objects at {LIMIT} calls per second");
    let work = async |subject| runs::new_objects(stage, subject, count, Some(LIMIT)).await;
    let results = alternating(&what, sizes.runs, &BOTH, work).await?;
    write_plots(sizes, &results)?;
    // The first `LIMIT` calls can be sent immediately, so only the remaining calls have to wait.
    let floor = (count as f64 - f64::from(LIMIT)) / f64::from(LIMIT);
    Ok(vec![
        Row::new(format!("{count} new objects at {LIMIT} calls per second, s"), 1)
            .limit(floor)
            .of(&results, |run| run.seconds),
        Row::new("... calls in the busiest second", 0)
            .limit(LIMIT.into())
            .of(&results, |run| busiest_second(&run.arrivals) as f64),
        Row::new("... throttled calls", 0).limit(0.0).of(&results, |run| run.throttled as f64),
        Row::new("... CPU of the operator, s", 2).of(&results, |run| run.cpu),
    ])
}

/// Plots the last run of each operator.
fn write_plots(sizes: &Sizes, results: &[(Subject, runs::New)]) -> Result<()> {
    let draw = |file: &str, title: &str, points: fn(&runs::New) -> Vec<(f64, f64)>| -> Result<()> {
        let line = |subject: Subject, color| {
            let run = results.iter().rev().find(|(of, _)| *of == subject);
            let points = run.map(|(_, run)| points(run)).unwrap_or_default();
            Line { name: subject.name(), color, points }
        };
        let lines = [line(Subject::Yardstick, "#c60"), line(Subject::Operator, "#06c")];
        let title = format!("{} new objects at {LIMIT} calls per second: {title}", sizes.limited);
        write_plot(sizes, file, &plot::svg(&title, "seconds after the first creation", &lines))
    };
    draw("arrivals.svg", "calls in each second", |run| plot::per_second(&run.arrivals))?;
    draw("ready.svg", "objects that are ready", |run| plot::cumulative(&run.ready))
}

fn write_plot(sizes: &Sizes, file: &str, svg: &str) -> Result<()> {
    let folder = support::repository().join(sizes.plots);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(file);
    std::fs::write(&path, svg)?;
    eprintln!("plot: {}", path.display());
    Ok(())
}

async fn single(stage: &Stage, sizes: &Sizes) -> Result<Vec<Row>> {
    let count = sizes.single;
    let what = format!("{count} objects one after another");
    let work = async |subject| runs::single_objects(stage, subject, count, LATENCY).await;
    let results = alternating(&what, sizes.runs, &BOTH, work).await?;
    let row = |name: &str, share: f64| {
        Row::new(format!("apply to Ready of one object, idle operator, {name}, ms"), 1)
            .limit(LATENCY.as_millis() as f64)
            .of(&results, |times| percentile(times, share) * 1000.0)
    };
    Ok(vec![row("p50", 0.5), row("p99", 0.99)])
}

async fn settled(stage: &Stage, sizes: &Sizes) -> Result<Vec<Row>> {
    let places = (Place::new(&stage.control_plane)?, Place::new(&stage.control_plane)?);
    let of = |subject| if subject == Subject::Yardstick { &places.0 } else { &places.1 };
    let work = async |subject| runs::start(stage, subject, of(subject), Duration::ZERO).await;
    let empty = alternating("start without objects", sizes.runs, sizes.settled_subjects, work).await?;

    let count = sizes.settled;
    let client = stage.control_plane.client().await?;
    for &subject in sizes.settled_subjects {
        eprintln!("creating {count} settled objects for the {}", subject.name());
        objects::create_settled(&client, &of(subject).namespace, count).await?;
    }
    let work = async |subject| runs::start(stage, subject, of(subject), sizes.idle).await;
    let full = alternating(&format!("start with {count} objects"), sizes.runs, sizes.settled_subjects, work).await?;
    let resident = |subject| {
        let mut values: Vec<f64> =
            empty.iter().filter(|run| run.0 == subject).map(|run| run.1.memory.resident).collect();
        median(&mut values)
    };
    let growth =
        |run: &(Subject, runs::Start)| (run.0, (run.1.memory.resident - resident(run.0)) * 1024.0 / count as f64);
    let growth: Vec<_> = full.iter().map(growth).collect();
    let ours: Vec<_> = full.iter().filter(|run| run.0 == Subject::Operator).map(|run| (run.0, run.1.scrape)).collect();
    let with = format!("with {count} settled objects");
    Ok(vec![
        Row::new("start to ready, no objects, s", 3).of(&empty, |run| run.ready),
        Row::new(format!("start to ready, {with}, s"), 2).of(&full, |run| run.ready),
        Row::new(format!("calls to the Live API in a start {with}"), 0).limit(0.0).of(&full, |run| run.calls as f64),
        Row::new(format!("writes of objects in a start {with}"), 0).limit(0.0).of(&full, |run| run.writes),
        Row::new("memory (RSS), no objects, MiB", 1).of(&empty, |run| run.memory.resident),
        Row::new(format!("memory {with}, MiB"), 1).of(&full, |run| run.memory.resident),
        Row::new(format!("peak memory {with}, MiB"), 1).of(&full, |run| run.memory.peak),
        Row::new("memory growth per settled object, KiB", 2).of(&growth, |value| *value),
        Row::new(format!("idle CPU {with}, % of a core"), 3).of(&full, |run| run.idle * 100.0),
        Row::new(format!("duration of a scrape {with}, ms"), 1).of(&ours, |value| value * 1000.0),
    ])
}

/// Measures how soon a new object is processed while many others wait for the same permits at a lower priority.
async fn waiting(stage: &Stage, sizes: &Sizes) -> Result<Vec<Row>> {
    let (waiting, count) = (sizes.waiting, sizes.single);
    eprintln!("creating {waiting} failed objects");
    let place = Place::new(&stage.control_plane)?;
    objects::create_failed(&stage.control_plane.client().await?, &place.namespace, waiting).await?;
    let mut results = Vec::new();
    for run in 0..sizes.runs {
        eprintln!("{count} new objects while {waiting} objects wait: operator, run {} of {}", run + 1, sizes.runs);
        let first = waiting + run * count;
        results.push((Subject::Operator, runs::first_calls(stage, &place, first..first + count).await?));
    }
    let times: Vec<f64> = results.iter().flat_map(|(_, times)| times).map(|time| time * 1000.0).collect();
    let line = Line { name: Subject::Operator.name(), color: "#06c", points: plot::cumulative(&times) };
    let title = format!("New objects while {waiting} objects wait: objects with a first call");
    write_plot(sizes, "waiting.svg", &plot::svg(&title, "milliseconds after the creation", &[line]))?;
    let row = |name: &str, share: f64| {
        Row::new(format!("first call of a new object while {waiting} wait, {name}, ms"), 1)
            .of(&results, |times| percentile(times, share) * 1000.0)
    };
    Ok(vec![row("p50", 0.5), row("p99", 0.99)])
}
