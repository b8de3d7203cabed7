//! The test environment for the integration tests and the demo. It runs a real etcd, kube-apiserver,
//! kube-controller-manager, helm and kubectl, and it starts the operator and the emulator as child processes. At the
//! end of a run, it stops all processes and removes their data, even if the run is killed.
//!
//! - [`ControlPlane`]: creates kubeconfigs with the chart's RBAC, creates namespaces and CRDs, and causes outages.
//! - [`Operator`], [`Emulator`]: run the binary under test as a child process. Tests can read its log and send signals.
//! - [`Sts`]: a fake STS, which returns credentials for a token.
//! - [`Helm`]: renders and lints the chart.
//! - [`promtool`]: checks and evaluates the rules and queries of Prometheus.
//! - [`kstatus`], [`flux_health`], [`argo_cd`]: compute the health of an object as GitOps tools do.
//!
//! The functions block and need no async runtime, so that tests with separate runtimes can share a control plane.
//! [`ControlPlane::client`] creates a client for the current runtime.

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
mod promtool;
mod proxy;
mod rbac;
mod request_log;
mod scratch;
mod servers;
mod sts;
mod tools;

pub use admin::request as admin_request;
pub use control_plane::{ControlPlane, apply_crds, shared_control_plane};
pub use error::{Context, Error, Result};
pub use health::{Health, argo_cd, flux_health, kstatus};
pub use helm::{CHART, Helm, documents};
pub use kubeconfig::{Access, Cluster};
pub use kubectl::Kubectl;
pub use process::{Process, wait_for};
pub use programs::{ACCESS_KEY, Emulator, EmulatorOptions, Operator, OperatorOptions};
pub use promtool::promtool;
pub use proxy::Proxy;
pub use rbac::{DEMO, DEMO_IN_A_NAMESPACE, Installation, may};
pub use request_log::{Request, busiest_second, parse as parse_request_log, repeated_creates};
pub use scratch::Scratch;
pub use sts::{IssuedKey, Sts};
pub use tools::{
    control_plane as control_plane_tools, envtest, flux as flux_tools, gitops_crds, helm as helm_tools, helm_docs,
    kubeconform, kubernetes_schemas, yardstick,
};

use std::path::PathBuf;

/// The repository root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
