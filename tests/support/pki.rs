//! Creates the certificates of a CA, the apiserver and its clients, and the key that signs ServiceAccount tokens.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::error::Result;
use super::scratch::Scratch;

/// The subject alternative names in the apiserver's certificate: those of loopback and of the `kubernetes` Service.
const SERVER_NAMES: [&str; 4] = ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"];

/// The certificates and keys that clients need, in PEM.
pub struct Pki {
    /// The certificate of the CA, which signed the other certificates.
    pub ca: String,
    /// The certificate and key of an administrator (group `system:masters`).
    pub admin: (String, String),
    /// The certificate and key of `system:kube-controller-manager`.
    pub controllers: (String, String),
}

/// Creates the certificates and writes the files of the apiserver: `ca.crt`, `apiserver.{crt,key}`, `sa.{pub,key}`.
pub fn make(dir: &Scratch) -> Result<Pki> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    ca.distinguished_name.push(DnType::CommonName, "live-message-operator test CA");
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::from_params(&ca, &ca_key);

    let mut server = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    let (server_certificate, server_key) = sign(server, ExtendedKeyUsagePurpose::ServerAuth, &issuer)?;

    let mut admin = CertificateParams::new(Vec::new())?;
    admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
    admin.distinguished_name.push(DnType::CommonName, "test-admin");
    let admin = sign(admin, ExtendedKeyUsagePurpose::ClientAuth, &issuer)?;

    let mut controllers = CertificateParams::new(Vec::new())?;
    controllers.distinguished_name.push(DnType::CommonName, "system:kube-controller-manager");
    let controllers = sign(controllers, ExtendedKeyUsagePurpose::ClientAuth, &issuer)?;

    let tokens = KeyPair::generate()?;
    dir.write("ca.crt", ca_certificate.pem())?;
    dir.write("apiserver.crt", server_certificate)?;
    dir.write("apiserver.key", server_key)?;
    dir.write("sa.pub", tokens.public_key_pem())?;
    dir.write("sa.key", tokens.serialize_pem())?;
    Ok(Pki { ca: ca_certificate.pem(), admin, controllers })
}

/// Signs a certificate, and returns it with its key.
fn sign(
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, &KeyPair>,
) -> Result<(String, String)> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}
