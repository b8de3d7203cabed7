//! Tests of the rules of the election. They send no requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::name;
use crate::controller::leader::ElectionSettings;
use crate::controller::leader::election::{Election, Role};

const WALL: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn election() -> Election {
    Election::new("me".to_owned(), name(), ElectionSettings::default())
}

/// A stored Lease that `holder` acquired and renewed when the holder's clock showed [`WALL`].
fn held_by(holder: &str, version: u32) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.resource_version = Some(version.to_string());
    lease.metadata.labels = Some(BTreeMap::from([("team".to_owned(), "live".to_owned())]));
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(7),
        acquire_time: Some(MicroTime(WALL)),
        renew_time: Some(MicroTime(WALL)),
        ..LeaseSpec::default()
    });
    lease
}

fn lease_of_seconds(seconds: Option<i32>) -> Lease {
    let mut lease = held_by("other", 1);
    lease.spec.as_mut().unwrap().lease_duration_seconds = seconds;
    lease
}

/// The election of a process that acquired the Lease. The process sent the request at `sent`.
fn leader(sent: Instant) -> Election {
    let mut election = election();
    election.observe(None, sent);
    let write = election.claim(sent, WALL).unwrap();
    election.written(write.lease, sent, sent);
    assert!(is_leader(&mut election, sent));
    election
}

fn is_leader(election: &mut Election, now: Instant) -> bool {
    matches!(election.role(now), Role::Leader { .. })
}

#[test]
fn unknown_lease_is_read_before_it_is_claimed() {
    assert_eq!(election().claim(Instant::now(), WALL), None);
}

#[test]
fn absent_lease_is_created() {
    let (mut election, now) = (election(), Instant::now());
    election.observe(None, now);
    let write = election.claim(now, WALL).unwrap();
    assert!(write.is_new);
    let (metadata, spec) = (write.lease.metadata, write.lease.spec.unwrap());
    assert_eq!((metadata.namespace.as_deref(), metadata.name.as_deref()), (Some("lmo"), Some("operator")));
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(WALL)), Some(MicroTime(WALL))));
}

#[test]
fn held_lease_is_claimed_after_its_observed_duration() {
    let (mut election, start) = (election(), Instant::now());
    // The times in the Lease are decades old, but the election ignores them.
    election.observe(Some(held_by("other", 1)), start);
    assert_eq!(election.claim(start + seconds(14.999), WALL), None);
    // An unchanged Lease does not prolong the wait. A renewal does, and so does a change to the metadata.
    election.observe(Some(held_by("other", 1)), start + seconds(10.0));
    assert!(election.claim(start + seconds(15.0), WALL).is_some());
    election.observe(Some(held_by("other", 2)), start + seconds(15.0));
    assert_eq!(election.claim(start + seconds(29.999), WALL), None);
    let wall: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
    let write = election.claim(start + seconds(30.0), wall).unwrap();
    assert!(!write.is_new);
    assert_eq!(write.lease.metadata, held_by("other", 2).metadata, "the resourceVersion and the labels remain");
    let spec = write.lease.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(8)));
    assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(wall)), Some(MicroTime(wall))));
}

#[test]
fn foreign_lease_duration_is_bounded() {
    let start = Instant::now();
    for (stored, waits) in [
        (Some(1), 1.0),
        (Some(40), 40.0),
        (Some(600), 600.0),
        (Some(601), 15.0),
        (Some(i32::MAX), 15.0),
        (Some(0), 15.0),
        (Some(-1), 15.0),
        (None, 15.0),
    ] {
        let mut election = election();
        election.observe(Some(lease_of_seconds(stored)), start);
        assert_eq!(election.claim(start + seconds(waits - 0.001), WALL), None, "{stored:?}");
        assert!(election.claim(start + seconds(waits), WALL).is_some(), "{stored:?}");
    }
}

#[test]
fn lease_without_a_holder_is_claimed_at_once() {
    for holder in [Some(String::new()), None] {
        let (mut election, now) = (election(), Instant::now());
        let mut released = held_by("", 3);
        released.spec.as_mut().unwrap().holder_identity = holder;
        election.observe(Some(released), now);
        let spec = election.claim(now, WALL).unwrap().lease.spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(8)));
    }
    let (mut election, now) = (election(), Instant::now());
    election.observe(Some(Lease::default()), now);
    assert!(election.claim(now, WALL).is_some(), "a Lease without a spec");
}

#[test]
fn own_write_with_a_lost_answer_is_continued() {
    let (mut election, now) = (election(), Instant::now());
    election.observe(Some(held_by("me", 3)), now);
    assert_eq!(election.role(now), Role::Standby, "no answer says when the write was sent");
    let wall: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
    let write = election.claim(now, wall).unwrap();
    let spec = write.lease.spec.clone().unwrap();
    assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(7), Some(MicroTime(WALL))), "the holder is the same");
    assert_eq!(spec.renew_time, Some(MicroTime(wall)));
    election.written(write.lease, now, now);
    assert!(is_leader(&mut election, now));
}

