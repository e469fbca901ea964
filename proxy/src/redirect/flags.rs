//! The flags of `redirect`: what a person can say, checked where it was written.
//!
//! None of them is read from the environment: what is there is the sidecar's, whose container may be made alike.

use clap::{ArgAction, Args, value_parser};
use ipnet::IpNet;
use nix::unistd::{Uid, User};

use super::{
    RedirectError,
    ruleset::Ruleset,
    sets::{self, PortRange},
};

const EXAMPLES: &str = "\
Examples:
  weft-proxy redirect                             set the rules, for a sidecar on its default ports
  weft-proxy redirect --dns --set --check         set them, DNS too, then prove that they work
  weft-proxy redirect --dns --check               prove it again, with the same flags
  weft-proxy redirect --dns --set --check --hold  the first process of a container whose network others join
  weft-proxy redirect --exempt-outbound-port 5432 --exempt-outbound-cidr 10.0.0.0/8
  weft-proxy redirect --exempt-inbound-port 9100  let others reach port 9100 without the sidecar
  weft-proxy redirect --dry-run                   show the rules, change nothing
  weft-proxy redirect --remove                    as if they had never been
  docker run --rm --user 0 --cap-add NET_ADMIN --network container:app \\
      --entrypoint weft-proxy IMAGE redirect

It changes the network namespace in which it runs: that of a pod, in an init container; that of the
Docker container that --network names; any other, by `ip netns exec NAME`. For this it needs the
capability NET_ADMIN and the program nft. The sidecar itself needs neither.

Exit codes: 0 done, 1 could not, 2 wrong usage. `weft redirect` is the same command.";

/// As whom the sidecar runs where nothing else is said: in the image, and in the rules, which leave its traffic alone.
pub const PROXY_USER: u32 = 2102;

/// Send a network namespace's traffic to its sidecar, with nftables
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Redirect {
    /// Set the rules, in place of those that were set before; what is done where no other action is named
    #[arg(long, help_heading = "Actions", conflicts_with = "remove")]
    pub set: bool,

    /// Prove by connections that the rules work, which must have been set with the same flags; with --set: set them first
    #[arg(long, help_heading = "Actions", conflicts_with_all = ["remove", "dry_run"])]
    pub check: bool,

    /// Then stay, without any right left, for containers that join this one's network; until a signal says to end
    #[arg(long, help_heading = "Actions", conflicts_with_all = ["remove", "dry_run"])]
    pub hold: bool,

    /// Remove the rules
    #[arg(long, help_heading = "Actions")]
    pub remove: bool,

    /// Print what nft would be told, and change nothing
    #[arg(long, help_heading = "Actions")]
    pub dry_run: bool,

    /// Port of the sidecar that is given outgoing TCP connections
    #[arg(long, value_name = "PORT", default_value_t = 15001, value_parser = value_parser!(u16).range(1..))]
    pub outbound_port: u16,

    /// Port of the sidecar that is given incoming TCP connections
    #[arg(long, value_name = "PORT", default_value_t = 15006, value_parser = value_parser!(u16).range(1..))]
    pub inbound_port: u16,

    /// Port of the sidecar's admin listener, which is reached from outside as it is: probes, metrics
    #[arg(long, value_name = "PORT", default_value_t = 15020, value_parser = value_parser!(u16).range(1..))]
    pub admin_port: u16,

    /// Give the sidecar DNS as well: all that goes to port 53, by UDP or TCP, also to a resolver on loopback
    #[arg(long)]
    pub dns: bool,

    /// Port of the sidecar that is given DNS
    #[arg(long, value_name = "PORT", default_value_t = 15053, value_parser = value_parser!(u16).range(1..))]
    #[arg(requires = "dns")]
    pub dns_port: u16,

    /// User as which the sidecar runs: its own traffic is left alone
    #[arg(long, value_name = "UID|NAME", default_value_t = PROXY_USER, value_parser = user)]
    #[arg(help_heading = "What is left alone")]
    pub proxy_user: u32,

    /// Leave a user's outgoing traffic alone, DNS too (repeatable)
    #[arg(long = "exempt-user", value_name = "UID|NAME", action = ArgAction::Append, value_parser = user)]
    #[arg(help_heading = "What is left alone")]
    pub exempt_users: Vec<u32>,

    /// Leave connections to a port alone (repeatable); DNS is not affected
    #[arg(long = "exempt-outbound-port", value_name = "PORT|FIRST-LAST", action = ArgAction::Append)]
    #[arg(help_heading = "What is left alone")]
    pub exempt_outbound_ports: Vec<PortRange>,

    /// Leave connections to an address or network alone (repeatable); DNS is not affected
    #[arg(long = "exempt-outbound-cidr", value_name = "CIDR", action = ArgAction::Append, value_parser = sets::network)]
    #[arg(help_heading = "What is left alone")]
    pub exempt_outbound_cidrs: Vec<IpNet>,

    /// Leave connections from outside to a port alone (repeatable)
    #[arg(long = "exempt-inbound-port", value_name = "PORT|FIRST-LAST", action = ArgAction::Append)]
    #[arg(help_heading = "What is left alone")]
    pub exempt_inbound_ports: Vec<PortRange>,

    /// Leave connections from an address or network alone (repeatable)
    #[arg(long = "exempt-inbound-cidr", value_name = "CIDR", action = ArgAction::Append, value_parser = sets::network)]
    #[arg(help_heading = "What is left alone")]
    pub exempt_inbound_cidrs: Vec<IpNet>,
}

