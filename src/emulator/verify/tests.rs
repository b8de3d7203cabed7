use serde_json::Value;

use super::*;
use crate::live::encode::canonical_query;

/// A vector: a request as an official SDK sent it, and the key it was signed with.
struct Vector {
    name: String,
    v1: bool,
    request: Request,
    key: AccessKey,
    date: Timestamp,
}

fn vectors() -> Vec<Vector> {
    let mut found: Vec<Vector> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('0'))
        .map(|path| vector(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 30, "the vectors are missing");
    found
}

fn vector(json: &Value) -> Vector {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let request = &json["request"];
    let query = match request["query_raw"].as_str() {
        Some(raw) => raw.to_owned(),
        None => {
            let pairs = request["query_decoded"].as_object().unwrap();
            canonical_query(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())))
        }
    };
    let mut headers: Vec<(String, String)> =
        request["headers"].as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    // The example of the document gives the header's value beside the request.
    if let (Some(value), false) = (
        json["signing"]["authorization"].as_str(),
        headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")),
    ) {
        headers.push(("authorization".to_owned(), value.to_owned()));
    }
    let target = format!("{}?{query}", text(&request["path"]));
    let body = text(&request["body"]).into_bytes();
    let key = &json["credentials"];
    let mut access_key = AccessKey::new(text(&key["access_key_id"]), text(&key["access_key_secret"]));
    if let Some(token) = key["security_token"].as_str() {
        access_key = access_key.with_token(token, None);
    }
    Vector {
        name: text(&json["name"]),
        v1: text(&json["signature_algorithm"]).starts_with("HMAC-SHA1"),
        request: Request::new(&text(&request["method"]), &target, headers, body).unwrap(),
        key: access_key,
        date: json["date"].as_str().unwrap().parse().unwrap(),
    }
}

impl Vector {
    fn verify(&self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        Verifier::new([self.key.clone()]).verify(request, now)
    }
}

#[test]
fn every_vector_is_accepted_as_it_is() {
    let all = vectors();
    assert!(all.iter().filter(|vector| vector.v1).count() >= 4);
    for vector in all {
        let outcome = vector.verify(&vector.request, vector.date);
        assert_eq!(outcome.as_deref(), Ok(vector.key.id.as_str()), "{}", vector.name);
        let claims = Claims::of(&vector.request);
        assert_eq!(claims.signature == Some(SignatureVersion::V1), vector.v1, "{}", vector.name);
    }
}

/// Another character of the same length.
fn other(c: char) -> char {
    match c {
        'a' => 'b',
        c if c.is_ascii() => 'a',
        c => char::from_u32(u32::from(c) ^ 1).unwrap(),
    }
}

/// The text with its `at`th character changed; `None` behind the end.
fn changed(text: &str, at: usize) -> Option<String> {
    let (start, c) = text.char_indices().nth(at)?;
    Some(format!("{}{}{}", &text[..start], other(c), &text[start + c.len_utf8()..]))
}

/// Positions to change in a text: all of them, or about a hundred in a long one.
fn positions(text: &str) -> impl Iterator<Item = usize> {
    let count = text.chars().count();
    (0..count).step_by(1 + count / 100)
}

fn changes(params: &Params) -> Vec<Params> {
    let pairs: Vec<(String, String)> = params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut all = Vec::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let names = positions(name).filter_map(|at| Some((changed(name, at)?, value.clone())));
        let values = positions(value).filter_map(|at| Some((name.clone(), changed(value, at)?)));
        for pair in names.chain(values) {
            let mut altered = pairs.clone();
            altered[index] = pair;
            all.push(altered.into_iter().collect());
        }
    }
    all
}

#[test]
fn every_vector_is_refused_with_any_character_changed() {
    for vector in vectors() {
        let refuse = |request: &Request, what: &str| {
            let outcome = vector.verify(request, vector.date);
            assert!(outcome.is_err(), "{}: accepted with another {what}", vector.name);
        };
        for query in changes(&vector.request.query) {
            refuse(&Request { query: query.clone(), ..vector.request.clone() }, &format!("query {query:?}"));
        }
        if vector.v1 {
            for form in changes(&vector.request.form) {
                refuse(&Request { form: form.clone(), ..vector.request.clone() }, &format!("form {form:?}"));
            }
        } else {
            v3_headers_and_body(&vector, refuse);
        }
        refuse(&Request { method: "PUT".to_owned(), ..vector.request.clone() }, "method");
    }
}

