//! The test environment: a real etcd, kube-apiserver and kube-controller-manager on loopback, the real helm and kubectl,
//! and the operator and the emulator as processes. Shared by the integration tests and the demo; neither leaves anything behind, even killed.
//!
//! - [`ControlPlane`]: start, namespaces, kubectl, CRDs, a kubeconfig with the chart's RBAC; outages on demand.
//! - [`Operator`], [`Emulator`]: the binary under test, one process each, with its log and signals.
//! - [`Sts`]: gives away credentials for a token.
//! - [`Helm`]: renders and lints the chart.
//! - [`kstatus`], [`argo_cd`]: what GitOps tools make of an object.
//!
//! Everything is blocking and independent of any async runtime, so that one control plane serves tests that each have a
//! runtime of their own; [`ControlPlane::client`] makes a client for the runtime it is called in.

mod admin;
mod control_plane;
mod error;
mod guardian;
mod health;
mod helm;
mod kubeconfig;
mod kubectl;
mod pki;
mod process;
mod programs;
mod rbac;
mod request_log;
mod scratch;
mod servers;
mod sts;
mod tools;

pub use admin::request as admin_request;
pub use control_plane::{ControlPlane, apply_crds, shared_control_plane};
pub use error::{Context, Error, Result};
pub use health::{Health, argo_cd, kstatus};
pub use helm::{CHART, Helm, documents};
pub use kubeconfig::{Access, Cluster};
pub use kubectl::Kubectl;
pub use process::{Process, wait_for};
pub use programs::{ACCESS_KEY, Emulator, EmulatorOptions, Operator, OperatorOptions};
pub use rbac::{Installation, may};
pub use request_log::Request;
pub use scratch::Scratch;
pub use sts::{Given, Sts};
pub use tools::control_plane as control_plane_tools;

use std::path::PathBuf;

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
