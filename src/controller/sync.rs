//! The lock and the notifications of [`SharedScheduler`](super::shared::SharedScheduler). Its tests replace them.

pub use parking_lot::Mutex;
pub use tokio::sync::Notify;
pub use tokio::time::sleep_until;
