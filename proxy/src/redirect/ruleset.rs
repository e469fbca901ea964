//! What is redirected and what is left alone, as a value; its text is what nft is told.
//!
//! Pure: whether nft, the kernel and the network agree is for others. A `return` leaves the connection to whatever
//! other tables say, at later priorities.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
    net::SocketAddr,
};

use super::{
    loaded::Chain,
    sets::{Networks, Ports, set},
};

/// Before the nat tables of iptables and Docker, which are at -100: who changes a connection first has it. Docker sends
/// what goes to its resolver on 127.0.0.11 to another port.
const PRIORITY: i32 = -101;

/// The beginning of every script: `delete` must not fail where there is no table yet.
const REMOVE: &str = "table inet weft {}\ndelete table inet weft\n";

const DNS: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub outbound_port: u16,
    pub inbound_port: u16,
    /// `None`: DNS is not redirected.
    pub dns_port: Option<u16>,
    /// The sidecar's and others, whose outgoing traffic is left alone, DNS too.
    pub exempt_users: BTreeSet<u32>,
    pub exempt_outbound_ports: Ports,
    pub exempt_outbound_networks: Networks,
    /// With the sidecar's own ports that are reached from outside.
    pub exempt_inbound_ports: Ports,
    pub exempt_inbound_networks: Networks,
}

/// What a rule does with what it matches.
enum Verdict {
    LeaveAlone,
    To(u16),
}

struct Rule {
    matches: String,
    verdict: Verdict,
    /// Stands in the ruleset, for whoever reads it there.
    comment: &'static str,
}

impl Ruleset {
    /// Whether a connection to this address leaves for the sidecar, if it leaves the host and an ordinary user makes it.
    pub fn takes(&self, destination: SocketAddr) -> bool {
        let exempt = self.exempt_outbound_ports.contains(destination.port())
            || self.exempt_outbound_networks.contains(destination.ip());
        !exempt || (self.dns_port.is_some() && destination.port() == DNS)
    }

    /// The script after which nothing is redirected.
    pub fn removal() -> &'static str {
        REMOVE
    }

    /// What the kernel says of the chains once the script is loaded.
    pub fn chains(&self) -> [Chain; 2] {
        let chain = |name: &str, rules: Vec<Rule>| Chain {
            name: name.to_owned(),
            kind: "nat".to_owned(),
            hook: name.to_owned(),
            priority: PRIORITY,
            rules: rules.len(),
            ports: rules.iter().filter_map(|rule| rule.verdict.port()).collect(),
        };
        [chain("output", self.output()), chain("prerouting", self.prerouting())]
    }

    /// What leaves. DNS comes before loopback, since there is where resolvers are, that of Docker among them.
    fn output(&self) -> Vec<Rule> {
        let mut rules =
            vec![leave(format!("meta skuid {}", set(&self.exempt_users)), "the sidecar itself, exempt users")];
        if let Some(port) = self.dns_port {
            rules.push(redirect(format!("udp dport {DNS}"), port, "DNS"));
            rules.push(redirect(format!("tcp dport {DNS}"), port, "DNS"));
        }
        rules.push(leave("oifname \"lo\"".to_owned(), "stays here"));
        rules.extend(ports(&self.exempt_outbound_ports, "exempt"));
        rules.extend(networks("daddr", &self.exempt_outbound_networks));
        rules.push(redirect("meta l4proto tcp".to_owned(), self.outbound_port, "outbound"));
        rules
    }

    /// What comes. The sidecar's outbound and DNS ports are not left alone: nobody outside may use them.
    fn prerouting(&self) -> Vec<Rule> {
        let mut rules = vec![
            leave("iifname \"lo\"".to_owned(), "comes from here"),
            leave("fib daddr type != local".to_owned(), "only passes through"),
        ];
        rules.extend(ports(&self.exempt_inbound_ports, "the sidecar's own, exempt ports"));
        rules.extend(networks("saddr", &self.exempt_inbound_networks));
        rules.push(redirect("meta l4proto tcp".to_owned(), self.inbound_port, "inbound"));
        rules
    }
}

/// The whole script, one transaction: the table is replaced, or nothing changes.
impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(REMOVE)?;
        f.write_str("table inet weft {\n")?;
        for (hook, rules) in [("output", self.output()), ("prerouting", self.prerouting())] {
            writeln!(f, "    chain {hook} {{")?;
            writeln!(f, "        type nat hook {hook} priority {PRIORITY}; policy accept;")?;
            rules.iter().try_for_each(|rule| writeln!(f, "        {rule}"))?;
            writeln!(f, "    }}")?;
        }
        f.write_str("}\n")
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { matches, verdict, comment } = self;
        match verdict {
            Verdict::LeaveAlone => write!(f, "{matches} return comment \"{comment}\""),
            Verdict::To(port) => write!(f, "{matches} redirect to :{port} comment \"{comment}\""),
        }
    }
}

impl Verdict {
    fn port(&self) -> Option<u16> {
        match self {
            Self::LeaveAlone => None,
            Self::To(port) => Some(*port),
        }
    }
}

fn leave(matches: String, comment: &'static str) -> Rule {
    Rule { matches, verdict: Verdict::LeaveAlone, comment }
}

fn redirect(matches: String, port: u16, comment: &'static str) -> Rule {
    Rule { matches, verdict: Verdict::To(port), comment }
}

fn ports(exempt: &Ports, comment: &'static str) -> Option<Rule> {
    (!exempt.is_empty()).then(|| leave(format!("tcp dport {exempt}"), comment))
}

/// `end` is `saddr` or `daddr`.
fn networks(end: &str, exempt: &Networks) -> impl Iterator<Item = Rule> {
    let v4 = (!exempt.v4.is_empty()).then(|| leave(format!("ip {end} {}", set(&exempt.v4)), "exempt"));
    let v6 = (!exempt.v6.is_empty()).then(|| leave(format!("ip6 {end} {}", set(&exempt.v6)), "exempt"));
    v4.into_iter().chain(v6)
}

#[cfg(test)]
mod tests;
