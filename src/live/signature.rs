//! Implements signature V3 (`ACS3-HMAC-SHA256`) of Alibaba Cloud's RPC gateway, as described in the public document
//! "Request syntax and signature method V3".

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The name of signature V3: the first word of its `Authorization` header and the first line of its string to sign.
pub const V3_ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Returns the SHA-256 of `bytes`, in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The parts of a request that V3 signs.
#[derive(Debug, Clone, Copy)]
pub struct V3Request<'a> {
    /// The HTTP method: `POST` or `GET`.
    pub method: &'a str,
    /// The path, which is `/` for every RPC operation.
    pub path: &'a str,
    /// The canonical query, as [`canonical_query`](super::encode::canonical_query) returns it.
    pub query: &'a str,
    /// The headers to sign, sorted by name. The names are in lower case.
    pub headers: &'a [(String, String)],
    /// The SHA-256 of the body in lower-case hex, which is also the value of `x-acs-content-sha256`.
    pub body_sha256: &'a str,
}

/// A signature and the intermediate values of its computation. Tests compare each of these values with test vectors.
/// The `Debug` output omits the canonical request, because the canonical request can contain the security token.
#[derive(Clone, PartialEq, Eq)]
pub struct V3Signature {
    /// The method, the path, the query, the headers, the names of the signed headers and the hash of the body,
    /// separated by newlines.
    pub canonical_request: String,
    /// The algorithm and the hash of the canonical request.
    pub string_to_sign: String,
    /// The names of the signed headers, joined by `;`.
    pub signed_headers: String,
    /// The signature in lower-case hex.
    pub signature: String,
}

impl fmt::Debug for V3Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V3Signature")
            .field("string_to_sign", &self.string_to_sign)
            .field("signed_headers", &self.signed_headers)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

impl V3Signature {
    /// Returns the value of the `Authorization` header.
    pub fn authorization(&self, access_key_id: &str) -> String {
        format!(
            "{V3_ALGORITHM} Credential={access_key_id},SignedHeaders={},Signature={}",
            self.signed_headers, self.signature
        )
    }
}

/// Signs a request with V3, which uses neither a derived key nor a scope.
pub fn sign_v3(request: V3Request<'_>, secret: &str) -> V3Signature {
    let mut headers = String::new();
    let mut names = Vec::with_capacity(request.headers.len());
    for (name, value) in request.headers {
        headers.push_str(name);
        headers.push(':');
        headers.push_str(value.trim());
        headers.push('\n');
        names.push(name.as_str());
    }
    let signed_headers = names.join(";");
    let canonical_request = format!(
        "{}\n{}\n{}\n{headers}\n{signed_headers}\n{}",
        request.method, request.path, request.query, request.body_sha256
    );
    let string_to_sign = format!("{V3_ALGORITHM}\n{}", sha256_hex(canonical_request.as_bytes()));
    let signature = hex::encode(hmac_sha256(secret.as_bytes(), string_to_sign.as_bytes()));
    V3Signature { canonical_request, string_to_sign, signed_headers, signature }
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC accepts a key of any length, so `new_from_slice` cannot fail.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_the_public_document() {
        let headers: Vec<(String, String)> = [
            ("host", "ecs.cn-shanghai.aliyuncs.com"),
            ("x-acs-action", "RunInstances"),
            ("x-acs-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("x-acs-date", "2023-10-26T10:22:32Z"),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
            ("x-acs-version", "2014-05-26"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
        let signed = sign_v3(
            V3Request {
                method: "POST",
                path: "/",
                query: "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
                headers: &headers,
                body_sha256: &sha256_hex(b""),
            },
            "YourAccessKeySecret",
        );
        assert_eq!(signed.signature, "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0");
    }
}
