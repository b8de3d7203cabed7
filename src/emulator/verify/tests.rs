use super::*;
use crate::emulator::vector;

/// A captured request and the key that signed it.
struct Vector {
    request: Request,
    key: AccessKey,
    date: Timestamp,
}

impl Vector {
    fn verify(&self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        Verifier::new([self.key.clone()]).verify(request, now)
    }
}

fn load_vector(name: &str) -> Vector {
    let all = vector::read_all(&vector::own_folder()).unwrap();
    let vector = all.into_iter().find(|vector| vector.name == name).unwrap();
    let target = vector.target();
    let key = AccessKey::new(vector.access_key_id, vector.access_key_secret);
    Vector {
        request: Request::new(&vector.method, &target, vector.headers, vector.body.into_bytes()).unwrap(),
        key: if let Some(token) = vector.security_token { key.with_token(token, None) } else { key },
        date: vector.date.parse().unwrap(),
    }
}

fn code(outcome: Result<String, ApiError>) -> String {
    outcome.unwrap_err().code.into_owned()
}

#[test]
fn request_time_must_be_within_15_minutes() {
    for name in ["rpcv1-create-full", "create-full-plain"] {
        let vector = load_vector(name);
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
fn nonce_is_valid_for_one_request() {
    let vector = load_vector("create-full-plain");
    let mut verifier = Verifier::new([vector.key.clone()]);
    verifier.verify(&vector.request, vector.date).unwrap();
    for minutes in [0, 7, 15] {
        let now = vector.date + SignedDuration::from_mins(minutes);
        assert_eq!(code(verifier.verify(&vector.request, now)), "SignatureNonceUsed");
    }
}

#[test]
fn rejected_request_does_not_use_up_its_nonce() {
    let vector = load_vector("rpcv1-create-full");
    let mut verifier = Verifier::new([AccessKey::new(vector.key.id.clone(), "wrong")]);
    let error = verifier.verify(&vector.request, vector.date).unwrap_err();
    assert_eq!(error.code, "SignatureDoesNotMatch");
    assert!(error.message.contains("server string to sign is:POST&%2F&"));
    verifier.put_key(vector.key.clone());
    verifier.verify(&vector.request, vector.date).unwrap();
}

#[test]
fn expired_nonces_are_removed() {
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
    // A nonce is kept until the date of its first use expires, even if a later request repeats it with an older date.
    assert!(!nonces.insert("id", "5000", start, later));
    assert!(!nonces.insert("id", "5000", later, later + TIME_WINDOW));
}

#[test]
fn unknown_keys_and_missing_fields_have_their_codes() {
    let vector = load_vector("create-full-plain");
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

    let v1 = load_vector("rpcv1-create-full");
    for name in ["AccessKeyId", "Action", "Version", "Signature", "SignatureNonce", "Timestamp", "SignatureMethod"] {
        let query = v1.request.query.iter().filter(|(n, _)| *n != name).collect();
        let request = Request { query, ..v1.request.clone() };
        assert_eq!(code(v1.verify(&request, v1.date)), format!("Missing{name}"));
    }
}

#[test]
fn only_one_time_format_is_valid() {
    for bad in ["2026-01-02 03:04:05Z", "2026-01-02T03:04:05+0", "2026-13-02T03:04:05Z", "20260102T030405Z", "x"] {
        assert_eq!(parse_timestamp(bad).unwrap_err().code, "InvalidTimeStamp.Format", "{bad}");
    }
    assert!(parse_timestamp("2026-01-02T03:04:05Z").is_ok());
}

#[test]
fn headers_that_affect_the_meaning_must_be_signed() {
    let headers = [("Host", "h"), ("X-Acs-Security-Token", "t"), ("Content-Type", "c")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request::new("POST", "/", headers, b"x".to_vec()).unwrap();
    let all = "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;\
               x-acs-signature-nonce;x-acs-version";
    let check = |names: &str| {
        Authorization { access_key_id: "id", signed_headers: names.split(';').collect(), signature: "" }
            .check_signed_headers(&request)
    };
    assert!(check(all).is_ok());
    for name in all.split(';').filter(|name| *name != "host") {
        let rest: Vec<&str> = all.split(';').filter(|n| *n != name).collect();
        assert_eq!(check(&rest.join(";")).unwrap_err().code, "IncompleteSignature", "{name}");
    }
    assert!(check(&all.replace("host;", "")).is_ok(), "the classic Java SDK does not sign the host");
    assert!(check(&format!("{all};x-acs-version")).is_err());
    assert!(check(&format!("x;{all}")).is_err());
}

#[test]
fn temporary_keys_need_their_token() {
    let vector = load_vector("legacy-sts-describe");
    let verify = |key: AccessKey| Verifier::new([key]).verify(&vector.request, vector.date);
    assert!(verify(vector.key.clone()).is_ok());
    let bare = AccessKey::new(vector.key.id.clone(), vector.key.secret.expose_secret());
    assert_eq!(code(verify(bare.clone())), "InvalidSecurityToken.MismatchWithAccessKey");
    let other = bare.clone().with_token("other", None);
    assert_eq!(code(verify(other)), "InvalidSecurityToken.MismatchWithAccessKey");
    let expired = AccessKey { expires: Some(vector.date), ..vector.key.clone() };
    assert_eq!(code(verify(expired)), "InvalidSecurityToken.Expired");

    let plain = load_vector("rpcv1-create-full");
    let key = plain.key.clone().with_token("token", None);
    let outcome = Verifier::new([key]).verify(&plain.request, plain.date);
    assert_eq!(code(outcome), "MissingSecurityToken");
}

#[test]
fn v1_and_v3_select_the_format_differently() {
    let format = |target: &str, accept: Option<&str>, v3: bool| {
        let mut headers = Vec::new();
        headers.extend(accept.map(|value| ("accept".to_owned(), value.to_owned())));
        if v3 {
            headers.push(("authorization".to_owned(), format!("{V3_ALGORITHM} x")));
        }
        let request = Request::new("GET", target, headers, Vec::new()).unwrap();
        Claims::from_request(&request).format(&request)
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
