//! Compares the operator's signatures with golden vectors from the official SDKs and the public documentation.
//!
//! `VECTORS_DIR=<folder> cargo test --test vectors` uses the vectors in another folder.

#![allow(clippy::unwrap_used)]

#[path = "support/vector.rs"]
mod vector;

use std::collections::BTreeMap;
use std::io::Write as _;

use live_message_operator::emulator::request::{Params, Request};
use live_message_operator::emulator::signature_v1::sign_v1;
use live_message_operator::emulator::{AccessKey, ApiError, Verifier};
use live_message_operator::live::request::{Method, Placement, RpcRequest};
use live_message_operator::live::{Call, Credentials, GroupChange, GroupFields, GroupRef, operation};
use serde_json::{Map, Value};
use vector::{Algorithm, Pairs, Vector};

/// Checks every vector and returns the number of vectors. If any check fails, panics with a list of all failures.
fn check_all(mut check: impl FnMut(&Vector) -> Result<(), String>) -> usize {
    let vectors = vector::read_all(&vector::folder()).unwrap_or_else(|error| panic!("{error}"));
    let failures: Vec<String> = vectors
        .iter()
        .filter_map(|vector| check(vector).err().map(|error| format!("{}: {error}", vector.file)))
        .collect();
    assert!(failures.is_empty(), "{} of {} vectors failed:\n{}", failures.len(), vectors.len(), failures.join("\n"));
    vectors.len()
}

fn compare(field: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{field} differs\n  ours:   {ours:?}\n  theirs: {theirs:?}")) }
}

#[test]
fn signatures_match_the_golden_vectors() {
    let compared = check_all(|vector| match vector.algorithm {
        Algorithm::V3 => check_v3_signature(vector),
        Algorithm::V1 => check_v1_signature(vector)
            .and_then(|()| check_accepted(vector))
            .and_then(|()| check_changes_rejected(vector)),
    });
    // The test harness shows the output of `println!` only if the test fails.
    writeln!(std::io::stdout(), "\ncompared {compared} vectors").unwrap();
}

/// Signs the request of a V3 vector in the same way as the typed operations, and compares the result with the vector.
fn check_v3_signature(vector: &Vector) -> Result<(), String> {
    let method = match vector.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        other => return Err(format!("an RPC operation is called with GET or POST, not {other}")),
    };
    compare("path", "/", &vector.path)?;
    let mut params = vector.query.clone();
    let placement = match &vector.form {
        None => Placement::Query,
        Some(_) if params.is_empty() => Placement::Form,
        Some(_) => Placement::Both { in_query: params.len() },
    };
    params.extend(vector.form.iter().flatten().cloned());
    let request =
        RpcRequest { action: vector.action.clone(), version: vector.version.clone(), method, params, placement };
    let credentials =
        Credentials::new(&vector.access_key_id, &vector.access_key_secret, vector.security_token.as_deref());
    let signed = request.sign(&vector.host, &credentials, &vector.date, &vector.nonce);

    let expected = &vector.expected;
    let canonical_request = expected.canonical_request.as_deref().ok_or("canonical_request is missing")?;
    compare("canonical_request", &signed.signature.canonical_request, canonical_request)?;
    compare("string_to_sign", &signed.signature.string_to_sign, &expected.string_to_sign)?;
    compare("signature", &signed.signature.signature, &expected.signature)?;
    if let Some(signed_headers) = &expected.signed_headers {
        compare("signed_headers", &signed.signature.signed_headers, signed_headers)?;
    }
    if let Some(authorization) = &expected.authorization {
        compare("authorization", &signed.signature.authorization(&vector.access_key_id), authorization)?;
    }
    Ok(())
}

fn check_v1_signature(vector: &Vector) -> Result<(), String> {
    let params = vector.query.iter().chain(vector.form.iter().flatten()).filter(|(name, _)| name != "Signature");
    let pairs = params.map(|(name, value)| (name.as_str(), value.as_str()));
    let signed = sign_v1(&vector.method, pairs, &vector.access_key_secret);
    compare("string_to_sign", &signed.string_to_sign, &vector.expected.string_to_sign)?;
    compare("signature", &signed.signature, &vector.expected.signature)
}

