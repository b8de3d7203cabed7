//! Keeps the LiveAccounts: watches them, tells their status, and wakes who waits for their credentials.

mod loads;
mod status;
mod watch;

pub use loads::run as end_loads;
pub use status::run as keep_statuses;
pub use watch::watch;
