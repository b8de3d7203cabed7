//! Watches: events become observations of the scheduler. No object is kept.
//!
//! The module owns the watches and the readiness. It may import `context`, `scheduler`, `api` and the reports of
//! `reconcile`. Its invariant: whatever changed while there was no watch is found by the next list.

mod accounts;
mod backoff;
mod groups;
mod readiness;

use std::error::Error;

pub use accounts::watch as watch_accounts;
pub use groups::{Scope, watch as watch_groups};
pub use readiness::Readiness;

use crate::telemetry::metrics::ResourceLabels;

/// A watch is renewed after this time: before load balancers on the way close an idle connection.
const WATCH_SECONDS: u32 = 200;

/// The metric labels of the watched resources.
pub const GROUPS: ResourceLabels = ResourceLabels { resource: "livemessagegroups" };
pub const ACCOUNTS: ResourceLabels = ResourceLabels { resource: "liveaccounts" };

/// An error with its causes: "client error (Connect)" alone does not say whether the name, the port or the certificate
/// is wrong.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some errors include their cause.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
