//! PEM text (RFC 7468) for certificates and private keys.
//!
//! Writes its own blocks, because the usual encoders leave copies of a private key in memory that nobody wipes.
//! Called by the modules that keep keys, chains and anchors in files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// RFC 7468, section 2: generators wrap at exactly 64 characters. 48 bytes are 64 characters of base64.
const BYTES_PER_LINE: usize = 48;

pub fn encode_certificates(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str(&encode("CERTIFICATE", certificate));
    }
    text
}

pub fn encode_private_key(pkcs8: &[u8]) -> Zeroizing<String> {
    encode("PRIVATE KEY", pkcs8)
}

fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Large enough from the start: a string that grows would leave its earlier copies behind.
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 3 / 2 + 128));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(BYTES_PER_LINE) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// All certificates in the text, in order; other blocks are skipped.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect()
}

/// The first PKCS #8 private key in the text.
pub fn private_key(text: &str) -> Result<Zeroizing<Vec<u8>>, pem::Error> {
    let key = Zeroizing::new(PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())?);
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}
