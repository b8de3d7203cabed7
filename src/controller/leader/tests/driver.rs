//! Tests of the elector with an in-memory apiserver and a paused clock.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::fake::{Mode, Shared, at_once, client, start};
use super::{Leadership, identity};
use crate::budget::{START_DELAY, TAKEOVER_DELAY};
use crate::controller::tests::Log;
use crate::telemetry::{LogFormat, subscriber};

#[tokio::test(start_paused = true)]
async fn first_process_leads_and_renews_without_reading() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    assert!(!process.may_send() && !process.is_reported_as_leader());
    let started = Instant::now();
    let term = process.leads().await;
    assert_eq!(term.acquired, started);
    assert_eq!(term.first_permit_at, started + TAKEOVER_DELAY);
    sleep(Duration::from_secs(3600) + Duration::from_millis(1)).await;
    assert!(process.may_send() && process.is_reported_as_leader());
    let log = server.lock().log.clone();
    assert_eq!(log[..3], [Method::GET, Method::POST, Method::PUT]);
    assert!(log[2..].iter().all(|method| method == Method::PUT));
    assert_eq!(log.len(), 2 + 1800);
}

#[tokio::test(start_paused = true)]
async fn standby_takes_over_when_the_lease_expires() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_millis(20_500)).await;
    assert!(!two.may_send());
    // The process is killed half a second after a renewal.
    one.task.abort();
    let killed = Instant::now();
    let term = two.leads().await;
    assert!(two.may_send() && !one.may_send());
    let waited = (term.acquired - killed).as_secs_f64();
    // The standby reads the last renewal up to 2.4 s after it is written, and then waits for 15 s.
    assert!((14.5..=16.9).contains(&waited), "{waited}");
    let server = server.lock();
    assert_eq!((server.holder(), &server.lease.as_ref().unwrap()["spec"]["leaseTransitions"]), ("two", &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn silent_apiserver_deposes_at_the_deadline() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    let term = process.leads().await;
    sleep(Duration::from_secs(3)).await;
    server.lock().mode = Mode::Silent;
    // The last successful renewal was sent 2 s after the Lease was acquired. The renew deadline is 10 s.
    let deadline = term.acquired + Duration::from_secs(12);
    sleep(Duration::from_millis(8_999)).await;
    assert!(process.may_send());
    process.ends_deposed().await;
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn deadline_counts_from_the_sending_of_a_slow_write() {
    let server = Shared::default();
    let started = Instant::now();
    let process = start(client(&server, || (0, 3_000)), "one");
    // The read takes 3 s, and the write that follows takes another 3 s.
    assert_eq!(process.leads().await.acquired, started + Duration::from_secs(6));
    sleep(Duration::from_secs(1)).await;
    server.lock().mode = Mode::Silent;
    process.ends_deposed().await;
    // The last successful renewal was sent 6 s after the start, and its answer arrived 9 s after the start.
    assert_eq!(Instant::now(), started + Duration::from_secs(16));
}

#[tokio::test(start_paused = true)]
async fn handle_ends_at_the_deadline_without_its_elector() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    let term = process.leads().await;
    process.task.abort();
    timeout(Duration::from_secs(60), process.leadership.deposed()).await.unwrap();
    assert_eq!(Instant::now(), term.acquired + Duration::from_secs(10));
    assert!(!process.may_send());
}

#[tokio::test(start_paused = true)]
async fn leader_survives_an_outage_shorter_than_the_deadline() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    for mode in [Mode::Silent, Mode::LosesAnswers, Mode::Fails(403), Mode::Fails(500)] {
        server.lock().mode = mode;
        sleep(Duration::from_secs(6)).await;
        server.lock().mode = Mode::Answers;
        sleep(Duration::from_secs(6)).await;
        assert!(process.may_send() && process.is_reported_as_leader(), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answer_to_the_first_write_is_found_by_reading() {
    let server = Shared::default();
    server.lock().mode = Mode::LosesAnswers;
    let process = start(client(&server, at_once), "one");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(server.lock().holder(), "one");
    assert!(!process.may_send(), "it does not know");
    server.lock().mode = Mode::Answers;
    process.leads().await;
    assert!(process.may_send() && process.is_reported_as_leader());
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 0);
}

/// Edits the Lease as another client would.
fn edit(server: &Shared, change: impl FnOnce(&mut Value)) {
    let mut server = server.lock();
    let mut lease = server.lease.clone().unwrap();
    change(&mut lease);
    assert_eq!(server.apply(&Method::PUT, lease).0, 200);
}

#[tokio::test(start_paused = true)]
async fn conflict_with_another_holder_deposes_at_once() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    sleep(Duration::from_secs(1)).await;
    edit(&server, |lease| lease["spec"]["holderIdentity"] = json!("intruder"));
    let changed = Instant::now();
    process.ends_deposed().await;
    assert_eq!(changed.elapsed(), Duration::from_secs(1), "at the next renewal");
    assert_eq!(server.lock().holder(), "intruder");
}

#[tokio::test(start_paused = true)]
async fn conflict_with_an_edit_of_metadata_is_read_again() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    sleep(Duration::from_secs(1)).await;
    edit(&server, |lease| lease["metadata"]["labels"] = json!({"team": "live"}));
    server.lock().log.clear();
    sleep(Duration::from_millis(1_500)).await;
    assert!(process.may_send());
    let server = server.lock();
    assert_eq!(server.log, [Method::PUT, Method::GET, Method::PUT]);
    assert_eq!(server.lease.as_ref().unwrap()["metadata"]["labels"]["team"], "live");
}

