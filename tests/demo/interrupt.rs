//! Handles Ctrl-C between two steps, so that the demo stops its processes normally.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Error, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs a handler that records Ctrl-C. After that, Ctrl-C no longer ends the process immediately.
pub fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Register the handler here and not on the thread, which may start after this function returns.
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

/// Whether Ctrl-C was pressed.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Fails if Ctrl-C was pressed.
pub fn check() -> Result<()> {
    if happened() { Err(Error::new("interrupted")) } else { Ok(()) }
}
