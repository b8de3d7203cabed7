//! The locks and notifications of [`lock`](super::lock), which its tests replace.

pub use parking_lot::Mutex;
pub use tokio::sync::Notify;
pub use tokio::time::sleep_until;
