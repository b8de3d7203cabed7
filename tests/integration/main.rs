//! Tests against a real etcd and kube-apiserver, with the real helm and kubectl. One binary, one control plane: each test
//! takes a namespace of its own. Nothing is skipped: where the control plane cannot be had, the tests fail and say why.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is to stop")]

mod accounts;
mod admission;
mod annotations;
mod arguments;
mod at_scale;
mod backups;
mod by_hand;
#[allow(dead_code, reason = "shared with the tests of the throughput")]
mod calls;
mod chart;
mod chart_pod;
mod chart_values;
mod conflicts;
mod control_plane;
mod crashes;
mod credentials;
mod definition;
mod edits;
mod events;
mod gitops;
mod lifecycle;
mod metrics;
mod namespaces;
mod orphans;
mod outages;
mod policies;
mod refusals;
mod replaced;
mod secrets;
mod story;
mod sweep;

mod world;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the demo; neither uses all of it")]
mod support;
