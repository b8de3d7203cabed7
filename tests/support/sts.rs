//! An STS on loopback that gives away one access key and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;

use super::{Context as _, Result};

/// How long the credentials last, in seconds: the shortest that STS gives by default.
const LIFETIME: i64 = 3600;

/// A running STS; it ends with the process of the test.
pub struct Sts {
    /// Its origin: `http://127.0.0.1:PORT`.
    pub origin: String,
    asked: Receiver<String>,
}

/// What it gives away.
pub struct Given {
    pub access_key_id: &'static str,
    /// One after the other; the last one for ever.
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
                // A request that fails is the operator's to repeat; and nobody has to look at one.
                let asked = stream.map_err(Into::into).and_then(|stream| answer(stream, &given, secret));
                let _ = asked.map(|asked| sender.send(asked));
            }
        });
        Ok(Self { origin, asked })
    }

    /// The form of the next request that nobody has looked at, as it was sent.
    pub fn asked(&self) -> Result<String> {
        self.asked.recv_timeout(Duration::from_secs(60)).context("nobody asked the STS")
    }

    /// The forms of all requests so far that nobody has looked at.
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
