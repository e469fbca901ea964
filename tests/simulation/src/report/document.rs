//! The place in `docs/resilience.md` that belongs to this program, and the pictures beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Result, pictures::picture, table::section};

const BEGIN: &str = "<!-- written by weft-simulation: begin -->\n";
const END: &str = "<!-- written by weft-simulation: end -->\n";
const UPDATE: &str = "cargo run -p weft-simulation -- --write";

/// Puts the results into the document, and draws its pictures.
pub fn write(results: &[Result]) -> anyhow::Result<()> {
    let path = document();
    let text = read(&path)?;
    let Parts { before, after, .. } = parts(&text)?;
    fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", section(results)))?;
    let folder = pictures();
    fs::create_dir_all(&folder)?;
    for result in results {
        fs::write(folder.join(format!("{}.svg", result.scenario.name)), picture(result))?;
    }
    Ok(())
}

/// Whether the document tells these scenarios, with what they are held to; its figures are not looked at.
///
/// # Errors
/// It does not: what is missing.
pub fn check(results: &[Result]) -> anyhow::Result<()> {
    let text = read(&document())?;
    let written = parts(&text)?.written;
    let without_figures = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines().skip_while(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                line.split_once("| ").map_or(line, |(_, row)| row.split('|').next().unwrap_or(row)).trim().into()
            })
            .collect()
    };
    let (is, should_be) = (without_figures(written), without_figures(&section(results)));
    let missing = should_be.iter().find(|line| !is.contains(line));
    anyhow::ensure!(missing.is_none(), "docs/resilience.md does not say: {missing:?}; update it: {UPDATE}");
    anyhow::ensure!(is.len() == should_be.len(), "docs/resilience.md says more than there is; update it: {UPDATE}");
    for result in results {
        let file = pictures().join(format!("{}.svg", result.scenario.name));
        anyhow::ensure!(file.is_file(), "{} is missing; update it: {UPDATE}", file.display());
    }
    Ok(())
}

struct Parts<'a> {
    before: &'a str,
    written: &'a str,
    after: &'a str,
}

fn parts(text: &str) -> anyhow::Result<Parts<'_>> {
    let split = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (written, after)) = split.context("docs/resilience.md has no place for the simulation")?;
    Ok(Parts { before, written, after })
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn document() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/resilience.md"))
}

fn pictures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/resilience"))
}
