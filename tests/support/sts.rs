//! A fake STS on loopback. It returns an access key and records the requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;

use super::{Context as _, Result};

/// The lifetime of the credentials in seconds. It is equal to the default of the real STS.
const LIFETIME: i64 = 3600;

/// A running fake STS, which stops at the end of the test process.
pub struct Sts {
    /// The URL of the STS, `http://127.0.0.1:PORT`.
    pub origin: String,
    requests: Receiver<String>,
}

/// The credentials that the STS returns.
pub struct IssuedKey {
    pub access_key_id: &'static str,
    /// The secrets that the STS returns, one per request. After the last secret, the STS keeps returning that secret.
    pub secrets: &'static [&'static str],
    pub security_token: &'static str,
}

impl Sts {
    pub fn start(key: IssuedKey) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let origin = format!("http://{}", listener.local_addr()?);
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let secret = key.secrets[number.min(key.secrets.len() - 1)];
                // Errors are ignored, because the operator retries a failed request, and because `send` fails only if
                // the test has already dropped the `Sts`.
                let body = stream.map_err(Into::into).and_then(|stream| answer(stream, &key, secret));
                let _ = body.map(|body| sender.send(body));
            }
        });
        Ok(Self { origin, requests })
    }

    /// Waits for the next unread request and returns its form body.
    pub fn next_request(&self) -> Result<String> {
        self.requests.recv_timeout(Duration::from_secs(60)).context("no request to the STS")
    }

    /// Returns the form bodies of all unread requests without waiting for further requests.
    pub fn received_requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

fn answer(stream: TcpStream, key: &IssuedKey, secret: &str) -> Result<String> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let expiration = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + LIFETIME)?;
    let credentials = json!({"RequestId": "r", "Credentials": {
        "AccessKeyId": key.access_key_id, "AccessKeySecret": secret, "SecurityToken": key.security_token,
        "Expiration": expiration.to_string()
    }})
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", credentials.len());
    stream.get_mut().write_all(format!("{head}{credentials}").as_bytes())?;
    Ok(String::from_utf8(body)?)
}
