//! Tests against a real etcd and kube-apiserver, with the real helm and kubectl. The tests share one control plane;
//! each test has its own namespace. If the control plane is unavailable, the tests fail with instructions.
//!
//! The tests start in alphabetical order. The modules with the longest tests have names that sort first. These tests
//! mostly wait, so the other tests run at the same time, and no long test is left to run alone at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

mod acceptance;
mod accounts;
mod admission;
mod alerts;
mod annotations;
mod apiserver;
mod arguments;
mod at_scale;
mod backups;
mod by_hand;
#[allow(dead_code, reason = "shared with the throughput tests")]
mod calls;
mod chart;
mod chart_emulator;
mod chart_metrics;
mod chart_names;
mod chart_network;
mod chart_package;
mod chart_pod;
mod chart_release;
mod chart_replicas;
mod chart_roles;
mod chart_values;
mod chart_versions;
mod conflicts;
mod control_plane;
mod crashes;
mod credentials;
mod dashboard;
mod definition;
mod demo;
mod drift_check;
mod edits;
mod events;
mod gitops;
mod leaders;
mod lifecycle;
mod logs;
mod metrics;
mod namespaces;
mod orphans;
mod policies;
mod refusals;
mod release;
mod replaced;
mod tenants;
mod world;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the demo; neither uses all of it")]
mod support;