#[test]
fn emulator_accepts_v3_requests_only_if_unchanged() {
    check_all(|vector| match vector.algorithm {
        Algorithm::V3 => check_accepted(vector).and_then(|()| check_changes_rejected(vector)),
        Algorithm::V1 => Ok(()), // see `signatures_match_the_golden_vectors`
    });
}

fn request(vector: &Vector) -> Result<Request, String> {
    Request::new(&vector.method, &vector.target(), vector.headers.clone(), vector.body.clone().into_bytes())
        .map_err(|error| error.message.to_string())
}

/// Verifies a request with the verifier of the emulator, as if it arrived at the date of the vector.
fn verify(vector: &Vector, request: &Request) -> Result<String, ApiError> {
    let mut key = AccessKey::new(vector.access_key_id.clone(), vector.access_key_secret.clone());
    if let Some(token) = &vector.security_token {
        key = key.with_token(token.clone(), None);
    }
    Verifier::new([key]).verify(request, vector.date.parse().unwrap())
}

fn check_accepted(vector: &Vector) -> Result<(), String> {
    vector.date.parse::<jiff::Timestamp>().map_err(|error| format!("date: {error}"))?;
    let caller = verify(vector, &request(vector)?).map_err(|error| format!("rejected: {}", error.message))?;
    compare("caller", &caller, &vector.access_key_id)
}

/// Changes single characters in the signed parts of the request, and checks that each changed request is rejected.
fn check_changes_rejected(vector: &Vector) -> Result<(), String> {
    let original = request(vector)?;
    let mut altered: Vec<(String, Request)> = vec![
        ("method".to_owned(), Request { method: "PUT".to_owned(), ..original.clone() }),
        ("path".to_owned(), Request { path: "/a".to_owned(), ..original.clone() }),
    ];
    for query in single_char_changes(&original.query) {
        altered.push((format!("query {query:?}"), Request { query, ..original.clone() }));
    }
    match vector.algorithm {
        Algorithm::V1 => {
            altered.remove(1); // the path is not part of V1
            for form in single_char_changes(&original.form) {
                altered.push((format!("form {form:?}"), Request { form, ..original.clone() }));
            }
        }
        Algorithm::V3 => {
            let authorization = original.header("authorization").ok_or("no authorization header")?;
            let signed = authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next());
            let signed: Vec<&str> = signed.ok_or("no SignedHeaders")?.split(';').chain(["authorization"]).collect();
            for (index, (name, value)) in original.headers.iter().enumerate() {
                for at in positions(value).filter(|_| signed.contains(&name.as_str())) {
                    let mut request = original.clone();
                    request.headers[index].1 = replace_char(value, at).unwrap();
                    altered.push((format!("header {name}"), request));
                }
            }
            for at in positions(&vector.body) {
                let body = replace_char(&vector.body, at).unwrap().into_bytes();
                altered.push(("body".to_owned(), Request { body, ..original.clone() }));
            }
        }
    }
    match altered.iter().find(|(_, request)| verify(vector, request).is_ok()) {
        Some((field, _)) => Err(format!("accepted with a changed {field}")),
        None => Ok(()),
    }
}

/// Replaces the character at index `at`. Returns `None` if the text has no character at this index.
fn replace_char(text: &str, at: usize) -> Option<String> {
    let (start, c) = text.char_indices().nth(at)?;
    let other = match c {
        'a' => 'b',
        c if c.is_ascii() => 'a',
        c => char::from_u32(u32::from(c) ^ 1)?,
    };
    Some(format!("{}{other}{}", &text[..start], &text[start + c.len_utf8()..]))
}

/// Returns the indexes of the characters to change. In a long text, these are at most 100 evenly spaced characters.
fn positions(text: &str) -> impl Iterator<Item = usize> {
    let count = text.chars().count();
    (0..count).step_by(1 + count / 100)
}

