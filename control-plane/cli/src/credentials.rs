//! Where the commands find `admin.yaml`, which says how the control plane is reached.
//!
//! `--config`, then `WEFT_CONFIG` (clap reads both), then `.weft/admin.yaml` here, then in the home folder.

use std::path::{Path, PathBuf};

use weft_control_plane::admin_api::AdminCredentials;

use crate::client::ClientError;

const DEFAULT: &str = ".weft/admin.yaml";

/// Reads the file that was named, or else the first default that exists.
pub fn load(named: Option<&Path>) -> Result<AdminCredentials, ClientError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => find(&defaults())?,
    };
    let text =
        std::fs::read_to_string(&path).map_err(|source| ClientError::Unreadable { path: path.clone(), source })?;
    serde_saphyr::from_str(&text).map_err(|e| ClientError::Malformed { path, reason: e.to_string() })
}

fn defaults() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let in_home = home.map(|home| Path::new(&home).join(DEFAULT));
    std::iter::once(PathBuf::from(DEFAULT)).chain(in_home).collect()
}

fn find(candidates: &[PathBuf]) -> Result<PathBuf, ClientError> {
    let found = candidates.iter().find(|path| path.exists()).cloned();
    found.ok_or_else(|| ClientError::NotConfigured { looked: candidates.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "address: 127.0.0.1:1\ngrpcAddress: 127.0.0.1:2\ntrustDomain: weft.local\n\
                        trustAnchor: |\n  -----BEGIN CERTIFICATE-----\ntoken: secret\n";

    #[test]
    fn the_named_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.yaml");
        std::fs::write(&path, TEXT).unwrap();
        let credentials = load(Some(&path)).unwrap();
        assert_eq!(credentials.address, "127.0.0.1:1");
        assert_eq!(credentials.grpc_address, "127.0.0.1:2");
        assert_eq!(credentials.token, "secret");
    }

    #[test]
    fn a_file_that_is_missing_or_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.yaml");
        let missing = load(Some(&path)).err().unwrap();
        assert!(missing.to_string().contains("admin.yaml"), "{missing}");
        std::fs::write(&path, "adress: 127.0.0.1:1\n").unwrap();
        let wrong = load(Some(&path)).err().unwrap();
        assert!(wrong.to_string().contains("adress"), "{wrong}");
    }

    #[test]
    fn the_first_default_that_exists_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        let candidates = [first.clone(), second.clone()];
        let error = find(&candidates).unwrap_err().to_string();
        assert!(error.contains(first.to_str().unwrap()) && error.contains("--config"), "{error}");
        std::fs::write(&second, "").unwrap();
        assert_eq!(find(&candidates).unwrap(), second);
        std::fs::write(&first, "").unwrap();
        assert_eq!(find(&candidates).unwrap(), first);
    }
}
