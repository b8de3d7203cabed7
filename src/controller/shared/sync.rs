//! The types that [`lock`](super::lock) uses to lock, notify and sleep. `tests/interleavings.rs` replaces them with
//! types of Shuttle.

pub use parking_lot::Mutex;
pub use tokio::sync::Notify;
pub use tokio::time::sleep_until;
