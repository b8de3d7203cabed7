//! A TCP proxy that can stop forwarding while it keeps the connections open, like a firewall that has lost its state.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::error::Result;

/// A running proxy. Its threads end with the test run.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// Whether new connections are silent, and one such flag for each current connection. A silent connection stays open,
/// but the proxy forwards nothing.
#[derive(Default)]
struct State {
    is_silent: bool,
    connections: Vec<Arc<AtomicBool>>,
}

impl Proxy {
    /// Starts a proxy that listens on a free port of 127.0.0.1 and forwards connections to `target` (`HOST:PORT`).
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self { address: listener.local_addr()?, state: Arc::default() };
        let (state, target) = (Arc::clone(&proxy.state), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let silent = {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let silent = Arc::new(AtomicBool::new(state.is_silent));
                    state.connections.push(Arc::clone(&silent));
                    silent
                };
                if let Ok(server) = TcpStream::connect(&target) {
                    forward(&client, &server, &silent);
                    forward(&server, &client, &silent);
                }
            }
        });
        Ok(proxy)
    }

    /// The address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops forwarding. The current connections stay silent, even after [`recover`](Self::recover).
    pub fn silence(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_silent = true;
        state.connections.drain(..).for_each(|silent| silent.store(true, Ordering::SeqCst));
    }

    /// Forwards new connections again.
    pub fn recover(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_silent = false;
    }
}

/// Starts a thread that copies data from `from` to `to`, or discards it while `silent` is set.
fn forward(from: &TcpStream, to: &TcpStream, silent: &Arc<AtomicBool>) {
    let (Ok(mut from), Ok(mut to), silent) = (from.try_clone(), to.try_clone(), Arc::clone(silent)) else { return };
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let is_silent = silent.load(Ordering::SeqCst);
            if read == 0 {
                // If the connection is silent, keep the other side open.
                if !is_silent {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            if !is_silent && to.write_all(&buffer[..read]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
