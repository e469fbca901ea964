//! Temporary folders: keys and tokens may lie in them, so that nobody else may look.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use anyhow::Context;
use tempfile::TempDir;

/// A new folder with mode 0700, whatever the umask allows.
///
/// # Errors
/// There is no place for it.
pub fn folder(prefix: &str) -> anyhow::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir();
    made.context("cannot create a temporary folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_look_into_it() {
        let folder = folder("weft-test-").unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(folder.path().file_name().unwrap().to_str().unwrap().starts_with("weft-test-"));
    }
}