#[tokio::test(start_paused = true)]
async fn deleted_lease_stays_with_its_leader() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    for _ in 0..20 {
        sleep(Duration::from_millis(4_700)).await;
        server.lock().lease = None;
    }
    sleep(Duration::from_secs(5)).await;
    assert!(one.may_send() && !two.may_send());
    assert_eq!(server.lock().holder(), "one");
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_the_lease_to_the_standby() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_secs(9)).await;
    let stopped = Instant::now();
    one.may_release.cancel();
    assert_eq!(one.task.await.unwrap(), Ok(()));
    assert!(!one.leadership.may_send(Instant::now()));
    assert_eq!(server.lock().holder(), "");
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseDurationSeconds"], 1);
    let never = timeout(Duration::from_secs(60), one.leadership.deposed()).await;
    assert!(never.is_err(), "a released lease is not a lost one");
    let term = two.leads().await;
    assert!(term.acquired - stopped <= Duration::from_millis(2_400), "{:?}", term.acquired - stopped);
}

#[tokio::test(start_paused = true)]
async fn standby_that_stops_does_not_touch_the_lease() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_secs(9)).await;
    let before = server.lock().lease.clone();
    two.may_release.cancel();
    assert_eq!(two.task.await.unwrap(), Ok(()));
    assert_eq!(server.lock().lease, before);
}

#[tokio::test(start_paused = true)]
async fn process_gives_up_before_it_sends_the_release() {
    let server = Shared::default();
    let process = start(client(&server, || (100, 100)), "one");
    process.leads().await;
    process.may_release.cancel();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.lock().holder(), "one");
    assert!(!process.may_send() && !process.is_reported_as_leader());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.lock().holder(), "");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_retried_until_the_permission_exists() {
    for mode in [Mode::Fails(403), Mode::NoNamespace, Mode::Silent] {
        let server = Shared::default();
        server.lock().mode = mode;
        let process = start(client(&server, at_once), "one");
        sleep(Duration::from_secs(60)).await;
        let requests = server.lock().log.len();
        assert!((7..=60).contains(&requests), "{mode:?}: {requests} requests");
        server.lock().mode = Mode::Answers;
        timeout(Duration::from_secs(8), process.leadership.acquired()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn process_without_election_leads_from_the_start() {
    let leadership = Leadership::always();
    let term = leadership.acquired().await;
    assert_eq!(term.first_permit_at - term.acquired, START_DELAY);
    assert!(leadership.may_send(Instant::now() + Duration::from_secs(86_400)));
    assert!(timeout(Duration::from_secs(86_400), leadership.deposed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn each_change_is_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    // When a thread first reaches a log statement, tracing caches for all threads whether the statement is enabled.
    // While only one subscriber is registered, the cached result depends only on the current thread's subscriber, so
    // another test's thread could disable log lines that this test expects. Registering a second subscriber makes
    // tracing consult all subscribers.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let filter = tracing_subscriber::EnvFilter::try_new("live_message_operator=info").unwrap();
    let subscriber = subscriber(LogFormat::Json, filter, false, move || writer.clone());
    let _logging = tracing::subscriber::set_default(subscriber);
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_secs(60)).await;
    one.may_release.cancel();
    two.leads().await;
    server.lock().mode = Mode::Fails(403);
    two.ends_deposed().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let messages: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            let field = |name: &str| line[name].as_str().map(|value| format!(" {value}")).unwrap_or_default();
            format!("{}{}{}", line["message"].as_str().unwrap(), field("identity"), field("holder"))
        })
        .collect();
    let expected = [
        "acquired the lease one",
        "waiting for the lease one",
        "released the lease",
        "acquired the lease two",
        "cannot read or write the lease, retrying",
        "lost the lease two",
    ];
    assert_eq!(messages, expected, "{text}");
    assert!(text.contains("install the Role of the chart"), "{text}");
}

#[test]
fn identities_of_one_pod_differ() {
    let [one, two] = [(); 2].map(|()| identity("operator-0"));
    assert!(one.starts_with("operator-0_") && one.len() == "operator-0_".len() + 16, "{one}");
    assert_ne!(one, two);
}
