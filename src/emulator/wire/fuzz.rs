//! A fuzz target that parses and verifies requests.

use futures::FutureExt as _;

use super::*;
use crate::emulator::request::Request;
use crate::emulator::vector;
use crate::emulator::verify::{Claims, Verifier};
use crate::live::fuzz::Target;

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    ": ",
    "GET ",
    "POST ",
    "PUT ",
    " HTTP/1.1",
    " HTTP/1.0",
    "http://h/",
    "?",
    "&",
    "=",
    "+",
    "%",
    "%2",
    "%ff",
    "%E7%BE%A4",
    "Host: h\r\n",
    "Content-Length: ",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "-1\r\n",
    "+5\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Content-Type: application/x-www-form-urlencoded\r\n",
    "Authorization: ",
    "ACS3-HMAC-SHA256 ",
    "Credential=",
    "SignedHeaders=",
    "Signature=",
    "host;",
    ";",
    ",",
    "\u{16}",
    "x-acs-date: 2026-01-02T03:04:05Z\r\n",
    "Action=",
    "AccessKeyId=",
    "SignatureMethod=HMAC-SHA1",
    "Timestamp=",
];

/// Reads and verifies requests until a request cannot be read, as the server does. Returns the outcomes.
fn serve(bytes: &[u8]) -> Vec<String> {
    let mut connection = Connection::new(tokio::io::join(bytes, tokio::io::sink()));
    let mut outcomes = Vec::new();
    let mut verifier = Verifier::new([]);
    for _ in 0..10 {
        let raw = match connection.read_request().now_or_never() {
            None => panic!("the bytes are ready"),
            Some(Err(error)) => {
                outcomes.push(format!("{error:?}"));
                break;
            }
            Some(Ok(raw)) => raw,
        };
        assert!(raw.target.len() <= MAX_TARGET && raw.body.len() <= MAX_BODY && raw.headers.len() <= MAX_HEADERS);
        let request = Request::new(&raw.method, &raw.target, raw.headers, raw.body);
        outcomes.push(match request {
            Err(error) => error.code.into_owned(),
            Ok(request) => {
                let claims = Claims::from_request(&request);
                let verified = verifier.verify(&request, Timestamp::UNIX_EPOCH).map_err(|error| error.code);
                format!("{:?} {:?} {verified:?}", claims.signature, claims.format(&request))
            }
        });
    }
    outcomes
}

#[test]
fn requests() {
    let vectors = vector::read_all(&vector::own_folder()).unwrap();
    let wires = vectors.iter().map(vector::Vector::wire).filter(|wire| wire.len() < 4_096);
    let chunked =
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: t\r\n\r\n";
    let seeds: Vec<Vec<u8>> = wires.chain([chunked.to_vec()]).collect();
    assert!(seeds.len() > 20);
    Target { name: "requests", seeds, words: WORDS }.run(serve);
}
