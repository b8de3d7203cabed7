//! A client that signs requests. The test controls every other part of the request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::emulator::signature_v1::sign_v1;
use live_message_operator::live::encode::canonical_query;
use live_message_operator::live::signature::{V3Request, sha256_hex, sign_v3};
use serde_json::Value;

/// A client whose fields set the parts of a request that the tests vary.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub method: &'static str,
    /// Whether to send parameters in a form body instead of the query.
    pub form: bool,
    /// Whether to sign with V1 instead of V3.
    pub v1: bool,
    /// The value of the `accept` header in V3, or of the `Format` parameter in V1.
    pub format: Option<&'static str>,
    pub time: Option<Timestamp>,
    pub nonce: Option<String>,
    pub version: &'static str,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        line.split_once(": ").map(|(_, value)| value)
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            id: "testid".to_owned(),
            secret: "testsecret".to_owned(),
            token: None,
            method: "POST",
            form: false,
            v1: false,
            format: None,
            time: None,
            nonce: None,
            version: "2016-11-01",
        }
    }

    /// The bytes of a signed request.
    pub fn request(&self, operation: &str, params: &[(&str, &str)]) -> Vec<u8> {
        if self.v1 { self.request_v1(operation, params) } else { self.request_v3(operation, params) }
    }

    fn date(&self) -> String {
        format!("{:.0}", Timestamp::from_second(self.time.unwrap_or_else(Timestamp::now).as_second()).unwrap())
    }

    fn nonce(&self) -> String {
        self.nonce.clone().unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    }

    fn query_and_body(&self, params: &[(&str, &str)]) -> (String, String) {
        let encoded = canonical_query(params.iter().copied());
        if self.form { (String::new(), encoded) } else { (encoded, String::new()) }
    }

    fn request_v3(&self, operation: &str, params: &[(&str, &str)]) -> Vec<u8> {
        let (query, body) = self.query_and_body(params);
        let hash = sha256_hex(body.as_bytes());
        let mut headers = vec![
            ("host".to_owned(), self.address.to_string()),
            ("x-acs-action".to_owned(), operation.to_owned()),
            ("x-acs-content-sha256".to_owned(), hash.clone()),
            ("x-acs-date".to_owned(), self.date()),
            ("x-acs-signature-nonce".to_owned(), self.nonce()),
            ("x-acs-version".to_owned(), self.version.to_owned()),
        ];
        headers.extend(self.token.clone().map(|token| ("x-acs-security-token".to_owned(), token)));
        headers.extend(self.format.map(|accept| ("accept".to_owned(), accept.to_owned())));
        if self.form {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        }
        headers.sort();
        let signed = sign_v3(
            V3Request { method: self.method, path: "/", query: &query, headers: &headers, body_sha256: &hash },
            &self.secret,
        );
        headers.push(("Authorization".to_owned(), signed.authorization(&self.id)));
        self.bytes(&query, &headers, &body)
    }

    fn request_v1(&self, operation: &str, params: &[(&str, &str)]) -> Vec<u8> {
        let (date, nonce) = (self.date(), self.nonce());
        let mut all = vec![
            ("AccessKeyId", self.id.as_str()),
            ("Action", operation),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", &nonce),
            ("SignatureVersion", "1.0"),
            ("Timestamp", &date),
            ("Version", self.version),
        ];
        all.extend(self.format.map(|format| ("Format", format)));
        all.extend(self.token.as_deref().map(|token| ("SecurityToken", token)));
        let signed = sign_v1(self.method, all.iter().chain(params).copied(), &self.secret);
        all.push(("Signature", &signed.signature));
        let mut headers = vec![("host".to_owned(), self.address.to_string())];
        // The common parameters are always in the query, even if the parameters of the operation are in the body.
        let (query, body) = if self.form {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
            (canonical_query(all), canonical_query(params.iter().copied()))
        } else {
            all.extend(params);
            (canonical_query(all), String::new())
        };
        self.bytes(&query, &headers, &body)
    }

    fn bytes(&self, query: &str, headers: &[(String, String)], body: &str) -> Vec<u8> {
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
        let mut text = format!("{} {target} HTTP/1.1\r\n", self.method);
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text.into_bytes()
    }

    /// Makes one call on a new connection.
    pub fn call(&self, operation: &str, params: &[(&str, &str)]) -> Response {
        let mut connection = Connection::open(self.address);
        connection.send(&self.request(operation, params));
        connection.receive()
    }

    /// Makes one call that must succeed, and returns the JSON of its response.
    pub fn ok(&self, operation: &str, params: &[(&str, &str)]) -> Value {
        let response = self.call(operation, params);
        assert_eq!(response.status, 200, "{operation}: {response:?}");
        response.json()
    }
}

/// A connection that reads responses one at a time.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn receive(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.fill() > 0, "connection closed: {}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut response =
            Response { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: String::new() };
        let length: usize = response.header("content-length").unwrap().parse().unwrap();
        while self.buffer.len() < length {
            assert!(self.fill() > 0, "connection closed within the body");
        }
        response.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        response
    }

    /// Waits until the server closes the connection or sends data. Returns whether the server closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill() == 0
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 64 * 1024];
        let read = self.stream.read(&mut piece).unwrap();
        self.buffer.extend_from_slice(&piece[..read]);
        read
    }
}
