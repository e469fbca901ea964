//! The CA's folder: how its four files come to be, and what is refused when they are read.
//!
//! The one rule: a folder that holds anything is never replaced. Losing a root by a silent new start would cut every
//! workload off from the mesh. Called by [`super::Ca`].

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::CaError;
use super::material::Material;
use crate::file::{create_private_dir, is_exposed, parent, sibling, sync_dir, write_private};
use crate::id::TrustDomain;
use crate::key::PrivateKey;
use crate::pem;

const ROOT: &str = "root.pem";
const ROOT_KEY: &str = "root.key";
const ISSUING: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key";
/// The ending of a folder that is still being filled.
const UNFINISHED: &str = "new";

pub fn open_or_create(dir: &Path, trust_domain: &TrustDomain, now: SystemTime) -> Result<Material, CaError> {
    if is_missing_or_empty(dir)? {
        create(dir, &Material::generate(trust_domain, now)?)?;
    }
    // A new folder is read back like any other: what this process uses is what the next one will find.
    open(dir, trust_domain, now)
}

pub fn open(dir: &Path, trust_domain: &TrustDomain, now: SystemTime) -> Result<Material, CaError> {
    let mut material = load(dir)?;
    let found = material.trust_domain()?;
    if found != *trust_domain {
        return Err(CaError::ForeignFolder {
            dir: dir.to_owned(),
            expected: trust_domain.clone(),
            found: found.to_string(),
        });
    }
    if material.renew_issuing(trust_domain, now)? {
        let path = dir.join(ISSUING);
        let text = pem::encode_certificates(std::slice::from_ref(&material.issuing));
        write_private(&path, text.as_bytes()).map_err(io("write", &path))?;
        tracing::info!(path = %path.display(), "the issuing CA's certificate was renewed from the root");
    }
    Ok(material)
}

fn is_missing_or_empty(dir: &Path) -> Result<bool, CaError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io("read", dir)(error)),
    }
}

/// Fills a folder beside `dir` and renames it: a crash leaves either no CA or a whole one. The unfinished folder of an
/// earlier crash never signed anything, so it is removed.
fn create(dir: &Path, material: &Material) -> Result<(), CaError> {
    let home = parent(dir);
    create_private_dir(home).map_err(io("create", home))?;
    let unfinished = sibling(dir, UNFINISHED).map_err(io("name a folder beside", dir))?;
    let filled = fill(&unfinished, material).and_then(|()| finish(&unfinished, dir));
    if filled.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&unfinished);
        // Unless another process was faster, and tidied ours away: its CA is the mesh's then, ours was never used.
        if is_missing_or_empty(dir)? {
            return filled;
        }
    }
    sync_dir(home).map_err(io("sync", home))?;
    remove_unfinished(dir);
    Ok(())
}

fn fill(dir: &Path, material: &Material) -> Result<(), CaError> {
    let certificate = |der: &CertificateDer<'static>| pem::encode_certificates(std::slice::from_ref(der)).into_bytes();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        write_private(&path, bytes).map_err(io("write", &path))
    };
    create_private_dir(dir).map_err(io("create", dir))?;
    write(ROOT_KEY, material.root_key.to_pem().as_bytes())?;
    write(ROOT, &certificate(&material.root))?;
    write(ISSUING_KEY, material.issuing_key.to_pem().as_bytes())?;
    write(ISSUING, &certificate(&material.issuing))
}

/// Fails if `dir` holds anything by now.
fn finish(unfinished: &Path, dir: &Path) -> Result<(), CaError> {
    fs::rename(unfinished, dir).map_err(io("create", dir))
}

/// Failures are left to the next start: such a folder is private, and nothing reads it.
fn remove_unfinished(dir: &Path) {
    let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    let (start, end) = (format!(".{name}."), format!(".{UNFINISHED}"));
    for entry in fs::read_dir(parent(dir)).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let stale = file_name.to_str().is_some_and(|name| name.starts_with(&start) && name.ends_with(&end));
        if stale {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn load(dir: &Path) -> Result<Material, CaError> {
    let missing: Vec<_> =
        [ROOT, ROOT_KEY, ISSUING, ISSUING_KEY].into_iter().filter(|name| !dir.join(name).exists()).collect();
    if !missing.is_empty() {
        return Err(CaError::Incomplete { dir: dir.to_owned(), missing });
    }
    let material = Material {
        root: load_certificate(&dir.join(ROOT))?,
        root_key: load_key(&dir.join(ROOT_KEY))?,
        issuing: load_certificate(&dir.join(ISSUING))?,
        issuing_key: load_key(&dir.join(ISSUING_KEY))?,
    };
    material.check()?;
    Ok(material)
}

fn load_certificate(path: &Path) -> Result<CertificateDer<'static>, CaError> {
    let text = fs::read_to_string(path).map_err(io("read", path))?;
    let certificates = pem::certificates(&text).map_err(|error| damaged(path, &error))?;
    match <[_; 1]>::try_from(certificates) {
        Ok([certificate]) => Ok(certificate),
        Err(many) => Err(damaged(path, &format!("{} certificates, expected one", many.len()))),
    }
}

fn load_key(path: &Path) -> Result<PrivateKey, CaError> {
    if is_exposed(path).map_err(io("read", path))? {
        return Err(CaError::Exposed { path: path.to_owned() });
    }
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(io("read", path))?);
    let pkcs8 = pem::private_key(&text).map_err(|error| damaged(path, &error))?;
    PrivateKey::from_pkcs8(&pkcs8).map_err(|error| damaged(path, &error))
}

fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> CaError {
    CaError::Damaged { what: path.display().to_string(), reason: format!("is not readable: {reason}") }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Io { action, path, source }
}
