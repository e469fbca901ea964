use clap::Parser;

use super::{super::flags::Redirect, *};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    redirect: Redirect,
}

fn ruleset(flags: &[&str]) -> Ruleset {
    Cli::try_parse_from(std::iter::once(&"test").chain(flags)).unwrap().redirect.ruleset().unwrap()
}

const DEFAULT: &str = r#"table inet weft {}
delete table inet weft
table inet weft {
    chain output {
        type nat hook output priority -101; policy accept;
        meta skuid { 2102 } return comment "the sidecar itself, exempt users"
        oifname "lo" return comment "stays here"
        meta l4proto tcp redirect to :15001 comment "outbound"
    }
    chain prerouting {
        type nat hook prerouting priority -101; policy accept;
        iifname "lo" return comment "comes from here"
        fib daddr type != local return comment "only passes through"
        tcp dport { 15006, 15020 } return comment "the sidecar's own, exempt ports"
        meta l4proto tcp redirect to :15006 comment "inbound"
    }
}
"#;

#[test]
fn by_default_tcp_is_taken_both_ways() {
    assert_eq!(ruleset(&[]).to_string(), DEFAULT);
}

const EVERYTHING: &str = r#"table inet weft {}
delete table inet weft
table inet weft {
    chain output {
        type nat hook output priority -101; policy accept;
        meta skuid { 0, 7, 1337 } return comment "the sidecar itself, exempt users"
        udp dport 53 redirect to :4 comment "DNS"
        tcp dport 53 redirect to :4 comment "DNS"
        oifname "lo" return comment "stays here"
        tcp dport { 443, 8000-8010 } return comment "exempt"
        ip daddr { 10.0.0.0/8 } return comment "exempt"
        ip6 daddr { 2001:db8::5/128, fd00::/8 } return comment "exempt"
        meta l4proto tcp redirect to :1 comment "outbound"
    }
    chain prerouting {
        type nat hook prerouting priority -101; policy accept;
        iifname "lo" return comment "comes from here"
        fib daddr type != local return comment "only passes through"
        tcp dport { 2-3, 9100, 9200-9300 } return comment "the sidecar's own, exempt ports"
        ip saddr { 192.0.2.7/32 } return comment "exempt"
        ip6 saddr { fe80::/10 } return comment "exempt"
        meta l4proto tcp redirect to :2 comment "inbound"
    }
}
"#;

#[test]
fn every_flag_has_its_place() {
    let all = ruleset(&[
        "--outbound-port=1",
        "--inbound-port=2",
        "--admin-port=3",
        "--dns",
        "--dns-port=4",
        "--proxy-user=1337",
        "--exempt-user=7",
        "--exempt-user=root",
        "--exempt-outbound-port=8000-8010",
        "--exempt-outbound-port=443",
        "--exempt-outbound-cidr=10.0.0.0/8",
        "--exempt-outbound-cidr=fd00::/8",
        "--exempt-outbound-cidr=2001:db8::5",
        "--exempt-inbound-port=9100",
        "--exempt-inbound-port=9200-9300",
        "--exempt-inbound-cidr=192.0.2.7",
        "--exempt-inbound-cidr=fe80::/10",
    ]);
    assert_eq!(all.to_string(), EVERYTHING);
}

#[test]
fn networks_of_one_family_make_one_rule() {
    let text = ruleset(&["--exempt-outbound-cidr", "::/0", "--exempt-inbound-cidr", "10.0.0.0/8"]).to_string();
    assert!(text.contains("ip6 daddr { ::/0 } return") && !text.contains("ip daddr"), "{text}");
    assert!(text.contains("ip saddr { 10.0.0.0/8 } return") && !text.contains("ip6 saddr"), "{text}");
}

#[test]
fn what_was_said_in_another_order_is_the_same() {
    let one = ["--exempt-user=5", "--exempt-user=4", "--exempt-outbound-port=80", "--exempt-outbound-port=79"];
    let other = ["--exempt-outbound-port=79-80", "--exempt-user=4", "--exempt-user=5", "--exempt-user=2102"];
    assert_eq!(ruleset(&one), ruleset(&other));
}

#[test]
fn it_knows_what_it_takes() {
    let rules = ruleset(&["--exempt-outbound-port", "9", "--exempt-outbound-cidr", "10.0.0.0/8", "--dns"]);
    for (destination, taken) in [
        ("192.0.2.1:80", true),
        ("192.0.2.1:9", false),
        ("10.0.0.1:80", false),
        ("[2001:db8::1]:80", true),
        ("10.0.0.1:53", true),
    ] {
        assert_eq!(rules.takes(destination.parse().unwrap()), taken, "{destination}");
    }
    let without_dns = ruleset(&["--exempt-outbound-cidr", "10.0.0.0/8"]);
    assert!(!without_dns.takes("10.0.0.1:53".parse().unwrap()));
}

#[test]
fn the_chains_are_those_of_the_text() {
    let [output, prerouting] = ruleset(&["--dns"]).chains();
    assert_eq!((output.rules, output.ports), (5, vec![15053, 15053, 15001]));
    assert_eq!((prerouting.rules, prerouting.ports), (4, vec![15006]));
    assert_eq!((prerouting.name.as_str(), prerouting.priority), ("prerouting", -101));
}
