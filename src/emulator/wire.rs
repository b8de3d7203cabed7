//! Implements the subset of HTTP/1.1 that the API needs, over any byte stream.
//!
//! The emulator does not use Hyper, because Hyper rejects request targets above 65,534 bytes with status 414. The
//! official SDKs put all parameters into the target. If the `GroupInfo` is 32 KB of Chinese text, the target is up to
//! 98 KB long.

use std::time::Duration;

use httparse::Status;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The maximum length of a request target: 128 KiB. Longer targets are rejected with status 414.
pub const MAX_TARGET: usize = 128 * 1024;
/// The maximum length of the request line and the headers: 160 KiB. Longer heads are rejected with status 431.
pub const MAX_HEAD: usize = 160 * 1024;
/// The maximum length of a body: 1 MiB. Longer bodies are rejected with status 413.
pub const MAX_BODY: usize = 1024 * 1024;
/// The maximum number of headers. Requests with more headers are rejected with status 431.
pub const MAX_HEADERS: usize = 100;

/// The maximum time to wait for the first byte of the next request on a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The maximum time to receive the rest of a request after its first byte, and the maximum time to send a response.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// The first byte that a TLS client sends. Such a client gets an error immediately instead of a timeout.
const TLS_HANDSHAKE: u8 = 0x16;
/// The maximum time to read and discard the rest of a rejected request. See [`Connection::close_gracefully`].
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A request as received, except that a chunked body is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The method as sent.
    pub method: String,
    /// The request target as sent, with its query.
    pub target: String,
    /// The headers as sent, with trimmed values.
    pub headers: Vec<(String, String)>,
    /// The body, with its transfer coding removed.
    pub body: Vec<u8>,
    /// Whether the client allows the connection to be reused.
    pub keep_alive: bool,
}

/// An error in the HTTP syntax of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// The HTTP status of the response.
    pub status: u16,
    /// The error code. The real gateway has no such code: it responds to malformed requests with an HTML page.
    pub code: &'static str,
    /// A human-readable description of the error.
    pub message: &'static str,
}

const fn wire_error(status: u16, code: &'static str, message: &'static str) -> WireError {
    WireError { status, code, message }
}

const MALFORMED: WireError = wire_error(400, "BadRequest", "The request is not HTTP/1.1.");
const NO_HOST: WireError = wire_error(400, "BadRequest", "The request has no Host header.");
const BAD_LENGTH: WireError = wire_error(400, "BadRequest", "The length of the body is invalid or ambiguous.");
const BAD_CHUNK: WireError = wire_error(400, "BadRequest", "The chunks of the body are malformed.");
const CONNECTION_CLOSED: WireError = wire_error(400, "BadRequest", "The connection was closed during the request.");
const TOO_SLOW: WireError = wire_error(408, "RequestTimeout", "The request took longer than 30 s to arrive.");
const TARGET_TOO_LONG: WireError = wire_error(414, "RequestUriTooLong", "The request target is longer than 128 KB.");
const BODY_TOO_LONG: WireError = wire_error(413, "RequestEntityTooLarge", "The body is longer than 1 MiB.");
const HEAD_TOO_LONG: WireError =
    wire_error(431, "RequestHeadersTooLarge", "The head is longer than 160 KB or has more than 100 headers.");
const UNSUPPORTED_CODING: WireError =
    wire_error(501, "NotImplemented", "The only supported transfer coding is chunked.");

/// An HTTP response, without the headers that the connection sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
    /// Headers other than `Date`, `Content-Type`, `Content-Length` and `Connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The complete body. Its length is sent in `Content-Length`.
    pub body: Vec<u8>,
}

