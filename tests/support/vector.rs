//! Reads the golden vectors (see `tests/vectors/README.md`). A vector contains a request from an official SDK or from
//! the public documentation, and the steps in which its signature is computed. This module does not depend on the
//! crate, so that unit tests and integration tests can use it.

#![allow(dead_code, reason = "each target uses a part of it")]

use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

/// The decoded parameters or the headers of a request, as pairs of a name and a value.
pub type Pairs = Vec<(String, String)>;

/// The signature algorithm of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `ACS3-HMAC-SHA256` over a canonical request.
    V3,
    /// HMAC-SHA1 over the parameters.
    V1,
}

/// A captured request or a documented example, with its signature.
#[derive(Debug, Clone)]
pub struct Vector {
    pub file: String,
    pub name: String,
    pub algorithm: Algorithm,
    pub action: String,
    pub version: String,
    pub access_key_id: String,
    pub access_key_secret: String,
    pub security_token: Option<String>,
    pub date: String,
    pub nonce: String,
    /// The fields of the operation, as passed to the SDK.
    pub input: Map<String, Value>,
    pub method: String,
    pub host: String,
    pub path: String,
    /// The query as sent, percent-encoded.
    pub query_raw: String,
    pub query: Pairs,
    /// The headers as sent, in order, including the signature headers.
    pub headers: Pairs,
    pub body: String,
    /// The parameters of the body, if its content type is a form.
    pub form: Option<Pairs>,
    pub expected: Expected,
}

/// The expected signature of the request. In V3, it covers only the headers that are documented as mandatory.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The canonical request, or `None` if the algorithm is V1.
    pub canonical_request: Option<String>,
    pub string_to_sign: String,
    /// The signed headers, or `None` if the algorithm is V1.
    pub signed_headers: Option<String>,
    /// The `authorization` header, or `None` if the algorithm is V1.
    pub authorization: Option<String>,
    pub signature: String,
}

/// Returns the directory of this repository that contains the vectors.
pub fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Returns the directory that `$VECTORS_DIR` specifies, or [`own_folder`] if the variable is unset or empty.
pub fn folder() -> PathBuf {
    std::env::var_os("VECTORS_DIR").filter(|folder| !folder.is_empty()).map_or_else(own_folder, PathBuf::from)
}

/// Reads all `0*.json` files of a directory in the order of their names. Returns an error if there are no such files.
pub fn read_all(folder: &Path) -> Result<Vec<Vector>, String> {
    let of_folder = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(of_folder)? {
        let path = entry.map_err(of_folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('0') && name.ends_with(".json") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: the directory contains no vector (0*.json)", folder.display()));
    }
    paths.iter().map(|path| read(path)).collect()
}

pub fn read(path: &Path) -> Result<Vector, String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read(path).map_err(|error| format!("{file}: {error}"))?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| format!("{file}: not JSON: {error}"))?;
    Vector::of(&file, &json).map_err(|error| format!("{file}: {error}"))
}

impl Vector {
    fn of(file: &str, json: &Value) -> Result<Self, String> {
        let request = &json["request"];
        let algorithm = match text(json, "signature_algorithm")?.as_str() {
            "ACS3-HMAC-SHA256" => Algorithm::V3,
            "HMAC-SHA1 (RPC v1)" => Algorithm::V1,
            other => return Err(format!("unknown signature_algorithm {other:?}")),
        };
        let (query_raw, query) = query(request)?;
        let body = text(request, "body")?;
        let signing = ["signing_min_headers", "signing"].into_iter().map(|name| &json[name]).find(|v| v.is_object());
        let expected = Expected::of(signing.ok_or("neither signing_min_headers nor signing")?)?;
        let mut headers = headers(request)?;
        // The file of the V3 example from the documentation contains this header in `signing`, not in `request`.
        if let (Some(value), None) = (json["signing"]["authorization"].as_str(), header(&headers, "authorization")) {
            headers.push(("authorization".to_owned(), value.to_owned()));
        }
        let form = form(&headers, &body)?;
        let credentials = &json["credentials"];
        Ok(Self {
            file: file.to_owned(),
            name: text(json, "name")?,
            algorithm,
            action: text(json, "action")?,
            version: text(json, "version")?,
            access_key_id: text(credentials, "access_key_id")?,
            access_key_secret: text(credentials, "access_key_secret")?,
            security_token: optional(credentials, "security_token")?,
            date: text(json, "date")?,
            nonce: text(json, "nonce")?,
            input: json["input"].as_object().cloned().ok_or("input is not an object")?,
            method: text(request, "method")?,
            host: text(request, "host")?,
            path: text(request, "path")?,
            query_raw,
            query,
            headers,
            body,
            form,
            expected,
        })
    }