impl Redirect {
    /// # Errors
    /// Two listeners of the sidecar are given one port.
    pub fn ruleset(&self) -> Result<Ruleset, RedirectError> {
        let mut ports = vec![
            ("--outbound-port", self.outbound_port),
            ("--inbound-port", self.inbound_port),
            ("--admin-port", self.admin_port),
        ];
        ports.extend(self.dns.then_some(("--dns-port", self.dns_port)));
        ports.sort_by_key(|(_, port)| *port);
        if let Some([(one, port), (other, _)]) = ports.array_windows().find(|[(_, a), (_, b)]| a == b) {
            return Err(RedirectError::SamePort { one, other, port: *port });
        }
        let own = [self.inbound_port, self.admin_port].map(PortRange::from);
        Ok(Ruleset {
            outbound_port: self.outbound_port,
            inbound_port: self.inbound_port,
            dns_port: self.dns.then_some(self.dns_port),
            exempt_users: self.exempt_users.iter().copied().chain([self.proxy_user]).collect(),
            exempt_outbound_ports: self.exempt_outbound_ports.iter().copied().collect(),
            exempt_outbound_networks: self.exempt_outbound_cidrs.iter().copied().collect(),
            exempt_inbound_ports: self.exempt_inbound_ports.iter().copied().chain(own).collect(),
            exempt_inbound_networks: self.exempt_inbound_cidrs.iter().copied().collect(),
        })
    }
}

/// The id of a user who is given by id or name. nftables would resolve a name as well, but not say which one it missed.
fn user(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(Uid::as_raw(user.uid)),
        Ok(None) => Err("there is no user of this name here (/etc/passwd): give the uid as a number".to_owned()),
        Err(error) => Err(format!("the users cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        redirect: Redirect,
    }

    fn parse(args: &[&str]) -> Result<Redirect, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"test").chain(args)).map(|cli| cli.redirect)
    }

    #[test]
    fn the_flags_are_consistent_and_not_in_the_environment() {
        let command = Cli::command();
        command.clone().debug_assert();
        assert!(command.get_arguments().all(|arg| arg.get_env().is_none()));
    }

    #[test]
    fn users_are_ids_or_names() {
        assert_eq!(parse(&[]).unwrap().proxy_user, 2102);
        assert_eq!(parse(&["--proxy-user", "root"]).unwrap().proxy_user, 0);
        assert_eq!(parse(&["--exempt-user", "7", "--exempt-user", "root"]).unwrap().exempt_users, [7, 0]);
        let error = parse(&["--exempt-user", "no-such-user"]).unwrap_err().to_string();
        assert!(error.contains("no-such-user") && error.contains("no user of this name"), "{error}");
    }

    #[test]
    fn wrong_usage_is_refused() {
        for args in [
            &["--outbound-port", "0"][..],
            &["--exempt-outbound-port", "70000"],
            &["--exempt-outbound-cidr", "10.0.0.1/8"],
            &["--exempt-inbound-cidr", "everything"],
            &["--dns-port", "5353"],
            &["--remove", "--set"],
            &["--remove", "--check"],
            &["--dry-run", "--check"],
            &["--remove", "--hold"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn the_listeners_have_a_port_each() {
        let error = parse(&["--outbound-port", "15006"]).unwrap().ruleset().unwrap_err();
        assert!(error.is_usage());
        let text = error.to_string();
        assert!(
            text.contains("--outbound-port") && text.contains("--inbound-port") && text.contains("15006"),
            "{text}"
        );
        assert!(parse(&["--outbound-port", "15053"]).unwrap().ruleset().is_ok(), "DNS is not asked for");
        assert!(parse(&["--outbound-port", "15053", "--dns"]).unwrap().ruleset().is_err());
    }
}
