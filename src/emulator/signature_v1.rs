//! Signature V1 (HMAC-SHA1), which older SDKs use to sign requests to Alibaba Cloud's RPC gateway. The signature is
//! specified by the public document "RPC signature".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::live::encode::{canonical_query, percent_encode};

/// A V1 signature with the text that it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Signature {
    /// `METHOD&%2F&` and the encoded canonical query.
    pub string_to_sign: String,
    /// The HMAC in Base64, the value of the parameter `Signature`.
    pub signature: String,
}

/// Signs a request with V1. `params` are the decoded parameters of the query *and* the form body, without `Signature`.
pub fn sign_v1<'a>(method: &str, params: impl IntoIterator<Item = (&'a str, &'a str)>, secret: &str) -> V1Signature {
    let string_to_sign = format!("{method}&%2F&{}", percent_encode(&canonical_query(params)));
    let signature = STANDARD.encode(hmac_sha1(format!("{secret}&").as_bytes(), string_to_sign.as_bytes()));
    V1Signature { string_to_sign, signature }
}

fn hmac_sha1(key: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC accepts keys of any length, so `new_from_slice` cannot fail.
    let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_matches_the_public_document() {
        let params = [
            ("AccessKeyId", "testid"),
            ("Action", "DescribeRegions"),
            ("Format", "XML"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
            ("SignatureVersion", "1.0"),
            ("Timestamp", "2016-02-23T12:46:24Z"),
            ("Version", "2014-05-26"),
        ];
        assert_eq!(sign_v1("GET", params, "testsecret").signature, "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
    }
}
