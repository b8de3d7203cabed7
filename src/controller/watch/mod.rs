//! Watches of LiveMessageGroups and LiveAccounts. They forward each event and store no object.
//!
//! The module owns the watches and the readiness. It may import `connection`, `context`, `keys`, `scheduler`, `api`,
//! and the reports about removed objects in `pass` and `reconcile`. Its invariant: the next list finds every change
//! that happened while no watch was running.

mod accounts;
mod backoff;
mod groups;
mod health;
mod readiness;
mod stream;

use std::error::Error;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use accounts::watch as watch_accounts;
pub use groups::{Scope, watch as watch_groups};
pub use readiness::Readiness;

use crate::telemetry::metrics::ResourceLabels;

/// The apiserver ends a watch after a time in this range, and the operator starts a new one. If the apiserver does not
/// end the watch, the operator ends it 5 s later. Thus, even if a network failure does not reset the connection, the
/// operator sees changes within 30 s.
const WATCH_SECONDS: RangeInclusive<u32> = 20..=22;

/// The maximum duration of a watch.
pub fn longest_watch() -> Duration {
    stream::longest_watch(*WATCH_SECONDS.end())
}

/// The metric labels of the watched resources.
pub const GROUPS: ResourceLabels = ResourceLabels { resource: "livemessagegroups" };
pub const ACCOUNTS: ResourceLabels = ResourceLabels { resource: "liveaccounts" };

/// The text of an error and of its causes. The first text is often too general: "client error (Connect)", for example,
/// does not indicate whether the name, the port or the certificate is wrong.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some error texts already include their cause.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
