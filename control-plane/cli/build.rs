//! Puts the commit that the binary is built from into `WEFT_VERSION`, for `weft --version`.
//!
//! `WEFT_COMMIT` names it where there is no repository (a source archive, a container build). Runs again only when
//! the commit changes: the reflog of HEAD is written by every commit and checkout, and by nothing else. The first
//! commit makes it; that one is seen by the branch that it makes as well.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WEFT_COMMIT");
    for name in ["logs/HEAD", "HEAD", "refs/heads"] {
        // A file that is missing would make cargo run this script on every build.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = env::var("WEFT_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(|| git(&["rev-parse", "--short=12", "--verify", "--quiet", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rustc-env=WEFT_VERSION={version} (commit {commit})");
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
