//! The `weft` binary under test.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Tests this binary instead of one built from the sources.
const GIVEN: &str = "WEFT_TESTS_BINARY";

static WEFT: OnceLock<PathBuf> = OnceLock::new();

/// Builds `weft` on first use, in the profile and target folder of the tests themselves.
///
/// Cargo builds a binary only for the tests of its own package, so this asks for it. The build is for the whole
/// workspace, because that is what decides which features the dependencies have: `cargo test --workspace` has then
/// built nearly all of it already.
pub fn weft() -> &'static Path {
    WEFT.get_or_init(|| std::env::var_os(GIVEN).map_or_else(build, PathBuf::from))
}

/// From here on every process is this binary. Panics if one was started from another.
pub fn use_weft(binary: &Path) {
    assert_eq!(WEFT.get_or_init(|| binary.to_owned()), binary, "processes of another binary run already");
}

fn build() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile_dir = own.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--workspace", "--bin", "weft", "--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this process about its own package must not look like a change to the packages built here.
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().filter(|(name, _)| of_package(name)).for_each(|(name, _)| _ = command.env_remove(name));
    assert!(command.status().unwrap().success(), "weft does not build");
    profile_dir.join("weft")
}
