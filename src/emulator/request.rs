//! A decoded request: method, path, parameters, headers and body.

use percent_encoding::percent_decode;

use super::error::ApiError;

/// Decoded parameters in the order of the request. If a name occurs more than once, the first value is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a query or a form body. The pairs are separated by `&` and contain percent-encoded UTF-8. A `+` stands
    /// for a space, and `name` is the same as `name=`.
    ///
    /// # Errors
    ///
    /// Returns `InvalidParameter.Format` if a name or a value is not UTF-8.
    pub fn decode(encoded: &[u8]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(equals) => (&pair[..equals], &pair[equals + 1..]),
                None => (pair, &b""[..]),
            };
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// Returns the value of a parameter. Returns `None` if the parameter is absent, and `Some("")` if its value is
    /// empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Returns every name and value, including repeated names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Returns the parameters of `self` followed by the parameters of `other`.
    pub fn merged(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }
}

fn decode(encoded: &[u8]) -> Result<String, ApiError> {
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect())
        .map_err(|_| ApiError::new(400, "InvalidParameter.Format", "A parameter is not UTF-8."))
}

/// A decoded request. Its signature is not verified.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method as sent; the API supports `GET` and `POST`.
    pub method: String,
    /// The path without the query; `/` for every operation.
    pub path: String,
    /// The parameters of the query.
    pub query: Params,
    /// The parameters of a form body; empty for any other body.
    pub form: Params,
    /// The headers, with lower-case names and trimmed values.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Vec<u8>,
}

impl Request {
    /// Decodes a request. `target` is the request target: `/?query`, or the absolute form that a proxy receives.
    ///
    /// # Errors
    ///
    /// Returns `InvalidParameter.Format` if a parameter is not UTF-8.
    pub fn new(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (String, String)>,
        body: Vec<u8>,
    ) -> Result<Self, ApiError> {
        let (path, query) = split_target(target);
        let headers: Vec<(String, String)> =
            headers.into_iter().map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Params::decode(query.as_bytes())?,
            form: Params::default(),
            headers,
            body,
        };
        let media_type = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        if media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            request.form = Params::decode(&request.body)?;
        }
        Ok(request)
    }

    /// Returns the first value of a header. `name` must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Returns the query parameters followed by the form parameters.
    pub fn params(&self) -> Params {
        self.query.merged(&self.form)
    }
}

/// Splits a request target into its path and query. If the target is in absolute form, its scheme and authority are
/// removed.
fn split_target(target: &str) -> (&str, &str) {
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let origin = match scheme {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            rest.find(['/', '?']).map_or("/", |start| &rest[start..])
        }
        None => target,
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_decode_as_sdks_and_browsers_encode_them() {
        let params = Params::decode(b"a=1+2%203&b=&c&%E7%BE%A4=%2B&&a=second").unwrap();
        assert_eq!(params.get("a"), Some("1 2 3"));
        assert_eq!(params.get("b"), Some(""));
        assert_eq!(params.get("c"), Some(""));
        assert_eq!(params.get("群"), Some("+"));
        assert_eq!(params.get("d"), None);
        assert_eq!(Params::decode(b"a=%FF").unwrap_err().code, "InvalidParameter.Format");
    }

    #[test]
    fn absolute_targets_are_accepted() {
        assert_eq!(split_target("/?a=b?c"), ("/", "a=b?c"));
        assert_eq!(split_target("HTTP://live.aliyuncs.com?a=b"), ("/", "a=b"));
        assert_eq!(split_target("http://live.aliyuncs.com"), ("/", ""));
        assert_eq!(split_target("/x/y"), ("/x/y", ""));
    }

    #[test]
    fn only_form_bodies_have_parameters() {
        let of = |kind: &str| {
            let headers = [("Content-Type".to_owned(), kind.to_owned())];
            Request::new("POST", "/?a=1", headers, b"b=2".to_vec()).unwrap().params()
        };
        assert_eq!(of("application/x-www-form-urlencoded; charset=utf-8").get("b"), Some("2"));
        assert_eq!(of("application/json").get("b"), None);
    }
}