fn single_char_changes(params: &Params) -> Vec<Params> {
    let pairs: Pairs = params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut all = Vec::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let names = positions(name).filter_map(|at| Some((replace_char(name, at)?, value.clone())));
        let values = positions(value).filter_map(|at| Some((name.clone(), replace_char(value, at)?)));
        for pair in names.chain(values) {
            let mut altered = pairs.clone();
            altered[index] = pair;
            all.push(altered.into_iter().collect());
        }
    }
    all
}

#[test]
fn typed_operations_send_the_sdk_parameters() {
    let mut operations = BTreeMap::new();
    check_all(|vector| {
        if vector.algorithm != Algorithm::V3 || vector.version != operation::VERSION {
            return Ok(()); // the parameters of V1 include the signature parameters
        }
        let Some(call) = call_from_input(&vector.action, &vector.input)? else { return Ok(()) };
        *operations.entry(vector.action.clone()).or_insert(0) += 1;
        compare("action", call.operation().as_str(), &vector.action)?;
        let theirs: BTreeMap<String, String> =
            vector.query.iter().chain(vector.form.iter().flatten()).cloned().collect();
        let mut ours: BTreeMap<String, String> = call.request().params.into_iter().collect();
        for flag in ["ModifyAdmin", "ModifyInfo"] {
            match theirs.get(flag) {
                // The SDK omits a false flag. The operator always sends it.
                None if ours.get(flag).is_some_and(|value| value == "false") => drop(ours.remove(flag)),
                // The Python SDK sends `True`, but the operator sends `true`.
                Some(spelling) if ours.get(flag) == Some(&spelling.to_ascii_lowercase()) => {
                    ours.insert(flag.to_owned(), spelling.clone());
                }
                _ => {}
            }
        }
        compare("parameters", &format!("{ours:?}"), &format!("{theirs:?}"))
    });
    if vector::folder() == vector::own_folder() {
        assert_eq!(operations.len(), 5, "{operations:?}");
    }
}

/// Converts the input of an SDK to a typed call. Returns `None` for operations that this function does not support, and
/// for input that the operator never sends: a Modify flag without its value, a value without its flag, or the
/// `OperatorId` of a Delete call.
fn call_from_input(action: &str, input: &Map<String, Value>) -> Result<Option<Call>, String> {
    let text = |name: &str| match input.get(name) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(other) => Err(format!("input {name} is not a string: {other}")),
    };
    let list = |name: &str| match input.get(name) {
        None => Ok(None),
        Some(value) => {
            serde_json::from_value(value.clone()).map(Some).map_err(|error| format!("input {name}: {error}"))
        }
    };
    let group = || {
        Ok::<_, String>(GroupRef {
            app_id: text("AppId")?.ok_or("input has no AppId")?,
            group_id: text("GroupId")?.ok_or("input has no GroupId")?,
            data_center: text("DataCenter")?,
        })
    };
    Ok(Some(match action {
        "CreateLiveMessageGroup" => Call::Create(
            group()?,
            GroupFields {
                group_name: text("GroupName")?,
                group_info: text("GroupInfo")?,
                creator_id: text("CreatorId")?,
                administrators: list("Administrators")?,
            },
        ),
        "DescribeLiveMessageGroup" => Call::Describe(group()?),
        "ModifyLiveMessageGroup" => {
            let change = GroupChange { group_info: text("GroupInfo")?, administrators: list("AdminList")? };
            let flag = |name: &str| input.get(name).and_then(Value::as_bool).unwrap_or_default();
            if flag("ModifyInfo") != change.group_info.is_some()
                || flag("ModifyAdmin") != change.administrators.is_some()
            {
                return Ok(None);
            }
            Call::Modify(group()?, change)
        }
        "DeleteLiveMessageGroup" if !input.contains_key("OperatorId") => Call::Delete(group()?),
        "RecoverLiveMessageDeletedGroup" => Call::Recover(group()?),
        _ => return Ok(None),
    }))
}
