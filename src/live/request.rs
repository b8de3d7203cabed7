//! Generic RPC requests and their signatures. All typed operations are sent as such requests.

use std::fmt;

use super::access_key::Credentials;
use super::encode::canonical_query;
use super::signature::{V3Request, V3Signature, sha256_hex, sign_v3};

/// The content type of a form body.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The HTTP method of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For reads that the API documents as GET.
    Get,
    /// For all other operations.
    Post,
}

impl Method {
    /// Returns `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Where the parameters are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the query, with an empty body. The official SDKs send the parameters of message groups in this way.
    Query,
    /// In a form body, with an empty query. POST only.
    Form,
    /// The first `in_query` parameters are sent in the query and the others in a form body. Some operations of other
    /// products require this. POST only.
    Both {
        /// The number of parameters in the query.
        in_query: usize,
    },
}

/// An unsigned call to an RPC operation.
///
/// The action and the version are sent as headers, not as parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcRequest {
    /// The name of the operation, for example `CreateLiveMessageGroup`.
    pub action: String,
    /// The version of the API, for example `2016-11-01`.
    pub version: String,
    /// GET or POST.
    pub method: Method,
    /// Names and values, not encoded. Their order matters only for [`Placement::Both`].
    pub params: Vec<(String, String)>,
    /// Where the parameters are sent.
    pub placement: Placement,
}

/// A signed request. Its `Debug` output omits the headers, which contain the security token.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// GET or POST.
    pub method: Method,
    /// The signed host, with the port if it is not the default port of the scheme.
    pub host: String,
    /// The signed query. The request target is `/`, or `/?` followed by the query.
    pub query: String,
    /// The sorted signed headers, followed by `authorization`. The sender adds unsigned headers such as `accept`.
    pub headers: Vec<(String, String)>,
    /// The form body, which is empty if the parameters are sent in the query.
    pub body: String,
    /// The signature and the intermediate results of its computation.
    pub signature: V3Signature,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, host, query, headers: _, body, signature } = self;
        f.debug_struct("SignedRequest")
            .field("method", method)
            .field("host", host)
            .field("query", query)
            .field("body", body)
            .field("signature", signature)
            .finish_non_exhaustive()
    }
}

impl RpcRequest {
    /// Returns all parameters, encoded as a query.
    pub fn encoded_params(&self) -> String {
        encode(&self.params)
    }

    /// Signs the request with ACS3-HMAC-SHA256. The signature covers the documented headers.
    ///
    /// `date` has the form `yyyy-MM-ddTHH:mm:ssZ` and must be within 15 minutes of the service's clock. `nonce` must be
    /// new for every request, including retries.
    pub fn sign(&self, host: &str, credentials: &Credentials, date: &str, nonce: &str) -> SignedRequest {
        let in_query = match self.placement {
            Placement::Query => self.params.len(),
            Placement::Form => 0,
            Placement::Both { in_query } => in_query.min(self.params.len()),
        };
        let (in_query, in_form) = self.params.split_at(in_query);
        let (query, body) = (encode(in_query), encode_form(in_form));
        let body_sha256 = sha256_hex(body.as_bytes());
        let mut headers = vec![
            ("host".to_owned(), host.to_owned()),
            ("x-acs-action".to_owned(), self.action.clone()),
            ("x-acs-content-sha256".to_owned(), body_sha256.clone()),
            ("x-acs-date".to_owned(), date.to_owned()),
            ("x-acs-signature-nonce".to_owned(), nonce.to_owned()),
            ("x-acs-version".to_owned(), self.version.clone()),
        ];
        if self.placement != Placement::Query {
            headers.push(("content-type".to_owned(), FORM.to_owned()));
        }
        if let Some(token) = credentials.security_token() {
            headers.push(("x-acs-security-token".to_owned(), token.to_owned()));
        }
        headers.sort();
        let signature = sign_v3(
            V3Request {
                method: self.method.as_str(),
                path: "/",
                query: &query,
                headers: &headers,
                body_sha256: &body_sha256,
            },
            credentials.access_key_secret(),
        );
        headers.push(("authorization".to_owned(), signature.authorization(credentials.access_key_id())));
        SignedRequest { method: self.method, host: host.to_owned(), query, headers, body, signature }
    }
}

/// Returns a unique value for each request: 128 random bits.
pub(super) fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn encode(params: &[(String, String)]) -> String {
    canonical_query(params.iter().map(|(name, value)| (name, value)))
}

/// Encodes the parameters as a form body. A space is encoded as `+`, as in the official SDKs. The encoding of a space
/// affects the signature, because the signature covers a hash of the encoded body. In the encoded text, `%20` always
/// stands for a space, because a `%` in a value is encoded as `%25`.
fn encode_form(params: &[(String, String)]) -> String {
    encode(params).replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(placement: Placement) -> SignedRequest {
        let params = [("b", "x y%20"), ("a", "1"), ("d", ""), ("c", "群")];
        let request = RpcRequest {
            action: "A".to_owned(),
            version: "V".to_owned(),
            method: Method::Post,
            params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            placement,
        };
        request.sign("h", &Credentials::new("id", "secret", None), "2026-01-02T03:04:05Z", "n")
    }

    #[test]
    fn space_encoding_depends_on_the_placement() {
        let query = signed(Placement::Query);
        assert_eq!((query.query.as_str(), query.body.as_str()), ("a=1&b=x%20y%2520&c=%E7%BE%A4&d=", ""));
        assert!(!query.signature.signed_headers.contains("content-type"));
        let form = signed(Placement::Form);
        assert_eq!((form.query.as_str(), form.body.as_str()), ("", "a=1&b=x+y%2520&c=%E7%BE%A4&d="));
        assert!(form.signature.signed_headers.starts_with("content-type;host;"));
    }

    #[test]
    fn parameters_are_split_between_query_and_body() {
        let both = signed(Placement::Both { in_query: 2 });
        assert_eq!((both.query.as_str(), both.body.as_str()), ("a=1&b=x%20y%2520", "c=%E7%BE%A4&d="));
        assert!(both.signature.canonical_request.contains("\na=1&b=x%20y%2520\ncontent-type:"));
        assert_eq!(signed(Placement::Both { in_query: 9 }).query, signed(Placement::Query).query);
    }
}
