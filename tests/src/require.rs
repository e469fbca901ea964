//! What the suites need and do not bring: programs that they test against, and rights.

use std::process::{Command, Stdio};

/// Set where every program must be there, as in CI: a missing one then fails the test.
const FORBID_SKIP: &str = "WEFT_TESTS_FORBID_SKIP";

/// Whether all `programs` are installed. If not, says so; the test is then to return at once.
pub fn require(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    match programs.iter().find(|program| !installed(program)) {
        Some(missing) => skip(&format!("{missing} is not installed")),
        None => true,
    }
}

/// Whether `python3` has the module.
pub fn require_python(module: &str) -> bool {
    if !require(&["python3"]) {
        return false;
    }
    let import = Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    import.success() || skip(&format!("the Python module {module} is not installed"))
}

/// Whether the tests run as root, who may make network namespaces.
pub fn require_root() -> bool {
    rustix::process::geteuid().is_root() || skip("only root makes network namespaces")
}

/// `false`, unless nothing may be skipped.
pub(crate) fn skip(reason: &str) -> bool {
    assert!(std::env::var_os(FORBID_SKIP).is_none_or(|value| value != "1"), "{reason}");
    eprintln!("skipped: {reason}");
    false
}
