//! `weft delete`: one object by name, or all that the files name, as one revision.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use weft_control_plane::{
    admin_api::{Change, DeleteRequest},
    resources::Key,
};

use super::{
    change::{self, Authorship},
    objects,
};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    sources,
};

pub const EXAMPLES: &str = "\
Examples:
  weft delete HTTPRoute orders
  weft delete trafficpolicy shop/orders-v2 --message 'v2 is gone'
  weft delete -f canary.yaml --dry-run";

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["kind", "files"])]
pub struct Delete {
    /// The kind of the object
    #[arg(requires = "name", conflicts_with = "files")]
    kind: Option<String>,

    /// Its name, or NAMESPACE/NAME
    name: Option<String>,

    /// Delete what these files name (a file, a folder, or - for standard input; repeatable)
    #[arg(long = "file", short, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    authorship: Authorship,
}

impl Delete {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let request = DeleteRequest {
            keys: self.keys(flags)?,
            dry_run: self.authorship.dry_run,
            author: self.authorship.author(),
            message: self.authorship.message,
        };
        let answer = flags.admin()?.post::<Change>("/v1/delete", &request).await;
        change::show(flags, answer.map_err(|error| change::refused(error, &[]))?, &[])
    }

    fn keys(&self, flags: &ClientFlags) -> Result<Vec<Key>, Failure> {
        if let (Some(kind), Some(name)) = (&self.kind, &self.name) {
            let (namespace, name) = objects::split(name);
            return Ok(vec![Key::new(objects::kind(kind)?, namespace.unwrap_or(flags.namespace()), name)]);
        }
        let documents = sources::read(&self.files)?;
        let keys = documents.iter().map(|document| {
            objects::key(&document.value, flags.namespace()).context("a document without a known kind or a name")
        });
        Ok(keys.collect::<anyhow::Result<_>>()?)
    }
}
