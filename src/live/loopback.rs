//! A test server on loopback that returns scripted responses, byte for byte.

use std::sync::{Arc, Mutex, Once};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Endpoint;

/// A received request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The index of the connection, starting at 0.
    pub connection: usize,
    /// The index of this request among all requests, starting at 0.
    pub number: usize,
    /// The request line and the headers.
    pub head: String,
    pub body: String,
}

impl Seen {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// How the server reacts to a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends these bytes and keeps the connection open.
    Send(Vec<u8>),
    /// Sends these bytes and closes the connection.
    SendAndClose(Vec<u8>),
    /// Never answers.
    Silence,
}

/// Creates a response with a `content-length` and the given headers (`Name: value\r\n`).
pub fn answer_with(status: u16, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Send(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes())
}

/// Creates a JSON response.
pub fn answer(status: u16, body: &str) -> Act {
    answer_with(status, "content-type: application/json\r\n", body)
}

/// A running server. It stops when the test's runtime stops.
#[derive(Debug, Clone)]
pub struct Loopback {
    pub origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Loopback {
    /// Starts a server that calls `act` for each request and reacts as the returned [`Act`] specifies.
    pub async fn start(act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        install_tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { origin: format!("http://{}", listener.local_addr().unwrap()), seen: Arc::default() };
        let (act, seen) = (Arc::new(act), Arc::clone(&server.seen));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&act), Arc::clone(&seen)));
            }
        });
        server
    }

    /// Starts a server that performs `acts` in order and repeats the last one.
    pub async fn script(acts: Vec<Act>) -> Self {
        Self::start(move |seen| acts[seen.number.min(acts.len() - 1)].clone()).await
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.origin, true).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Installs the same TLS provider as `main`, unless a provider is already installed.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

async fn serve(mut stream: TcpStream, connection: usize, act: Arc<impl Fn(&Seen) -> Act>, log: Arc<Mutex<Vec<Seen>>>) {
    while let Some((head, body)) = receive(&mut stream).await {
        let seen = {
            let mut log = log.lock().unwrap();
            let seen = Seen { connection, number: log.len(), head, body };
            log.push(seen.clone());
            seen
        };
        match act(&seen) {
            Act::Send(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
            Act::SendAndClose(bytes) => {
                stream.write_all(&bytes).await.unwrap_or_default();
                return;
            }
            Act::Silence => {}
        }
    }
}

async fn receive(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let seen = Seen { connection: 0, number: 0, head, body: String::new() };
            let length: usize = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            while bytes.len() < end + 4 + length {
                read_some(stream, &mut bytes).await?;
            }
            return Some((seen.head, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
        }
        read_some(stream, &mut bytes).await?;
    }
}

async fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(bytes).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}
