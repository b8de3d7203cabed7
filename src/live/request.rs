//! The generic request of an RPC operation, and its signature. Every typed operation is made of it.

use std::fmt;

use super::access_key::Credentials;
use super::encode::canonical_query;
use super::signature::{V3Request, V3Signature, sha256_hex, sign_v3};

/// The content type of a form body.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// HTTP method of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads that the API documents as GET.
    Get,
    /// Everything else.
    Post,
}

impl Method {
    /// `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Where the parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the query, the body empty: what the official SDKs do for the operations of message groups.
    Query,
    /// In a form body, the query empty. POST only.
    Form,
    /// The first so many in the query, the others in a form body: operations of other products have both. POST only.
    Both {
        /// How many travel in the query.
        in_query: usize,
    },
}

/// One call of an RPC operation, before it is signed.
///
/// Action and version travel as headers, not as parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcRequest {
    /// The operation, for example `CreateLiveMessageGroup`.
    pub action: String,
    /// The product's version, for example `2016-11-01`.
    pub version: String,
    /// GET or POST.
    pub method: Method,
    /// Names and values, not encoded, in any order.
    pub params: Vec<(String, String)>,
    /// Query, form body, or both.
    pub placement: Placement,
}

/// A request that is ready for the wire. Its `Debug` does not show the security token.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// GET or POST.
    pub method: Method,
    /// The host as signed, with the port where it is not the scheme's own.
    pub host: String,
    /// The query as signed: the request target is `/`, or `/?` and this.
    pub query: String,
    /// The signed headers, sorted, and `authorization`; `accept` and the like are added by the transport.
    pub headers: Vec<(String, String)>,
    /// The body: empty, or the form.
    pub body: String,
    /// Every step of the signature.
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
    /// All parameters as they stand in a query.
    pub fn encoded_params(&self) -> String {
        encode(&self.params)
    }

    /// Signs the request (ACS3-HMAC-SHA256) over the headers that the document asks for.
    ///
    /// `date` is `yyyy-MM-ddTHH:mm:ssZ` and must be within 15 minutes of the service's clock; `nonce` must be new for
    /// every request, a repeated one included.
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

/// Unique for every request: 128 random bits.
pub(super) fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn encode(params: &[(String, String)]) -> String {
    canonical_query(params.iter().map(|(name, value)| (name, value)))
}

/// As `application/x-www-form-urlencoded` has it, and as the official SDKs write it: a space is `+`. The body is hashed
/// as it stands, so this is part of the signature. (A `%20` here is always a space: a `%` in a value is `%25`.)
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
    fn a_space_is_encoded_as_the_place_asks() {
        let query = signed(Placement::Query);
        assert_eq!((query.query.as_str(), query.body.as_str()), ("a=1&b=x%20y%2520&c=%E7%BE%A4&d=", ""));
        assert!(!query.signature.signed_headers.contains("content-type"));
        let form = signed(Placement::Form);
        assert_eq!((form.query.as_str(), form.body.as_str()), ("", "a=1&b=x+y%2520&c=%E7%BE%A4&d="));
        assert!(form.signature.signed_headers.starts_with("content-type;host;"));
    }

    #[test]
    fn parameters_can_travel_in_both_places() {
        let both = signed(Placement::Both { in_query: 2 });
        assert_eq!((both.query.as_str(), both.body.as_str()), ("a=1&b=x%20y%2520", "c=%E7%BE%A4&d="));
        assert!(both.signature.canonical_request.contains("\na=1&b=x%20y%2520\ncontent-type:"));
        assert_eq!(signed(Placement::Both { in_query: 9 }).query, signed(Placement::Query).query);
    }
}
