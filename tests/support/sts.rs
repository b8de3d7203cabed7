//! An STS on loopback that returns an access key and records the requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;

use super::{Context as _, Result};

/// Lifetime of the credentials in seconds, the default of STS.
const LIFETIME: i64 = 3600;

/// A running STS, which ends with the test process.
pub struct Sts {
    /// Its origin: `http://127.0.0.1:PORT`.
    pub origin: String,
    asked: Receiver<String>,
}

/// The credentials that the STS returns.
pub struct Given {
    pub access_key_id: &'static str,
    /// One per request; the last one is repeated.
    pub secrets: &'static [&'static str],
    pub security_token: &'static str,
}

impl Sts {
    pub fn start(given: Given) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let origin = format!("http://{}", listener.local_addr()?);
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let secret = given.secrets[number.min(given.secrets.len() - 1)];
                // The operator retries a failed request, and a test may ignore the recorded requests.
                let asked = stream.map_err(Into::into).and_then(|stream| answer(stream, &given, secret));
                let _ = asked.map(|asked| sender.send(asked));
            }
        });
        Ok(Self { origin, asked })
    }

    /// Waits for the next unread request and returns its form body.
    pub fn asked(&self) -> Result<String> {
        self.asked.recv_timeout(Duration::from_secs(60)).context("no request to the STS")
    }

    /// The form bodies of the unread requests so far.
    pub fn all_asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

fn answer(stream: TcpStream, given: &Given, secret: &str) -> Result<String> {
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
        "AccessKeyId": given.access_key_id, "AccessKeySecret": secret, "SecurityToken": given.security_token,
        "Expiration": expiration.to_string()
    }})
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", credentials.len());
    stream.get_mut().write_all(format!("{head}{credentials}").as_bytes())?;
    Ok(String::from_utf8(body)?)
}
