//! HTTP/1.1 as far as the API needs it, over any byte stream.
//!
//! Why not a server library: the official SDKs put every parameter into the request target, up to 98 KB for 32 KB of
//! Chinese `GroupInfo`, and hyper answers 414 above 65,534 bytes.

use std::time::Duration;

use httparse::Status;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The longest request target: 128 KB. A longer one gets 414.
pub const MAX_TARGET: usize = 128 * 1024;
/// The longest head: request line and headers. A longer one gets 431.
pub const MAX_HEAD: usize = 160 * 1024;
/// The longest body: 1 MiB. A longer one gets 413.
pub const MAX_BODY: usize = 1024 * 1024;
/// The most headers. With more the request gets 431.
pub const MAX_HEADERS: usize = 100;

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(75);
/// How long a request may take to arrive, from its first byte, and an answer to be taken.
const TRANSFER: Duration = Duration::from_secs(30);
/// First byte of a client that tries https: told at once, not after a time-out.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a refused request is read on, so that its sender gets to see the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A request as it came: nothing is decoded but the chunks of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Names and values as sent.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the sender wants to use the connection again.
    pub keep_alive: bool,
}

/// Why no request could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// The HTTP status to answer with.
    pub status: u16,
    /// A code of the emulator's own: the real gateway answers such requests with a page of its web server.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

const fn wire_error(status: u16, code: &'static str, message: &'static str) -> WireError {
    WireError { status, code, message }
}

const MALFORMED: WireError = wire_error(400, "BadRequest", "The request is not HTTP/1.1.");
const NO_HOST: WireError = wire_error(400, "BadRequest", "The request has no Host header.");
const BAD_LENGTH: WireError = wire_error(400, "BadRequest", "The length of the body is not clear.");
const BAD_CHUNK: WireError = wire_error(400, "BadRequest", "The body is not well chunked.");
const CUT_SHORT: WireError = wire_error(400, "BadRequest", "The connection ended within the request.");
const TOO_SLOW: WireError = wire_error(408, "RequestTimeout", "The request took longer than 30 s to arrive.");
const TARGET_TOO_LONG: WireError = wire_error(414, "RequestUriTooLong", "The request target is longer than 128 KB.");
const BODY_TOO_LONG: WireError = wire_error(413, "RequestEntityTooLarge", "The body is longer than 1 MiB.");
const HEAD_TOO_LONG: WireError =
    wire_error(431, "RequestHeadersTooLarge", "The head is longer than 160 KB or has more than 100 headers.");
const CODING: WireError = wire_error(501, "NotImplemented", "The only transfer coding understood is chunked.");

/// An answer, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Head and body as they go over the wire.
    pub fn bytes(&self, date: Timestamp, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        // Fails for years beyond 9999 only.
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

fn reason(status: u16) -> &'static str {
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

/// What the head says.
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

/// One connection: reads requests one after the other; what was sent ahead waits in the buffer.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over a stream.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Whether part of a request has arrived.
    pub fn is_busy(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Waits for the first byte of the next request; `false` when there will be none. Nothing is lost when the future
    /// is dropped.
    pub async fn wait(&mut self) -> bool {
        if self.is_busy() {
            return true;
        }
        matches!(timeout(IDLE, self.fill()).await, Ok(Ok(())))
    }

    /// Reads one request.
    ///
    /// # Errors
    ///
    /// After an error the connection can be answered, and must then be closed.
    pub async fn read(&mut self) -> Result<RawRequest, WireError> {
        timeout(TRANSFER, self.read_request()).await.unwrap_or(Err(TOO_SLOW))
    }

    async fn read_request(&mut self) -> Result<RawRequest, WireError> {
        let head = self.read_head().await?;
        if head.expects_continue && self.buffer.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| CUT_SHORT)?;
        }
        let body = match head.body {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.read_chunks().await?,
        };
        let Head { method, target, headers, keep_alive, .. } = head;
        Ok(RawRequest { method, target, headers, body, keep_alive })
    }

    async fn read_head(&mut self) -> Result<Head, WireError> {
        let mut searched = 0;
        loop {
            // Empty lines before a request are to be ignored (RFC 9112, 2.2).
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
            check_size(&self.buffer)?;
            self.fill().await.map_err(|_| CUT_SHORT)?;
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
                // Trailers, up to an empty line.
                while !self.read_line().await?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(BODY_TOO_LONG);
            }
            body.extend(self.take(size).await?);
            if !self.read_line().await?.is_empty() {
                return Err(BAD_CHUNK);
            }
        }
    }

    /// One short line without its end.
    async fn read_line(&mut self) -> Result<String, WireError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8(self.buffer.drain(..=end).collect()).map_err(|_| BAD_CHUNK)?;
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > 8 * 1024 {
                return Err(BAD_CHUNK);
            }
            self.fill().await.map_err(|_| CUT_SHORT)?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < length {
            self.fill().await.map_err(|_| CUT_SHORT)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads what there is; the end of the stream is an error.
    async fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Writes bytes; `false` when they could not be delivered.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        matches!(timeout(TRANSFER, write).await, Ok(Ok(())))
    }

    /// Closes after an answer to a request that was not read to its end. Closing at once would make the kernel reset the
    /// connection, and the sender, still writing, might never see the answer.
    pub async fn close_gently(mut self) {
        let _ = timeout(LINGER, async {
            self.stream.shutdown().await?;
            let mut scrap = vec![0; 64 * 1024];
            while self.stream.read(&mut scrap).await? > 0 {}
            std::io::Result::Ok(())
        })
        .await;
    }

    /// The stream, to be closed in a way of the caller's.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

/// Where the head ends: behind its first empty line.
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

/// Refuses a head that is too long before it has arrived.
fn check_size(buffer: &[u8]) -> Result<(), WireError> {
    // Room for the method before the target.
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
    let says =
        |option: &str| all("connection").flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(option));
    let keep_alive = if minor == 1 { !says("close") } else { says("keep-alive") };
    let expects_continue = minor == 1 && all("expect").any(|value| value.eq_ignore_ascii_case("100-continue"));
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Head { method, target, keep_alive, body, expects_continue, headers })
}

/// How the body is delimited. Anything two readers could understand in two ways is refused.
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
            // Digits that do not fit are a length beyond every limit.
            let length = length.parse().unwrap_or(usize::MAX);
            if length > MAX_BODY { Err(BODY_TOO_LONG) } else { Ok(Framing::Length(length)) }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([], _) => Err(CODING),
        _ => Err(BAD_LENGTH),
    }
}

#[cfg(test)]
mod tests;
