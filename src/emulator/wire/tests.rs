use tokio::io::duplex;

use super::*;

/// Sends `bytes` in pieces of `piece` bytes, closes the stream, and returns the first request that the server reads.
async fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<RawRequest, WireError> {
    let (mut client, server) = duplex(8 * 1024);
    let bytes = bytes.to_vec();
    let sender = tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            if client.write_all(piece).await.is_err() {
                return;
            }
        }
    });
    let request = Connection::new(server).read().await;
    sender.abort();
    request
}

async fn read(bytes: &[u8]) -> Result<RawRequest, WireError> {
    let whole = read_in_pieces(bytes, usize::MAX).await;
    if bytes.len() < 10_000 {
        assert_eq!(whole, read_in_pieces(bytes, 1).await, "the result depends on the piece size");
    }
    whole
}

async fn status(bytes: &[u8]) -> u16 {
    read(bytes).await.unwrap_err().status
}

#[tokio::test]
async fn request_is_read_unchanged() {
    let request =
        read(b"\r\nPOST /?a=b HTTP/1.1\r\nHost: h\r\nX-A:  v \r\nContent-Length: 3\r\n\r\nxyz").await.unwrap();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/?a=b"));
    assert_eq!(request.headers[1], ("X-A".to_owned(), "v".to_owned()));
    assert_eq!(request.body, b"xyz");
    assert!(request.keep_alive);
}

#[tokio::test]
async fn version_and_header_decide_keep_alive() {
    assert!(!read(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n").await.unwrap().keep_alive);
    assert!(!read(b"GET / HTTP/1.0\r\n\r\n").await.unwrap().keep_alive);
    assert!(read(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await.unwrap().keep_alive);
}

#[tokio::test]
async fn chunked_bodies_are_joined() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = |chunks: &str| format!("{head}{chunks}").into_bytes();
    let request =
        read(&body("4\r\nWiki\r\n5;x=y\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nTrailer: t\r\n\r\n")).await;
    assert_eq!(request.unwrap().body, b"Wikipedia in\r\n\r\nchunks.");
    assert_eq!(status(&body("x\r\n")).await, 400);
    assert_eq!(status(&body("+1\r\na\r\n0\r\n\r\n")).await, 400);
    assert_eq!(status(&body("1\r\nab\r\n0\r\n\r\n")).await, 400);
    assert_eq!(status(&body("FFFFFFFFFFFFFFFFF\r\n")).await, 400);
    assert_eq!(status(&body("FFFFFFFF\r\n")).await, 413);
    assert_eq!(status(&body("4\r\nWi")).await, 400);
}

#[tokio::test]
async fn invalid_http_is_rejected() {
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHos",
        b"\x16\x03\x01\x02\x00",
    ] {
        assert_eq!(status(bytes).await, 400, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(status(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n").await, 501);
}

#[tokio::test]
async fn target_head_and_body_sizes_are_limited() {
    let get = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1)).into_bytes();
    assert_eq!(read(&get(MAX_TARGET)).await.unwrap().target.len(), MAX_TARGET);
    assert_eq!(status(&get(MAX_TARGET + 1)).await, 414);
    assert_eq!(status(&get(MAX_TARGET * 8)).await, 414);
    let header = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD));
    assert_eq!(status(header.as_bytes()).await, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
    assert_eq!(status(many.as_bytes()).await, 431);
    let post = |length: usize| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let full = [post(MAX_BODY).into_bytes(), vec![b'x'; MAX_BODY]].concat();
    assert_eq!(read(&full).await.unwrap().body.len(), MAX_BODY);
    assert_eq!(status(post(MAX_BODY + 1).as_bytes()).await, 413);
    assert_eq!(status(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n").await, 413);
}

#[tokio::test]
async fn pipelined_requests_are_read_one_by_one() {
    let (mut client, server) = duplex(64 * 1024);
    let one = b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    client.write_all(&[&one[..], b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"].concat()).await.unwrap();
    let mut connection = Connection::new(server);
    assert!(connection.wait_for_request().await);
    assert_eq!(connection.read().await.unwrap().target, "/1");
    assert!(connection.has_buffered_bytes());
    assert_eq!(connection.read().await.unwrap().target, "/2");
    drop(client);
    assert!(!connection.wait_for_request().await);
}

#[tokio::test]
async fn expect_continue_is_answered() {
    let (mut client, server) = duplex(64 * 1024);
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(request).await.unwrap();
    let reader = tokio::spawn(async move { Connection::new(server).read().await });
    let mut response = [0; 25];
    client.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ok").await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap().body, b"ok");
}

#[tokio::test(start_paused = true)]
async fn slow_requests_and_idle_connections_time_out() {
    let (mut client, server) = duplex(1024);
    client.write_all(b"GET / HT").await.unwrap();
    let mut connection = Connection::new(server);
    assert!(connection.wait_for_request().await);
    assert_eq!(connection.read().await.unwrap_err().status, 408);

    let (_client, server) = duplex(1024);
    assert!(!Connection::new(server).wait_for_request().await);
}

#[test]
fn response_has_date_type_and_length() {
    let response = Response {
        status: 404,
        content_type: "text/xml;charset=utf-8",
        headers: vec![("x-acs-retry-after", "50".to_owned())],
        body: b"<Error/>".to_vec(),
    };
    let date = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(
        String::from_utf8(response.to_bytes(date, true)).unwrap(),
        "HTTP/1.1 404 Not Found\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: text/xml;charset=utf-8\r\n\
         Content-Length: 8\r\nx-acs-retry-after: 50\r\nConnection: keep-alive\r\n\r\n<Error/>"
    );
}
