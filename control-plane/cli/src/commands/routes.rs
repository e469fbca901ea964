//! `weft routes`: where requests to a service go, in order of precedence, and which object says so.

use clap::Args;
use weft_control_plane::admin_api::Routes as Answer;

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::{self, Cell, Table},
};

pub const EXAMPLES: &str = "\
Examples:
  weft routes orders
  weft routes shop/orders -o yaml";

#[derive(Debug, Args)]
pub struct Routes {
    /// The service: NAME, or NAMESPACE/NAME
    service: String,
}

impl Routes {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let service = flags.service(&self.service)?;
        let routes: Answer = flags.admin()?.get(&format!("/v1/services/{service}/routes")).await?;
        output::show(flags.output, &routes, table)?;
        Ok(Exit::Done)
    }
}

/// A route with several backends takes a line for each.
fn table(routes: &Answer) -> Table {
    let mut table = Table::new(&["PORT", "MATCHES", "TO", "STICKY", "FROM"], "no ports, so no routes");
    let addresses: Vec<_> = routes.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        table.line_before(format!("{} at {}", routes.service, addresses.join(" and ")));
    }
    for port in &routes.ports {
        for route in &port.routes {
            let first = route.to.first().map(String::as_str);
            table.row([
                port.port.to_string().into(),
                route.matches.as_str().into(),
                Cell::optional(first),
                Cell::optional(route.sticky.as_deref()),
                route.from.as_str().into(),
            ]);
            for to in route.to.iter().skip(1) {
                table.row(["".into(), "".into(), to.as_str().into(), "".into(), "".into()]);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_has_a_line() {
        let routes: Answer = serde_json::from_str(
            r#"{"service":"shop/orders","addresses":["240.1.2.3","fd77:6566:7400::f001:203"],"ports":[{"port":80,"routes":[
                {"matches":"/","to":["shop/orders-v1:80 90 %","shop/orders-v2:80 10 %"],"sticky":null,
                 "from":"HTTPRoute shop/orders rule 0"}]}]}"#,
        )
        .unwrap();
        let text = anstream::adapter::strip_str(&table(&routes).render()).to_string();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "shop/orders at 240.1.2.3 and fd77:6566:7400::f001:203",
                "PORT MATCHES TO STICKY FROM",
                "80 / shop/orders-v1:80 90 % - HTTPRoute shop/orders rule 0",
                "shop/orders-v2:80 10 %"
            ]
        );
    }
}
