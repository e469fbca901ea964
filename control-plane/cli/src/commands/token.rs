//! `weft token create`: a join token, by which a workload proves itself at first contact.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use weft_control_plane::admin_api::{Token as Made, TokenRequest};

use super::time;
use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Format, Table},
};

const EXAMPLES: &str = "\
Examples:
  weft token create --service-account orders                  one workload, within 10 minutes
  weft token create --service-account orders --uses 20 --ttl 1h --namespace shop
  weft token create --service-account orders > token && weft proxy --join-token-file token …

The token is shown once. On a terminal its properties go to standard error, the token alone to standard output.";

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a join token for workloads of one service account
    #[command(after_help = EXAMPLES)]
    Create(Create),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The service account that the workloads run as: the last part of their SPIFFE ID
    #[arg(long, value_name = "NAME")]
    service_account: String,

    /// A service that they may register (repeatable) [default: the one with the account's name]
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,

    /// How long the token can be used
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    ttl: Duration,

    /// How many workloads may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
}

impl Token {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let Self::Create(create) = self;
        let request = TokenRequest {
            namespace: flags.namespace().to_owned(),
            service_account: create.service_account,
            services: create.services,
            ttl_seconds: create.ttl.as_secs(),
            uses: create.uses,
        };
        let made: Made = flags.admin()?.post("/v1/tokens", &request).await?;
        match flags.output {
            Format::Table => {
                let expires = time::until(made.expires, Timestamp::now());
                let Made { spiffe_id, uses, .. } = &made;
                output::notice(format!("for {spiffe_id}, uses: {uses}, expires {expires}"));
                output::line(made.token)?;
            }
            other => output::show(other, &made, |_| Table::new(&[], ""))?,
        }
        Ok(Exit::Done)
    }
}
