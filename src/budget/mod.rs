//! When a call may go out: pace and window, per (account, operation).
