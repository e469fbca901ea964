//! One network namespace with its own files in /etc: made, configured, and removed with all that runs in it.
//!
//! Its name says which process made it, so that a later run can remove what a killed one left behind.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Place;

const PREFIX: &str = "weft-tests";
/// Where `ip netns exec` looks for files to put over those in /etc.
const FILES: &str = "/etc/netns";
const NAMESPACES: &str = "/run/netns";

pub(super) struct Namespace {
    name: String,
}

/// `weft-tests.PID.START.NUMBER.LABEL`: a process is known by its number and the time at which it started.
pub(super) fn new_name(label: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let pid = std::process::id();
    let start = started(pid).unwrap();
    format!("{PREFIX}.{pid}.{start}.{}.{label}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Namespace {
    pub fn create(label: &str) -> Self {
        let name = new_name(label);
        succeed(Command::new("ip").args(["netns", "add", &name]), "");
        Self { name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn place(&self) -> Place {
        Place::Namespace(self.name.clone())
    }

    /// Lines of `ip`, such as `link set lo up`.
    pub fn ip(&self, lines: &str) {
        succeed(Command::new("ip").args(["-netns", &self.name, "-batch", "-"]), lines);
    }

    /// A script as root, for what belongs to the network and is no matter of `ip`.
    pub fn shell(&self, script: &str) {
        succeed(self.place().command("sh").args(["-ec", script]), "");
    }

    /// The file that processes in it see as /etc/NAME. Written anew, those that run see it too.
    pub fn etc(&self, name: &str, content: &str) {
        let dir = Path::new(FILES).join(&self.name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), content).unwrap();
    }

    fn kill_all(&self) {
        let Ok(output) = Command::new("ip").args(["netns", "pids", &self.name]).output() else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for pid in text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Namespace {
    /// Databases start processes in groups and sessions of their own, which only the namespace holds together.
    fn drop(&mut self) {
        self.kill_all();
        // Another run of the tests may have removed what was left behind.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(Path::new(FILES).join(&self.name));
    }
}

/// Removes the namespaces of runs that ended without removing them.
pub(super) fn remove_leftovers() {
    let names = |dir: &str| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    for name in names(NAMESPACES).into_iter().chain(names(FILES)) {
        if owner_is_gone(&name) {
            drop(Namespace { name });
        }
    }
}

fn owner_is_gone(name: &str) -> bool {
    let mut parts = name.split('.');
    let (prefix, pid, start) = (parts.next(), parts.next(), parts.next());
    let (Some(PREFIX), Some(Ok(pid)), Some(Ok(start))) = (prefix, pid.map(str::parse), start.map(str::parse)) else {
        return false;
    };
    started(pid) != Some(start)
}

/// When the process started, in ticks since the machine did; `None` if there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    // The command's name, in parentheses, may hold spaces. What follows it begins with the third field.
    stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()
}

fn succeed(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}\n{input}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::require_pods;

    #[test]
    fn only_what_a_dead_process_made_is_left_behind() {
        let own = new_name("x");
        assert!(!owner_is_gone(&own));
        let parts: Vec<_> = own.split('.').collect();
        assert!(owner_is_gone(&format!("{PREFIX}.{}.{}.1.x", parts[1], parts[2].parse::<u64>().unwrap() + 1)));
        assert!(owner_is_gone(&format!("{PREFIX}.{}.1.1.x", u32::MAX)), "there is no such process");
        for foreign in ["", "blue", "weft-tests", "weft-tests.blue.1.1.x", "weft-testsuite.1.1.1.x"] {
            assert!(!owner_is_gone(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_a_killed_run_left_behind_is_removed_with_its_processes() {
        if !require_pods(&[]) {
            return;
        }
        let left = Namespace { name: format!("{PREFIX}.{}.1.1.left", u32::MAX) };
        let kept = Namespace::create("kept");
        succeed(Command::new("ip").args(["netns", "add", left.name()]), "");
        left.etc("hosts", "");
        let mut lingers = left.place().command("sleep").arg("600").spawn().unwrap();
        // `ip` enters the namespace a moment after it has started.
        let inside = || Command::new("ip").args(["netns", "pids", left.name()]).output().unwrap().stdout;
        while inside().is_empty() {
            std::thread::yield_now();
        }
        remove_leftovers();
        assert!(!lingers.wait().unwrap().success());
        assert!(!Path::new(NAMESPACES).join(left.name()).exists() && !Path::new(FILES).join(left.name()).exists());
        assert!(Path::new(NAMESPACES).join(kept.name()).exists());
    }
}