fn v3_headers_and_body(vector: &Vector, refuse: impl Fn(&Request, &str)) {
    let authorization = vector.request.header("authorization").unwrap_or_default().to_owned();
    let signed = Authorization::parse(&authorization).map(|a| a.signed_headers).unwrap_or_default();
    for (index, (name, value)) in vector.request.headers.iter().enumerate() {
        if name != "authorization" && !signed.contains(&name.as_str()) {
            continue;
        }
        for at in positions(value) {
            let mut request = vector.request.clone();
            request.headers[index].1 = changed(value, at).unwrap();
            refuse(&request, name);
        }
    }
    let body = String::from_utf8(vector.request.body.clone()).unwrap();
    for at in positions(&body) {
        let body = changed(&body, at).unwrap().into_bytes();
        refuse(&Request { body, ..vector.request.clone() }, "body");
    }
    refuse(&Request { path: "/a".to_owned(), ..vector.request.clone() }, "path");
}

fn named(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

fn code(outcome: Result<String, ApiError>) -> String {
    outcome.unwrap_err().code.into_owned()
}

#[test]
fn the_time_must_be_within_15_minutes_either_way() {
    for name in ["rpcv1-create-full", "create-full-plain"] {
        let vector = named(name);
        let quarter = SignedDuration::from_mins(15);
        for (now, ok) in [
            (vector.date + quarter, true),
            (vector.date - quarter, true),
            (vector.date + quarter + SignedDuration::from_millis(1), false),
            (vector.date - quarter - SignedDuration::from_millis(1), false),
        ] {
            let outcome = vector.verify(&vector.request, now);
            assert_eq!(outcome.is_ok(), ok, "{name} at {now}");
            if !ok {
                let error = outcome.unwrap_err();
                assert_eq!((error.status, error.code.as_ref()), (400, "InvalidTimeStamp.Expired"));
            }
        }
    }
}

#[test]
fn a_nonce_is_good_for_one_request() {
    let vector = named("create-full-plain");
    let mut verifier = Verifier::new([vector.key.clone()]);
    verifier.verify(&vector.request, vector.date).unwrap();
    for minutes in [0, 7, 15] {
        let now = vector.date + SignedDuration::from_mins(minutes);
        assert_eq!(code(verifier.verify(&vector.request, now)), "SignatureNonceUsed");
    }
}

#[test]
fn a_refused_request_does_not_use_up_its_nonce() {
    let vector = named("rpcv1-create-full");
    let mut verifier = Verifier::new([AccessKey::new(vector.key.id.clone(), "wrong")]);
    let error = verifier.verify(&vector.request, vector.date).unwrap_err();
    assert_eq!(error.code, "SignatureDoesNotMatch");
    assert!(error.message.contains("server string to sign is:POST&%2F&"));
    verifier.put_key(vector.key.clone());
    verifier.verify(&vector.request, vector.date).unwrap();
}

#[test]
fn nonces_are_forgotten_when_their_time_is_over() {
    let mut nonces = Nonces::default();
    let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    for i in 0..5000 {
        assert!(nonces.insert("id", &i.to_string(), start, start));
    }
    let later = start + SignedDuration::from_mins(16);
    for i in 5000..12_000 {
        assert!(nonces.insert("id", &i.to_string(), later, later));
    }
    assert_eq!(nonces.seen.len(), 7000);
    assert!(nonces.insert("other", "5000", later, later), "each key has its own nonces");
    // An older date does not shorten the memory of the first request.
    assert!(!nonces.insert("id", "5000", start, later));
    assert!(!nonces.insert("id", "5000", later, later + TIME_WINDOW));
}

#[test]
fn unknown_keys_and_missing_parts_have_their_codes() {
    let vector = named("create-full-plain");
    let mut none = Verifier::default();
    let error = none.verify(&vector.request, vector.date).unwrap_err();
    assert_eq!((error.status, error.code.as_ref()), (404, "InvalidAccessKeyId.NotFound"));

    for (header, expected) in [
        ("x-acs-action", "MissingAction"),
        ("x-acs-version", "MissingVersion"),
        ("x-acs-date", "MissingTimestamp"),
        ("x-acs-signature-nonce", "MissingSignatureNonce"),
        ("x-acs-content-sha256", "MissingContentSha256"),
        ("authorization", "MissingAccessKeyId"),
    ] {
        let mut request = vector.request.clone();
        request.headers.retain(|(name, _)| name != header);
        assert_eq!(code(vector.verify(&request, vector.date)), expected);
    }

    let v1 = named("rpcv1-create-full");
    for name in ["AccessKeyId", "Action", "Version", "Signature", "SignatureNonce", "Timestamp", "SignatureMethod"] {
        let query = v1.request.query.iter().filter(|(n, _)| *n != name).collect();
        let request = Request { query, ..v1.request.clone() };
        assert_eq!(code(v1.verify(&request, v1.date)), format!("Missing{name}"));
    }
}

#[test]
fn times_have_one_form() {
    for bad in ["2026-01-02 03:04:05Z", "2026-01-02T03:04:05+0", "2026-13-02T03:04:05Z", "20260102T030405Z", "x"] {
        assert_eq!(timestamp(bad).unwrap_err().code, "InvalidTimeStamp.Format", "{bad}");
    }
    assert!(timestamp("2026-01-02T03:04:05Z").is_ok());
}

#[test]
fn what_decides_the_meaning_must_be_signed() {
    let headers = [("Host", "h"), ("X-Acs-Security-Token", "t"), ("Content-Type", "c")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request::new("POST", "/", headers, b"x".to_vec()).unwrap();
    let all = "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;\
               x-acs-signature-nonce;x-acs-version";
    let covers = |names: &str| {
        Authorization { access_key_id: "id", signed_headers: names.split(';').collect(), signature: "" }
            .covers(&request)
    };
    assert!(covers(all).is_ok());
    for name in all.split(';') {
        let rest: Vec<&str> = all.split(';').filter(|n| *n != name).collect();
        assert_eq!(covers(&rest.join(";")).unwrap_err().code, "IncompleteSignature", "{name}");
    }
    assert!(covers(&format!("{all};x-acs-version")).is_err());
    assert!(covers(&format!("x;{all}")).is_err());
}

#[test]
fn temporary_keys_need_their_token() {
    let vector = named("legacy-sts-describe");
    let verify = |key: AccessKey| Verifier::new([key]).verify(&vector.request, vector.date);
    assert!(verify(vector.key.clone()).is_ok());
    let bare = AccessKey::new(vector.key.id.clone(), vector.key.secret.expose_secret());
    assert_eq!(code(verify(bare.clone())), "InvalidSecurityToken.MismatchWithAccessKey");
    let other = bare.clone().with_token("other", None);
    assert_eq!(code(verify(other)), "InvalidSecurityToken.MismatchWithAccessKey");
    let expired = AccessKey { expires: Some(vector.date), ..vector.key.clone() };
    assert_eq!(code(verify(expired)), "InvalidSecurityToken.Expired");

    let plain = named("rpcv1-create-full");
    let key = plain.key.clone().with_token("token", None);
    let outcome = Verifier::new([key]).verify(&plain.request, plain.date);
    assert_eq!(code(outcome), "MissingSecurityToken");
}

#[test]
fn the_format_is_asked_for_differently_by_v1_and_v3() {
    let format = |target: &str, accept: Option<&str>, v3: bool| {
        let mut headers = Vec::new();
        headers.extend(accept.map(|value| ("accept".to_owned(), value.to_owned())));
        if v3 {
            headers.push(("authorization".to_owned(), format!("{V3_ALGORITHM} x")));
        }
        let request = Request::new("GET", target, headers, Vec::new()).unwrap();
        Claims::of(&request).format(&request)
    };
    assert_eq!(format("/?AccessKeyId=a", None, false), Format::Xml);
    assert_eq!(format("/?AccessKeyId=a&Format=json", None, false), Format::Json);
    assert_eq!(format("/?AccessKeyId=a&Format=JSON", None, false), Format::Json);
    assert_eq!(format("/?AccessKeyId=a&Format=XML", Some("application/json"), false), Format::Xml);
    assert_eq!(format("/", None, true), Format::Json);
    assert_eq!(format("/", Some("*/*"), true), Format::Json);
    assert_eq!(format("/", Some("application/xml"), true), Format::Xml);
    assert_eq!(format("/", Some("text/xml;q=0.9, */*"), true), Format::Xml);
}
