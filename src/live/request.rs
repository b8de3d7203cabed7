//! The generic request of an RPC operation, and its signature. Every typed operation is made of it.

use super::credentials::Credentials;
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
    /// In the query, the body empty: what the official SDKs do.
    Query,
    /// In a form body, the query empty. POST only.
    Form,
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
    /// Query or form body.
    pub placement: Placement,
}

/// A request that is ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl RpcRequest {
    /// The parameters as they stand on the wire, in the query or in the form body.
    pub fn encoded_params(&self) -> String {
        canonical_query(self.params.iter().map(|(name, value)| (name, value)))
    }

    /// Signs the request (ACS3-HMAC-SHA256) over the headers that the document asks for.
    ///
    /// `date` is `yyyy-MM-ddTHH:mm:ssZ` and must be within 15 minutes of the service's clock; `nonce` must be new for
    /// every request, a repeated one included.
    pub fn sign(&self, host: &str, credentials: &Credentials, date: &str, nonce: &str) -> SignedRequest {
        let encoded = self.encoded_params();
        let (query, body) = match self.placement {
            Placement::Query => (encoded, String::new()),
            Placement::Form => (String::new(), encoded),
        };
        let body_sha256 = sha256_hex(body.as_bytes());
        let mut headers = vec![
            ("host".to_owned(), host.to_owned()),
            ("x-acs-action".to_owned(), self.action.clone()),
            ("x-acs-content-sha256".to_owned(), body_sha256.clone()),
            ("x-acs-date".to_owned(), date.to_owned()),
            ("x-acs-signature-nonce".to_owned(), nonce.to_owned()),
            ("x-acs-version".to_owned(), self.version.clone()),
        ];
        if self.placement == Placement::Form {
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
