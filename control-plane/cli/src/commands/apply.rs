//! `weft apply`: writes all resources of all files as one revision, or none of them.

use std::path::PathBuf;

use clap::Args;
use weft_control_plane::admin_api::{ApplyRequest, Change};

use super::change::{self, Authorship};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    sources,
};

pub const EXAMPLES: &str = "\
Examples:
  weft apply -f canary.yaml
  weft apply -f rules/ -f extra.yaml --message 'orders: 10 % to v2'
  weft apply -f rules/ --dry-run
  generate-rules | weft apply -f -";

#[derive(Debug, Args)]
pub struct Apply {
    /// A file, a folder (its *.yaml and *.yml, with all below), or - for standard input (repeatable)
    #[arg(long = "file", short, required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    authorship: Authorship,
}

impl Apply {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let documents = sources::read(&self.files)?;
        let request = ApplyRequest {
            documents: documents.iter().map(|document| document.value.clone()).collect(),
            namespace: flags.namespace().to_owned(),
            dry_run: self.authorship.dry_run,
            author: self.authorship.author(),
            message: self.authorship.message,
        };
        let answer = flags.admin()?.post::<Change>("/v1/apply", &request).await;
        change::show(flags, answer.map_err(|error| change::refused(error, &documents))?, &documents)
    }
}
