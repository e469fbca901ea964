//! What `-f` names: files, folders (their *.yaml and *.yml, sorted, with all below), `-` for standard input.
//!
//! Decides the order of documents and what is read; what they mean is `weft_control_plane::resources`'.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use weft_control_plane::resources::{self, Document, Problem};

use crate::exit::Failure;

const STDIN: &str = "-";

/// Every document of all sources, with its position.
///
/// # Errors
/// A file cannot be read, or what any of them holds is not YAML: all such problems at once.
pub fn read(sources: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for (name, text) in texts(sources)? {
        match resources::read_yaml(&name, &text) {
            Ok(read) => documents.extend(read),
            Err(found) => problems.extend(found),
        }
    }
    match (problems.is_empty(), documents.is_empty()) {
        (false, _) => Err(Failure::Refused(problems)),
        (true, true) => Err(Failure::Other(anyhow::anyhow!("there is no resource in {}", names(sources)))),
        (true, false) => Ok(documents),
    }
}

fn texts(sources: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for source in sources {
        if source.as_os_str() == STDIN {
            let text = io::read_to_string(io::stdin()).context("cannot read standard input")?;
            texts.push(("<stdin>".to_owned(), text));
            continue;
        }
        for path in files(source)? {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push((path.display().to_string(), text));
        }
    }
    Ok(texts)
}

/// `source` itself when it is a file, whatever it is called.
fn files(source: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let kind = fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    if !kind.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let mut found = Vec::new();
    descend(source, &mut found)?;
    found.sort();
    if found.is_empty() {
        anyhow::bail!("there is no *.yaml or *.yml in {}", source.display());
    }
    Ok(found)
}

/// Links to folders are not followed, so that a loop cannot hang the command.
fn descend(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            descend(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(path);
        }
    }
    Ok(())
}

fn names(sources: &[PathBuf]) -> String {
    sources.iter().map(|source| source.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_with_what_is_below() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b")).unwrap();
        for name in ["c.yml", "a.yaml", "b/z.yaml", "notes.txt", "b/yaml"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.yaml", "b/z.yaml", "c.yml"]);
        assert_eq!(files(&folder.path().join("notes.txt")).unwrap().len(), 1, "a file that is named is read");
        assert!(files(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn a_folder_without_resources_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(folder.path()).unwrap_err().to_string().contains("no *.yaml"));
    }
}
