//! The chains as the kernel has them, read from what `nft -j list table` prints.
//!
//! Not every part of every rule is compared, since versions of nft show the same rule differently: where the chains
//! hook in, how many rules there are, and to which ports they redirect.

use std::fmt::{self, Display, Formatter};

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    pub kind: String,
    pub hook: String,
    pub priority: i32,
    /// How many.
    pub rules: usize,
    /// Where the rules redirect to, in their order.
    pub ports: Vec<u16>,
}

/// The chains of a listing, by name.
///
/// # Errors
/// This is not what nft prints.
pub fn chains(json: &str) -> Result<Vec<Chain>, serde_json::Error> {
    let listing: Listing = serde_json::from_str(json)?;
    let (mut chains, mut rules) = (Vec::new(), Vec::new());
    for object in listing.nftables {
        chains.extend(object.chain);
        rules.extend(object.rule);
    }
    let mut chains: Vec<Chain> = chains.into_iter().map(|chain| chain.with(&rules)).collect();
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(chains)
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

/// One of many kinds, two of which matter here.
#[derive(Deserialize)]
struct Object {
    chain: Option<ListedChain>,
    rule: Option<ListedRule>,
}

/// Without hook, type and priority, it is one that others jump to.
#[derive(Deserialize)]
struct ListedChain {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    hook: String,
    #[serde(default)]
    prio: i32,
}

#[derive(Deserialize)]
struct ListedRule {
    chain: String,
    #[serde(default)]
    expr: Vec<Value>,
}

impl ListedChain {
    fn with(self, rules: &[ListedRule]) -> Chain {
        let own = || rules.iter().filter(|rule| rule.chain == self.name);
        let (count, ports) = (own().count(), own().filter_map(ListedRule::port).collect());
        Chain { name: self.name, kind: self.kind, hook: self.hook, priority: self.prio, rules: count, ports }
    }
}

impl ListedRule {
    fn port(&self) -> Option<u16> {
        let port = self.expr.iter().find_map(|part| part.get("redirect")?.get("port")?.as_u64())?;
        u16::try_from(port).ok()
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, kind, hook, priority, rules, ports } = self;
        write!(f, "{name} ({kind} at {hook}, priority {priority}, {rules} rules, to ports {ports:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 prints it, without the rules that leave alone.
    const LISTING: &str = r#"{"nftables":[
        {"metainfo":{"version":"1.0.6","release_name":"Lester Gooch #5","json_schema_version":1}},
        {"table":{"family":"inet","name":"weft","handle":2}},
        {"chain":{"family":"inet","table":"weft","name":"prerouting","handle":2,
          "type":"nat","hook":"prerouting","prio":-101,"policy":"accept"}},
        {"chain":{"family":"inet","table":"weft","name":"output","handle":1,
          "type":"nat","hook":"output","prio":-101,"policy":"accept"}},
        {"chain":{"family":"inet","table":"weft","name":"jumped","handle":9}},
        {"rule":{"family":"inet","table":"weft","chain":"output","handle":4,"comment":"x","expr":[
          {"match":{"op":"==","left":{"meta":{"key":"skuid"}},"right":{"set":[0,2102]}}},{"return":null}]}},
        {"rule":{"family":"inet","table":"weft","chain":"output","handle":8,"expr":[
          {"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":53}},{"redirect":{"port":15053}}]}},
        {"rule":{"family":"inet","table":"weft","chain":"output","handle":18,"expr":[
          {"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"redirect":{"port":15001}}]}},
        {"rule":{"family":"inet","table":"weft","chain":"prerouting","handle":23,"expr":[
          {"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"redirect":null}]}}]}"#;

    #[test]
    fn a_listing_is_read() {
        let chains = chains(LISTING).unwrap();
        let texts: Vec<String> = chains.iter().map(Chain::to_string).collect();
        assert_eq!(
            texts,
            [
                "jumped ( at , priority 0, 0 rules, to ports [])",
                "output (nat at output, priority -101, 3 rules, to ports [15053, 15001])",
                "prerouting (nat at prerouting, priority -101, 1 rules, to ports [])",
            ]
        );
    }

    #[test]
    fn what_nft_does_not_print_is_an_error() {
        for text in ["", "{}", "[]", r#"{"nftables":[{"chain":{}}]}"#] {
            assert!(chains(text).is_err(), "{text:?}");
        }
    }
}
