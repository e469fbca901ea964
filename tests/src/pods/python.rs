//! Python for the users of pods, who may neither run an interpreter in root's home nor read modules that were installed
//! below a closed folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use super::{Pod, User, require_pods};
use crate::require::skip;

/// An interpreter, and where the modules are that it is to find.
#[derive(Clone)]
struct Python {
    interpreter: String,
    modules: String,
    /// Whether the user may read them there.
    open: bool,
}

/// As [`require_pods`], and Python with this module can be run by a pod's users.
pub fn require_pods_with_python(module: &str) -> bool {
    if !require_pods(&["cp"]) {
        return false;
    }
    match find(module) {
        Some(_) => true,
        None => skip(&format!("no python3 that user {} may run has the module {module}", User::APP.id())),
    }
}

impl Pod {
    /// The words that run a fixture, which imports `module`. Panics unless the test has asked for the module.
    pub fn python(&self, module: &str, script: &str, args: &[&str]) -> Vec<String> {
        let Python { interpreter, modules, open } = find(module).expect("the test has asked for it");
        let modules = if open { modules } else { self.open_modules(&modules) };
        let env = ["env".to_owned(), "PYTHONDONTWRITEBYTECODE=1".to_owned(), format!("PYTHONPATH={modules}")];
        let words = [interpreter, self.fixture(script)];
        env.into_iter().chain(words).chain(args.iter().map(|arg| (*arg).to_owned())).collect()
    }

    fn open_modules(&self, modules: &str) -> String {
        let copy = self.network_folder().path().join("modules");
        if !copy.exists() {
            // With their times, by which Python knows that what it has compiled is not stale.
            let status = Command::new("cp").args(["-r", "--preserve=timestamps", modules]).arg(&copy).status().unwrap();
            assert!(status.success(), "{modules} cannot be copied");
        }
        copy.to_str().unwrap().to_owned()
    }
}

/// The first that has the module, in the order of the PATH. Of a virtual environment it is the interpreter beneath.
fn find(module: &str) -> Option<Python> {
    static FOUND: Mutex<BTreeMap<String, Option<Python>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap();
    if let Some(known) = found.get(module) {
        return known.clone();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).map(|dir| dir.join("python3"));
    let first = all.chain([PathBuf::from("/usr/bin/python3")]).find_map(|python| with_module(&python, module));
    found.insert(module.to_owned(), first.clone());
    first
}

fn with_module(python: &Path, module: &str) -> Option<Python> {
    let ask =
        format!("import sys, sysconfig, {module}; print(sys._base_executable); print(sysconfig.get_path('platlib'))");
    let output = Command::new(python).args(["-c", &ask]).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let (interpreter, modules) = said.trim().split_once('\n')?;
    let id = User::APP.id().to_string();
    let runs = |script: &str| {
        let user = ["--reuid", &id, "--regid", &id, "--clear-groups"];
        let python =
            Command::new("setpriv").args(user).args([interpreter, "-c", script]).env("PYTHONPATH", modules).output();
        python.is_ok_and(|output| output.status.success())
    };
    let open = runs(&format!("import {module}"));
    let python = Python { interpreter: interpreter.to_owned(), modules: modules.to_owned(), open };
    (open || runs("pass")).then_some(python)
}
