//! Files that hold secrets or state: whole or not there, readable by their owner only, safe against a crash.
//!
//! Decides how bytes reach the disk; what they mean is the caller's. Called by [`crate::ca`] for its keys, and by the
//! other crates for SVIDs, credentials and last good state.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that after a crash at any moment the file has either its old or its new content.
///
/// The mode is 0600 whatever the file had before. The content goes to a temporary file in the same folder, is synced,
/// renamed over `path`, and the folder is synced, so the file is durable when this returns. A crash can leave the
/// temporary file (`.<name>.<random>.tmp`, mode 0600) behind; nothing ever reads it.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = sibling(path, "tmp")?;
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a file that cannot be removed changes nothing about it.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_dir(parent(path))
}

/// Creates the folder with mode 0700, and its missing parents likewise. A folder that exists is left as it is.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether someone other than the owner has any access to the file.
pub fn is_exposed(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Makes the entries of a folder durable: what was created, renamed or removed in it.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name beside `path` that nobody else uses: `.<name>.<random>.<ending>`.
pub(crate) fn sibling(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path does not name a file"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.{ending}", hex::encode(random)));
    Ok(parent(path).join(hidden))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_0600_and_replaces_one_that_others_could_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_exposed(&path).unwrap());

        write_private(&path, b"new").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert!(!is_exposed(&path).unwrap());
    }

    #[test]
    fn nothing_is_left_behind_by_success_or_by_failure() {
        let dir = tempfile::tempdir().unwrap();
        write_private(&dir.path().join("state"), b"1").unwrap();
        // A rename over a folder fails after the temporary file was written.
        fs::create_dir(dir.path().join("folder")).unwrap();
        write_private(&dir.path().join("folder"), b"2").unwrap_err();

        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["folder", "state"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("state");
        assert_eq!(write_private(&path, b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!path.exists());
    }

    #[test]
    fn a_private_folder_is_0700_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        create_private_dir(&dir.path().join("a/b")).unwrap();
        assert_eq!(mode(&dir.path().join("a")), 0o700);
        assert_eq!(mode(&dir.path().join("a/b")), 0o700);
    }
}
