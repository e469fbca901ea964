//! `weft history`: the revisions, newest first.

use clap::Args;
use weft_control_plane::admin_api::Revision;

use super::{change, time};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Cell, Table},
};

/// As many changes of one revision are named in the table; JSON and YAML have all.
const NAMED: usize = 3;

pub const EXAMPLES: &str = "\
Examples:
  weft history
  weft history --limit 5
  weft history -o json | jq '.[0].changes'";

#[derive(Debug, Args)]
pub struct History {
    /// Show at most this many of the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl History {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let revisions: Vec<Revision> = flags.admin()?.get(&format!("/v1/history?limit={}", self.limit)).await?;
        output::show(flags.output, &revisions, |revisions| table(revisions))?;
        Ok(Exit::Done)
    }
}

fn table(revisions: &[Revision]) -> Table {
    let header = ["REVISION", "TIME", "AUTHOR", "MESSAGE", "CHANGES"];
    let mut table = Table::new(&header, "no revisions yet: `weft apply -f FILE` makes the first");
    for revision in revisions {
        table.row([
            revision.revision.to_string().into(),
            time::exact(revision.time).into(),
            revision.author.as_str().into(),
            Cell::optional(Some(revision.message.as_str()).filter(|message| !message.is_empty())),
            changes(revision).into(),
        ]);
    }
    table
}

fn changes(revision: &Revision) -> String {
    let mut words: Vec<_> = revision.changes.iter().take(NAMED).map(change::in_words).collect();
    if let Some(more) = revision.changes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}
