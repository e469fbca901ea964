//! What pods need of the machine: root, namespaces, and programs. A test that begins with a question here is skipped
//! where the answer is no, except where nothing may be skipped.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{User, namespace};
use crate::require::{require_root, skip};

/// Whether pods can be made here, and all `programs` are there to run in them. If not, says so; the test is then to
/// return at once.
pub fn require_pods(programs: &[&str]) -> bool {
    if !require_root() {
        return false;
    }
    let needed = ["ip", "setpriv", "curl", "nc", "bash"].iter().chain(programs);
    for name in needed {
        if program(name).is_none() {
            return skip(&format!("{name} is not installed"));
        }
    }
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
    match WORKS.get_or_init(prepare) {
        Ok(()) => true,
        Err(reason) => skip(reason),
    }
}

/// Where an installed program is, wherever Debian puts it. Elsewhere than in the PATH of most users.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut postgres: Vec<_> = postgres.map(|version| version.path().join("bin")).collect();
    postgres.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's psql in the PATH is a script that looks for servers of this machine.
    let dirs = postgres.into_iter().rev().chain(std::env::split_paths(&path));
    let dirs = dirs.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Once in each run of the tests.
fn prepare() -> Result<(), String> {
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Err("the kernel has no IPv6".into());
    }
    let temporary = std::env::temp_dir();
    let id = User::APP.id().to_string();
    let enter = ["--reuid", &id, "--regid", &id, "--clear-groups", "test", "-x"];
    if !Command::new("setpriv").args(enter).arg(&temporary).status().is_ok_and(|status| status.success()) {
        return Err(format!("the users of pods may not enter {}: set TMPDIR to an open folder", temporary.display()));
    }
    namespace::remove_leftovers();
    let try_one = "ip netns add \"$0\" && ip netns del \"$0\"";
    let name = namespace::new_name("trial");
    let output = Command::new("sh").args(["-c", try_one, &name]).output().map_err(|error| error.to_string())?;
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("no network namespace can be made: {}", refused.trim())) }
}
