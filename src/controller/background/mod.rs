//! Background tasks: drift checks, the status of LiveAccounts, and the collection of metrics.
//!
//! The module owns these tasks. It may import every module of the controller. Its invariant: the tasks do not reconcile
//! objects; they pass their results to the scheduler.

pub mod account_status;
pub mod drift_check;
pub mod metrics;
mod namespaces;
