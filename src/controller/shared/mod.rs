//! Shares the scheduler among the tasks: a lock protects it, and notifications wake the tasks that have new work.
//!
//! The module owns the lock and the notifications. It may import `keys` and `scheduler`. Its invariant: no task keeps
//! waiting while there is work for it. To test this, `tests/interleavings.rs` compiles `lock` with the lock and the
//! notifications of Shuttle, and runs the tasks in random orders.

mod lock;
mod sync;

pub use lock::SharedScheduler;
