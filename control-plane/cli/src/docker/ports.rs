//! Which ports a service listens on, as compose and images write it.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::Value;

use super::project::Service;

/// What is exposed: TCP ports in ascending order, and whether there is anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    pub tcp: BTreeSet<u16>,
    /// UDP or SCTP, which go past the mesh.
    pub other: bool,
}

impl Exposed {
    /// Of `8080`, `8080/tcp`, `9000-9002/udp` and so on. What is none of these is left out.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut exposed = Self::default();
        for text in texts {
            let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            if let Some(ports) = ports(range) {
                exposed.add(ports, protocol);
            }
        }
        exposed
    }

    fn add(&mut self, ports: RangeInclusive<u16>, protocol: &str) {
        match protocol {
            "tcp" => self.tcp.extend(ports),
            _ => self.other = true,
        }
    }
}

/// What a service says of its ports.
pub struct Said {
    /// Those that the host publishes, by their number in the container.
    pub published: Exposed,
    pub exposed: Exposed,
}

pub fn said(service: &Service) -> Said {
    let mut published = Exposed::default();
    for entry in service.list("ports") {
        let target = entry.get("target").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        if let Some(port) = target {
            published.add(port..=port, entry.get("protocol").and_then(Value::as_str).unwrap_or("tcp"));
        }
    }
    let texts: Vec<String> = service.list("expose").iter().map(text).collect();
    Said { published, exposed: Exposed::of(texts.iter().map(String::as_str)) }
}

/// Older versions of compose print numbers.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn ports(range: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    Some(port(first)?..=port(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_every_form() {
        let of = |texts: &[&str]| {
            let exposed = Exposed::of(texts.iter().copied());
            (exposed.tcp.into_iter().collect::<Vec<_>>(), exposed.other)
        };
        assert_eq!(of(&["8080", "9000-9002", "443/tcp"]), (vec![443, 8080, 9000, 9001, 9002], false));
        assert_eq!(of(&["53/udp", "53/tcp", "100/sctp"]), (vec![53], true));
        assert_eq!(of(&["", "a", "0", "70000", "2-1"]), (vec![], false));
    }

    #[test]
    fn published_ports_are_those_in_the_container() {
        let service = serde_json::json!({
            "ports": [
                {"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"},
                {"target": 53, "published": "53", "protocol": "udp"},
            ],
            "expose": ["9000", 9100],
        });
        let said = said(&serde_json::from_value(service).unwrap());
        assert_eq!(said.published, Exposed { tcp: [80].into(), other: true });
        assert_eq!(said.exposed, Exposed { tcp: [9000, 9100].into(), other: false });
    }
}
