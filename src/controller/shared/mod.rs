//! The scheduler as its tasks share it: behind a lock, with notifications.
//!
//! The module owns the lock and the notifications. It may import `keys` and `scheduler`. Its invariant: no task waits
//! for work that exists. `tests/interleavings.rs` compiles `lock` with other notifications, and runs the tasks in
//! random orders.

mod lock;
mod sync;

pub use lock::SharedScheduler;
