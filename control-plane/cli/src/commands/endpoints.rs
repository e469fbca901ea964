//! `weft endpoints`: who answers for a service, and who of them takes part in balancing.

use clap::Args;
use weft_control_plane::admin_api::EndpointStatus;

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, BAD, Cell, GOOD, Table, WARN},
};

pub const EXAMPLES: &str = "\
Examples:
  weft endpoints orders
  weft endpoints shop/orders -o json";

#[derive(Debug, Args)]
pub struct Endpoints {
    /// The service: NAME, or NAMESPACE/NAME
    service: String,
}

impl Endpoints {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let service = flags.service(&self.service)?;
        let path = format!("/v1/services/{service}/endpoints");
        let endpoints: Vec<EndpointStatus> = flags.admin()?.get(&path).await?;
        output::show(flags.output, &endpoints, |endpoints| table(endpoints))?;
        Ok(Exit::Done)
    }
}

fn table(endpoints: &[EndpointStatus]) -> Table {
    let mut table = Table::new(&["PORT", "ADDRESS", "STATE", "IDENTITY", "LABELS", "SOURCE"], "no endpoints");
    for endpoint in endpoints {
        let labels: Vec<_> = endpoint.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            endpoint.port.to_string().into(),
            endpoint.address.as_str().into(),
            state(endpoint),
            match &endpoint.spiffe_id {
                Some(id) => id.as_str().into(),
                None if endpoint.source == "registered" => Cell::styled("plaintext, mtls is off", WARN),
                None => Cell::styled("plaintext, outside the mesh", WARN),
            },
            Cell::optional(Some(labels.join(",")).filter(|text| !text.is_empty())),
            endpoint.source.as_str().into(),
        ]);
    }
    table
}

fn state(endpoint: &EndpointStatus) -> Cell {
    match (endpoint.healthy, endpoint.cause.as_str()) {
        (true, _) => Cell::styled("healthy", GOOD),
        (false, "") => Cell::styled("not serving", BAD),
        (false, cause) => Cell::styled(format!("not serving: {cause}"), BAD),
    }
}
