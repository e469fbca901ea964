//! The programs of this repository that are measured, built as they are shipped.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{TARGET, site::Programs};

/// What is given is taken as it is. Everything else is built together, since that decides the features of what they
/// share.
pub fn programs(weft_proxy: Option<&Path>, control_plane: Option<&Path>, no_build: bool) -> anyhow::Result<Programs> {
    if !no_build {
        build()?;
    }
    let built = |name: &str| Path::new(TARGET).join("dist").join(name);
    let program = |given: Option<&Path>, name: &str| {
        let program = given.map_or_else(|| built(name), Path::to_path_buf);
        ensure!(program.is_file(), "there is no {}", program.display());
        program.canonicalize().with_context(|| program.display().to_string())
    };
    Ok(Programs {
        weft_proxy: program(weft_proxy, "weft-proxy")?,
        control_plane: program(control_plane, "weft-control-plane")?,
        bare: program(None, "weft-bench-bare")?,
        server: program(None, "weft-bench-server")?,
    })
}

fn build() -> anyhow::Result<()> {
    eprintln!("building with --profile dist, which takes minutes the first time");
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--profile", "dist", "--target-dir", TARGET]);
    command.args(["-p", "weft-proxy", "-p", "weft-control-plane", "-p", "weft-bench"]);
    for binary in ["weft-proxy", "weft-control-plane", "weft-bench-bare", "weft-bench-server"] {
        command.args(["--bin", binary]);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this process about its own package must not look like a change to the packages built here.
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().filter(|(name, _)| of_package(name)).for_each(|(name, _)| _ = command.env_remove(name));
    ensure!(command.status().context("cannot run cargo")?.success(), "the programs do not build");
    Ok(())
}