    /// Returns the request target as sent.
    pub fn target(&self) -> String {
        if self.query_raw.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query_raw) }
    }

    /// Returns the request as sent.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = format!("{} {} HTTP/1.1\r\n", self.method, self.target());
        for (name, value) in &self.headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{wire}\r\n{}", self.body).into_bytes()
    }

    /// Whether the request was captured. A request that was not captured is a documented example.
    pub fn captured(&self) -> bool {
        header(&self.headers, "accept-encoding").is_some()
    }
}

impl Expected {
    fn of(signing: &Value) -> Result<Self, String> {
        Ok(Self {
            canonical_request: optional(signing, "canonical_request")?,
            string_to_sign: text(signing, "string_to_sign")?,
            signed_headers: optional(signing, "signed_headers")?,
            authorization: optional(signing, "authorization")?,
            signature: text(signing, "signature")?,
        })
    }
}

fn text(object: &Value, name: &str) -> Result<String, String> {
    optional(object, name)?.ok_or_else(|| format!("{name} is missing"))
}

fn optional(object: &Value, name: &str) -> Result<Option<String>, String> {
    match &object[name] {
        Value::Null => Ok(None),
        Value::String(value) => Ok(Some(value.clone())),
        other => Err(format!("{name} is not a string: {other}")),
    }
}

/// Returns the encoded query and its decoded parameters. The files of the documented examples contain only the decoded
/// parameters, so this function encodes them.
fn query(request: &Value) -> Result<(String, Pairs), String> {
    let raw = optional(request, "query_raw")?;
    let decoded = match &request["query_decoded"] {
        Value::Null => None,
        Value::Object(object) => Some(parameters(object)?),
        other => return Err(format!("query_decoded is not an object: {other}")),
    };
    match (raw, decoded) {
        (Some(raw), None) => decode(&raw).map(|pairs| (raw, pairs)),
        (Some(raw), Some(pairs)) => Ok((raw, pairs)),
        (None, Some(pairs)) => Ok((encode(&pairs), pairs)),
        (None, None) => Err("neither query_raw nor query_decoded".to_owned()),
    }
}

fn parameters(object: &Map<String, Value>) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let value = value.as_str().ok_or_else(|| format!("parameter {name} is not a string: {value}"))?;
            pairs.push((name.clone(), value.to_owned()));
        }
    }
    Ok(pairs)
}

fn headers(request: &Value) -> Result<Pairs, String> {
    let list = request["headers"].as_array().ok_or("headers is not a list")?;
    list.iter()
        .map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
            (Some(name), Some(value)) => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("not a header: {pair}")),
        })
        .collect()
}

fn header<'h>(headers: &'h Pairs, name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn form(headers: &Pairs, body: &str) -> Result<Option<Pairs>, String> {
    match header(headers, "content-type") {
        Some("application/x-www-form-urlencoded") => decode(body).map(Some),
        _ if body.is_empty() => Ok(None),
        other => Err(format!("a body with content type {other:?} is not supported")),
    }
}

fn decode(encoded: &str) -> Result<Pairs, String> {
    let text = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(String::from).map_err(|error| format!("{text:?}: {error}"))
    };
    let pairs = encoded.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| Ok((text(n)?, text(v)?))).collect()
}

fn encode(pairs: &Pairs) -> String {
    let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    pairs.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect::<Vec<_>>().join("&")
}
