//! The data folder: everything that a control plane must find again.
//!
//! | in it | what |
//! |---|---|
//! | `ca/` | keys and certificates of the mesh's own CA |
//! | `weft.redb` | the store |
//! | `admin.yaml` | how the `weft` command reaches this control plane; rewritten at each start, its token stays |
//! | `lock` | held while a control plane runs on the folder |
//!
//! Only its owner can read it. Called by `app`.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use weft_certs::file;

use crate::{
    admin_api::AdminCredentials,
    store::{Store, StoreError, equal_in_constant_time, sha256},
};

const TOKEN_META: &str = "admin_token_sha256";
const TRUST_DOMAIN_META: &str = "trust_domain";

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("--data-dir {dir}: {reason}")]
    Folder { dir: PathBuf, reason: io::Error },
    #[error("--data-dir {0}: another control plane is running on this folder")]
    InUse(PathBuf),
    #[error(
        "--data-dir {dir}: this folder belongs to the trust domain {found}; start with --trust-domain {found}, or with another folder"
    )]
    TrustDomain { dir: PathBuf, found: String },
    #[error("cannot write {file}: {reason}")]
    Write { file: PathBuf, reason: io::Error },
    #[error("cannot write {file}: {reason}")]
    Format { file: PathBuf, reason: String },
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A data folder that no other control plane uses while this exists.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if it is missing, and takes it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let folder = |reason| DataDirError::Folder { dir: path.to_owned(), reason };
        file::create_private_dir(path).map_err(folder)?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock")).map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(folder(error)),
        }
    }

    pub fn ca(&self) -> PathBuf {
        self.path.join("ca")
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("weft.redb")
    }

    pub fn admin_yaml(&self) -> PathBuf {
        self.path.join("admin.yaml")
    }

    /// The trust domain is part of every certificate and grant: another one needs another folder.
    pub fn check_trust_domain(&self, store: &Store, trust_domain: &str) -> Result<(), DataDirError> {
        match store.meta(TRUST_DOMAIN_META)? {
            None => Ok(store.set_meta(TRUST_DOMAIN_META, trust_domain.as_bytes())?),
            Some(found) if found == trust_domain.as_bytes() => Ok(()),
            Some(found) => Err(DataDirError::TrustDomain {
                dir: self.path.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
            }),
        }
    }

    /// The admin token of earlier runs, as long as `admin.yaml` still has the one that the store knows; else a new one.
    pub fn admin_token(&self, store: &Store) -> Result<String, DataDirError> {
        let known = store.meta(TOKEN_META)?.unwrap_or_default();
        let kept = std::fs::read_to_string(self.admin_yaml())
            .ok()
            .and_then(|text| serde_saphyr::from_str::<AdminCredentials>(&text).ok())
            .map(|credentials| credentials.token)
            .filter(|token| equal_in_constant_time(&sha256(token), &String::from_utf8_lossy(&known)));
        if let Some(token) = kept {
            return Ok(token);
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let token = hex::encode(secret);
        store.set_meta(TOKEN_META, sha256(&token).as_bytes())?;
        Ok(token)
    }

    pub fn write_credentials(&self, credentials: &AdminCredentials) -> Result<(), DataDirError> {
        let file = self.admin_yaml();
        let text = serde_saphyr::to_string(credentials)
            .map_err(|error| DataDirError::Format { file: file.clone(), reason: error.to_string() })?;
        file::write_private(&file, text.as_bytes()).map_err(|reason| DataDirError::Write { file, reason })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn credentials(token: String) -> AdminCredentials {
        AdminCredentials {
            address: "127.0.0.1:15014".into(),
            grpc_address: "127.0.0.1:15010".into(),
            trust_domain: "weft.local".into(),
            trust_anchor: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            token,
        }
    }

    #[test]
    fn the_token_is_kept_while_file_and_store_agree() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("data")).unwrap();
        let store = Store::open(&dir.store()).unwrap();
        let token = dir.admin_token(&store).unwrap();
        dir.write_credentials(&credentials(token.clone())).unwrap();
        assert_eq!(dir.admin_token(&store).unwrap(), token);

        let read: AdminCredentials =
            serde_saphyr::from_str(&std::fs::read_to_string(dir.admin_yaml()).unwrap()).unwrap();
        assert_eq!(read.trust_anchor, credentials(token.clone()).trust_anchor);
        assert_eq!(std::fs::metadata(dir.admin_yaml()).unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::remove_file(dir.admin_yaml()).unwrap();
        assert_ne!(dir.admin_token(&store).unwrap(), token, "a lost file must not leave a token that nobody can find");
    }

    #[test]
    fn a_folder_is_taken_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::InUse(_))));
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_keeps_its_trust_domain() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let store = Store::open(&dir.store()).unwrap();
        dir.check_trust_domain(&store, "weft.local").unwrap();
        dir.check_trust_domain(&store, "weft.local").unwrap();
        let error = dir.check_trust_domain(&store, "other.test").unwrap_err().to_string();
        assert!(error.contains("--trust-domain weft.local"), "{error}");
    }
}
