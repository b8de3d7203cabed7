//! A client for the emulator's admin API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::error::{Context as _, Error, Result};

/// Sends one request and parses the JSON response.
pub fn request(address: &str, method: &str, path: &str, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address).context(format_args!("admin address {address} of the emulator"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context(format_args!("{method} {path}: no response"))?;
    if head.starts_with("HTTP/1.1 200 ") {
        Ok(serde_json::from_str(body)?)
    } else {
        Err(Error::new(format!("{method} {path}: {response}")))
    }
}
