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
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use weft_certs::{Ca, CaError, TrustDomain, file};

use sha2::{Digest, Sha256};

use crate::{
    admin_api::AdminCredentials,
    store::{Store, StoreError, equal_in_constant_time, sha256},
};

const TOKEN_META: &str = "admin_token_sha256";
const TRUST_DOMAIN_META: &str = "trust_domain";
const ROOT_META: &str = "root_sha256";
/// Whoever can write into the folder can put another CA or token there.
const WRITABLE_BY_ALL: u32 = 0o002;

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
    #[error("--data-dir {0}: everybody can write into this folder; run chmod 700 on it")]
    Exposed(PathBuf),
    #[error(
        "--data-dir {dir}: the CA of this mesh is not in {}: {reason}. Restore that folder from a backup; for a new \
         mesh, which no workload of this one trusts, start with another data folder", dir.join("ca").display()
    )]
    LostCa { dir: PathBuf, reason: String },
    #[error(transparent)]
    Ca(#[from] CaError),
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
        if fs::metadata(path).map_err(folder)?.permissions().mode() & WRITABLE_BY_ALL != 0 {
            return Err(DataDirError::Exposed(path.to_owned()));
        }
        let lock = open_lock(&path.join("lock")).map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(folder(error)),
        }
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

    /// The CA, made on the first start. From then on the store knows its root, and no other takes its place: a lost
    /// folder must not become a new root that no workload trusts.
    pub fn open_ca(&self, store: &Store, trust_domain: &TrustDomain, now: SystemTime) -> Result<Ca, DataDirError> {
        let lost = |reason: String| DataDirError::LostCa { dir: self.path.clone(), reason };
        let (dir, trust_domain) = (self.path.join("ca"), trust_domain.clone());
        let Some(known) = store.meta(ROOT_META)? else {
            let ca = Ca::open_or_create(&dir, trust_domain, now)?;
            store.set_meta(ROOT_META, &root_sha256(&ca))?;
            return Ok(ca);
        };
        match Ca::open(&dir, trust_domain, now) {
            Ok(ca) if root_sha256(&ca) == known => Ok(ca),
            Ok(_) => Err(lost("root.pem is of another CA".to_owned())),
            Err(CaError::Incomplete { missing, .. }) => Err(lost(format!("it lacks {}", missing.join(", ")))),
            Err(error) => Err(error.into()),
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

/// Private, or anybody could take the lock and keep a control plane from starting.
fn open_lock(path: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    // An older one may be open to others.
    lock.set_permissions(Permissions::from_mode(0o600))?;
    Ok(lock)
}

fn root_sha256(ca: &Ca) -> Vec<u8> {
    let mut digest = Sha256::new();
    ca.trust_bundle().anchors().iter().for_each(|anchor| digest.update(anchor));
    digest.finalize().to_vec()
}

#[cfg(test)]
mod tests {
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
    fn the_lock_is_private_and_a_folder_that_all_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let error = DataDir::open(folder.path()).err().unwrap();
        assert!(matches!(error, DataDirError::Exposed(_)), "{error}");
    }

    #[test]
    fn a_lost_or_replaced_ca_never_becomes_a_new_root() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let store = Store::open(&dir.store()).unwrap();
        let open = || dir.open_ca(&store, &"weft.local".parse().unwrap(), SystemTime::now());
        let first = open().unwrap().trust_bundle();
        assert_eq!(open().unwrap().trust_bundle(), first);

        let (ca, away) = (folder.path().join("ca"), folder.path().join("away"));
        fs::rename(&ca, &away).unwrap();
        let error = open().err().unwrap();
        assert!(matches!(error, DataDirError::LostCa { .. }), "{error}");
        assert!(!ca.exists(), "nothing was made");
        fs::create_dir(&ca).unwrap();
        assert!(matches!(open(), Err(DataDirError::LostCa { .. })));

        Ca::open_or_create(&ca, "weft.local".parse().unwrap(), SystemTime::now()).unwrap();
        let error = open().err().unwrap();
        assert!(error.to_string().contains("of another CA"), "{error}");

        fs::remove_dir_all(&ca).unwrap();
        fs::rename(&away, &ca).unwrap();
        assert_eq!(open().unwrap().trust_bundle(), first);
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