impl Response {
    /// Encodes the head and the body.
    pub fn to_bytes(&self, date: Timestamp, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        // This fails only for years after 9999.
        if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&date) {
            head.push_str(&format!("Date: {date}\r\n"));
        }
        head.push_str(&format!("Content-Type: {}\r\nContent-Length: {}\r\n", self.content_type, self.body.len()));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(if keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}

/// A parsed request line with its headers.
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    keep_alive: bool,
    body: Framing,
    expects_continue: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// A connection that reads one request at a time. Pipelined requests wait in its buffer.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Creates a connection that reads its requests from `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Whether the buffer contains part of a request.
    pub fn has_buffered_bytes(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Waits for the first byte of the next request. Returns `false` if the client closed the connection, or was idle
    /// for 75 s. This function is cancel safe.
    pub async fn wait_for_request(&mut self) -> bool {
        if self.has_buffered_bytes() {
            return true;
        }
        matches!(timeout(IDLE_TIMEOUT, self.fill()).await, Ok(Ok(())))
    }

    /// Reads one request within 30 s.
    ///
    /// # Errors
    ///
    /// Returns the status and code of the error response. The caller must then close the connection.
    pub async fn read(&mut self) -> Result<RawRequest, WireError> {
        timeout(TRANSFER_TIMEOUT, self.read_request()).await.unwrap_or(Err(TOO_SLOW))
    }

    async fn read_request(&mut self) -> Result<RawRequest, WireError> {
        let head = self.read_head().await?;
        if head.expects_continue && self.buffer.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| CONNECTION_CLOSED)?;
        }
        let body = match head.body {
            Framing::Length(length) => self.take_exact(length).await?,
            Framing::Chunked => self.read_chunks().await?,
        };
        let Head { method, target, headers, keep_alive, .. } = head;
        Ok(RawRequest { method, target, headers, body, keep_alive })
    }

    async fn read_head(&mut self) -> Result<Head, WireError> {
        let mut searched = 0;
        loop {
            // RFC 9112, section 2.2: a server ignores empty lines before a request.
            if searched == 0 {
                let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                self.buffer.drain(..blank);
            }
            if let Some(end) = head_end(&self.buffer, searched) {
                let head = parse_head(&self.buffer[..end])?;
                self.buffer.drain(..end);
                return Ok(head);
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.buffer.first() == Some(&TLS_HANDSHAKE) {
                return Err(MALFORMED);
            }
            check_head_size(&self.buffer)?;
            self.fill().await.map_err(|_| CONNECTION_CLOSED)?;
        }
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, WireError> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = match usize::from_str_radix(digits, 16) {
                Ok(size) if !digits.starts_with('+') => size,
                _ => return Err(BAD_CHUNK),
            };
            if size == 0 {
                // Skip the trailers, which end with an empty line.
                while !self.read_line().await?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(BODY_TOO_LONG);
            }
            body.extend(self.take_exact(size).await?);
            if !self.read_line().await?.is_empty() {
                return Err(BAD_CHUNK);
            }
        }
    }

    /// Reads a line of at most 8 KiB, and removes its line ending.
    async fn read_line(&mut self) -> Result<String, WireError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8(self.buffer.drain(..=end).collect()).map_err(|_| BAD_CHUNK)?;
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > 8 * 1024 {
                return Err(BAD_CHUNK);
            }
            self.fill().await.map_err(|_| CONNECTION_CLOSED)?;
        }
    }

    async fn take_exact(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < length {
            self.fill().await.map_err(|_| CONNECTION_CLOSED)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads available bytes into the buffer. Returns an error at the end of the stream.
    async fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Writes and flushes bytes within 30 s. Returns whether that succeeded.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        matches!(timeout(TRANSFER_TIMEOUT, write).await, Ok(Ok(())))
    }

    /// Closes the connection after the response to a request that was not read completely. Before it closes the
    /// connection, this function reads and discards the rest of the request. If unread bytes remained, the kernel would
    /// reset the connection, and a client that is still sending might not receive the response.
    pub async fn close_gracefully(mut self) {
        let _ = timeout(DRAIN_TIMEOUT, async {
            self.stream.shutdown().await?;
            let mut discarded = vec![0; 64 * 1024];
            while self.stream.read(&mut discarded).await? > 0 {}
            std::io::Result::Ok(())
        })
        .await;
    }

    /// Returns the stream, so that the caller can reset the connection.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

/// Finds the first empty line, which ends the head. Returns the index of the byte after it.
fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = buffer[at..].iter().position(|byte| *byte == b'\n') {
        at += found + 1;
        match &buffer[at..] {
            [b'\r', b'\n', ..] => return Some(at + 2),
            [b'\n', ..] => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Checks the size of a head that is still incomplete, so that a head above the limits is rejected early.
fn check_head_size(buffer: &[u8]) -> Result<(), WireError> {
    // The request line starts with the method, for which this check allows 32 bytes.
    if buffer.len() > MAX_TARGET + 32 && !buffer.contains(&b'\n') {
        return Err(TARGET_TOO_LONG);
    }
    if buffer.len() > MAX_HEAD { Err(HEAD_TOO_LONG) } else { Ok(()) }
}

fn parse_head(bytes: &[u8]) -> Result<Head, WireError> {
    let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut storage);
    match parsed.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(MALFORMED),
        Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LONG),
        Err(_) => return Err(MALFORMED),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(MALFORMED);
    };
    if target.len() > MAX_TARGET {
        return Err(TARGET_TOO_LONG);
    }
    if bytes.len() > MAX_HEAD {
        return Err(HEAD_TOO_LONG);
    }
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned()))
        .collect();
    let all = |name: &'static str| {
        headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    if minor == 1 && all("host").count() != 1 {
        return Err(NO_HOST);
    }
    let body = framing(all("content-length"), all("transfer-encoding"))?;
    let connection_has =
        |option: &str| all("connection").flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(option));
    let keep_alive = if minor == 1 { !connection_has("close") } else { connection_has("keep-alive") };
    let expects_continue = minor == 1 && all("expect").any(|value| value.eq_ignore_ascii_case("100-continue"));
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Head { method, target, keep_alive, body, expects_continue, headers })
}

/// Determines how the body is delimited. Rejects ambiguous framing.
fn framing<'h>(
    lengths: impl Iterator<Item = &'h str>,
    codings: impl Iterator<Item = &'h str>,
) -> Result<Framing, WireError> {
    let lengths: Vec<&str> = lengths.collect();
    let codings: Vec<&str> = codings.collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([length, others @ ..], []) if others.iter().all(|other| other == length) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BAD_LENGTH);
            }
            // A number that does not fit into `usize` exceeds every limit.
            let length = length.parse().unwrap_or(usize::MAX);
            if length > MAX_BODY { Err(BODY_TOO_LONG) } else { Ok(Framing::Length(length)) }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([], _) => Err(UNSUPPORTED_CODING),
        _ => Err(BAD_LENGTH),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
