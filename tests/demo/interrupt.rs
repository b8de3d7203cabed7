//! Ctrl-C: noticed between two steps, so that everything started is stopped in the usual way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Error, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C does not kill this program.
pub fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Registered before this returns; on the thread it would be a moment later.
    let mut signals = {
        let _in_runtime = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?
    };
    thread::spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

/// Whether there was a Ctrl-C.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error once there was a Ctrl-C.
pub fn check() -> Result<()> {
    if happened() { Err(Error::new("interrupted")) } else { Ok(()) }
}
