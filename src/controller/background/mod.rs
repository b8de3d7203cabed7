//! Background tasks: drift checks, the status of LiveAccounts, and the collection of metrics.
//!
//! The module owns these tasks. It may import everything of the controller. Its invariant: none of them decides about
//! an object; they pass their findings to the scheduler.

pub mod account_status;
pub mod drift_check;
pub mod metrics;
