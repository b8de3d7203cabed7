use super::*;
use crate::live::loopback::Loopback;

async fn at(server: &Loopback) -> Setup {
    Setup::new(&[("ALIBABA_CLOUD_CREDENTIALS_URI", &format!("{}/credentials?key=hush-key", server.origin))])
}

#[tokio::test]
async fn credentials_are_read_from_the_uri() {
    for start in ["", r#""Code":"Success","#] {
        let server = Loopback::script(vec![answer(200, &format!("{{{start}{}}}", key_for(900)))]).await;
        let (issued, provider) = at(&server).await.issue().await.unwrap();
        assert_eq!((issued.credentials.access_key_id(), provider), ("STS.id", "credentials URI"));
        assert_eq!((server.seen()[0].method(), server.seen()[0].target()), ("GET", "/credentials?key=hush-key"));
    }
}

#[tokio::test]
async fn errors_show_neither_uri_nor_response() {
    for (act, expected) in [
        (answer(404, "hush"), "HTTP 404"),
        (answer(200, "hush"), "not JSON"),
        (answer(200, r#"{"Code":"Fail","AccessKeySecret":"hush"}"#), "Fail"),
        (answer(200, r#"{"AccessKeyId":"hush","AccessKeySecret":"hush"}"#), "has no SecurityToken"),
        (answer(200, &format!("{{{}}}", key_for(-1))), "have already expired"),
        (Act::SendAndClose(Vec::new()), "the connection was lost"),
    ] {
        let server = Loopback::script(vec![act]).await;
        let error = at(&server).await.error().await;
        assert!(error.starts_with("no credentials from credentials URI: ") && error.contains(expected), "{error}");
        assert!(!error.contains("hush") && !error.contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn invalid_uri_is_refused() {
    for text in ["hush", "file:///hush", "http://"] {
        let error = Setup::new(&[("ALIBABA_CLOUD_CREDENTIALS_URI", text)]).error().await;
        assert!(error.contains("ALIBABA_CLOUD_CREDENTIALS_URI is not an http or https URL"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
