//! One authority and one identity, in files, for all peers that do not bring a control plane: ECDSA P-256, as weft's.

use std::{
    fs,
    path::Path,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};

/// What the certificate is for: clients check it.
pub const NAME: &str = "bench.weft.local";
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Paths of PEM files.
pub struct Certificates {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate and key in one file.
    pub both: PathBuf,
}

impl Certificates {
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        // Two names, since a certificate whose issuer is its subject counts as self-signed.
        authority.distinguished_name.push(DnType::CommonName, "weft-bench authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut leaf = CertificateParams::new(vec![NAME.to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "weft-bench");
        leaf.subject_alt_names.push(SanType::URI("spiffe://weft.local/ns/default/sa/bench".try_into()?));
        leaf.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
        leaf.not_after = (SystemTime::now() + LIFETIME).into();
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let (leaf, key) = (leaf.signed_by(&key, &authority)?.pem(), key.serialize_pem());

        let write = |name: &str, content: &str| {
            let file = folder.join(name);
            fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
            anyhow::Ok(file)
        };
        Ok(Self {
            ca: write("ca.pem", &authority.pem())?,
            certificate: write("cert.pem", &leaf)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &format!("{leaf}{key}"))?,
        })
    }

    /// A client with this identity, for connections straight to an inbound proxy.
    pub fn client(&self, alpn: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let certificate = CertificateDer::from_pem_file(&self.certificate)?;
        let mut config = ClientConfig::builder_with_provider(weft_certs::crypto::provider().clone())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_file(&self.key)?)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}
