//! Tests of the leader election.

mod driver;
mod fake;
mod rules;
mod schedules;

use super::*;

/// The name of the Lease in the tests.
fn name() -> LeaseName {
    LeaseName { namespace: "lmo".to_owned(), name: "operator".to_owned() }
}
