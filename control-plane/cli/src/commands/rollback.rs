//! `weft rollback`: the resources of an earlier revision, as a new one.

use clap::Args;
use weft_control_plane::admin_api::{Change, RollbackRequest};

use super::change::{self, Authorship};
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
};

pub const EXAMPLES: &str = "\
Examples:
  weft rollback                 to the revision before the current one
  weft history && weft rollback 12
  weft rollback 12 --dry-run";

#[derive(Debug, Args)]
pub struct Rollback {
    /// The revision to go back to [default: the one before the current]
    revision: Option<u64>,

    #[command(flatten)]
    authorship: Authorship,
}

impl Rollback {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let request = RollbackRequest {
            revision: self.revision,
            dry_run: self.authorship.dry_run,
            author: self.authorship.author(),
            message: self.authorship.message,
        };
        let answer = flags.admin()?.post::<Change>("/v1/rollback", &request).await;
        change::show(flags, answer.map_err(|error| change::refused(error, &[]))?, &[])
    }
}