#[test]
fn renew_deadline_counts_from_sending() {
    let start = Instant::now();
    let mut election = leader(start);
    let write = election.claim(start + seconds(2.0), WALL).unwrap();
    election.written(write.lease, start + seconds(2.0), start + seconds(7.0));
    assert_eq!(
        election.role(start + seconds(7.0)),
        Role::Leader { acquired: start, until: start + seconds(12.0) },
        "the answer took 5 s"
    );
    assert!(is_leader(&mut election, start + seconds(11.999)));
    assert_eq!(election.role(start + seconds(12.0)), Role::Deposed);
}

#[test]
fn deposed_process_never_leads_again() {
    let start = Instant::now();
    let mut late = leader(start);
    let write = late.claim(start + seconds(9.0), WALL).unwrap();
    // The renewal succeeds, but its answer does not arrive before the deadline.
    late.written(write.lease, start + seconds(9.0), start + seconds(10.0));
    let mut replaced = leader(start);
    replaced.observe(Some(held_by("other", 9)), start + seconds(1.0));
    for mut election in [late, replaced] {
        let now = start + seconds(10.0);
        assert_eq!(election.role(now), Role::Deposed);
        election.observe(Some(held_by("", 10)), now);
        assert_eq!(election.claim(now + seconds(60.0), WALL), None);
        assert_eq!(election.release(now, WALL), None);
    }
}

#[test]
fn standby_that_learns_too_late_does_not_lead() {
    let (mut election, start) = (election(), Instant::now());
    election.observe(None, start);
    let write = election.claim(start, WALL).unwrap();
    election.written(write.lease, start, start + seconds(10.0));
    let now = start + seconds(10.0);
    assert_eq!(election.role(now), Role::Standby);
    assert!(election.claim(now, WALL).is_some_and(|write| !write.is_new), "it renews first");
}

#[test]
fn written_lease_of_another_holder_does_not_count() {
    let (mut election, now) = (election(), Instant::now());
    election.observe(None, now);
    election.written(held_by("other", 1), now, now);
    assert_eq!(election.role(now), Role::Standby);
}

#[test]
fn leader_creates_a_deleted_lease_again() {
    let start = Instant::now();
    let mut election = leader(start);
    election.observe(None, start + seconds(2.0));
    let write = election.claim(start + seconds(2.0), WALL).unwrap();
    assert!(write.is_new && write.lease.metadata.resource_version.is_none());
    assert_eq!(write.lease.spec.unwrap().lease_transitions, Some(0));
    assert_eq!(election.claim(start + seconds(10.0), WALL), None);
}

#[test]
fn deletion_of_a_lease_does_not_shorten_it() {
    let (mut election, start) = (election(), Instant::now());
    election.observe(Some(held_by("other", 1)), start);
    election.observe(None, start + seconds(5.0));
    assert_eq!(election.claim(start + seconds(14.999), WALL), None);
    let write = election.claim(start + seconds(15.0), WALL).unwrap();
    assert!(write.is_new && write.lease.metadata.resource_version.is_none());
    // The same Lease appears again: the holder is alive.
    election.observe(Some(held_by("other", 1)), start + seconds(15.0));
    assert_eq!(election.claim(start + seconds(29.999), WALL), None);
}

#[test]
fn only_the_holder_releases_the_lease() {
    let start = Instant::now();
    let spec = leader(start).release(start + seconds(9.0), WALL).unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some(""), Some(1)));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(leader(start).release(start + seconds(10.0), WALL), None, "its last calls may still arrive");
    let mut deleted = leader(start);
    deleted.observe(None, start);
    assert_eq!(deleted.release(start, WALL), None);
    let mut standby = election();
    assert_eq!(standby.release(start, WALL), None);
    standby.observe(Some(held_by("other", 1)), start);
    assert_eq!(standby.release(start, WALL), None);
}

#[test]
fn standby_tries_when_the_observed_lease_expires() {
    let (mut election, start) = (election(), Instant::now());
    election.observe(Some(held_by("other", 1)), start);
    let next = |now: f64, random| election.next_attempt(start, start + seconds(now), random) - start;
    assert_eq!(next(1.0, 0.0), seconds(2.0));
    assert_eq!(next(1.0, 1.0), seconds(2.2));
    assert_eq!(next(14.9, 0.5), seconds(15.0));
    assert_eq!(next(15.0, 0.5), seconds(16.1), "the attempt at the end of the lease failed");
}

#[test]
fn leader_renews_at_a_fixed_interval() {
    let start = Instant::now();
    let election = leader(start);
    assert_eq!(election.next_attempt(start, start + seconds(0.5), 1.0), start + seconds(2.0));
    assert_eq!(election.next_attempt(start, start + seconds(5.0), 1.0), start + seconds(5.0));
}

#[test]
fn request_ends_at_the_renew_deadline() {
    let start = Instant::now();
    assert_eq!(election().request_timeout(start), seconds(5.0));
    let leader = leader(start);
    for (now, timeout) in [(2.0, 5.0), (7.0, 3.0), (10.0, 0.0), (11.0, 0.0)] {
        assert_eq!(leader.request_timeout(start + seconds(now)), seconds(timeout));
    }
}
