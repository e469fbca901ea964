//! Builders that the tests of several modules share, among them a CA that signs whatever it is asked to.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;

use crate::bundle::TrustBundle;
use crate::ca::Ca;
use crate::id::SpiffeId;

pub const HOUR: Duration = Duration::from_secs(60 * 60);

pub fn now() -> SystemTime {
    SystemTime::now()
}

pub fn ca(trust_domain: &str) -> Ca {
    Ca::create(trust_domain.parse().unwrap(), now()).unwrap()
}

pub fn id(trust_domain: &str, namespace: &str, account: &str) -> SpiffeId {
    SpiffeId::workload(&trust_domain.parse().unwrap(), namespace, account).unwrap()
}

/// A root of `example.org` without scruples: it signs certificates that break the standard.
pub struct RogueCa(CertifiedIssuer<'static, KeyPair>);

impl RogueCa {
    pub fn new() -> Self {
        let params = signer_params(&["spiffe://example.org"]);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn bundle(&self) -> TrustBundle {
        TrustBundle::new("example.org".parse().unwrap(), vec![self.0.der().clone()]).unwrap()
    }

    /// A good SVID of one hour, except for what `change` does to it.
    pub fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = leaf_params();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().into()
    }

    /// A good signing certificate, except for what `change` does to it, and a good SVID below it.
    pub fn leaf_below(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut params = signer_params(&["spiffe://example.org"]);
        change(&mut params);
        let signer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = leaf_params().signed_by(&key, &signer).unwrap();
        (leaf.into(), signer.der().clone())
    }
}

pub fn uris(uris: &[&str]) -> Vec<SanType> {
    uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect()
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now() - Duration::from_secs(60)).into();
    params.not_after = (now() + HOUR).into();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris(&["spiffe://example.org/ns/shop/sa/orders"]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn signer_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris(names);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
