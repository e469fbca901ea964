//! The resources that a mesh begins with (`--rules`): applied once, while there is nothing else.
//!
//! What people change later is theirs: a start with an earlier history leaves the file alone.

use std::{path::Path, time::SystemTime};

use anyhow::Context;
use jiff::Timestamp;

use crate::{
    admin_api::ApplyRequest,
    mesh::{Mesh, MeshError},
    resources::{self, Document, Problem},
};

const AUTHOR: &str = "weft control-plane";

/// # Errors
/// The file cannot be read, or what is in it does not hold: with every problem, and where it is.
pub async fn apply(mesh: &Mesh, file: &Path) -> anyhow::Result<()> {
    let revision = mesh.published().revision;
    if revision > 0 {
        tracing::info!(file = %file.display(), revision, "the rules to begin with are left alone: there is a history already");
        return Ok(());
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("--rules {name}: cannot be read"))?;
    let documents = resources::read_yaml(&name, &text).map_err(|problems| refused(&name, problems, &[]))?;
    let request = ApplyRequest {
        documents: documents.iter().map(|document| document.value.clone()).collect(),
        namespace: "default".to_owned(),
        dry_run: false,
        author: AUTHOR.to_owned(),
        message: format!("the rules to begin with, of {name}"),
    };
    let change = mesh.apply(request, Timestamp::try_from(SystemTime::now())?).await.map_err(|error| match error {
        MeshError::Invalid(problems) => refused(&name, problems, &documents),
        other => anyhow::Error::new(other).context(format!("--rules {name}")),
    })?;
    tracing::info!(file = name, revision = change.revision, "applied the rules to begin with");
    Ok(())
}

fn refused(name: &str, mut problems: Vec<Problem>, documents: &[Document]) -> anyhow::Error {
    resources::place(&mut problems, documents);
    let errors = problems.iter().filter(|problem| problem.is_error());
    let listed: String = errors.map(|problem| format!("\n  {problem}")).collect();
    anyhow::anyhow!("--rules {name} does not hold, and nothing of it was applied:{listed}")
}
