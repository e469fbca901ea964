//! `weft redirect` on hosts of the test's own: what is taken, what is left alone, and what is said when it cannot be.

mod checks;
mod network;

use std::{
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    process::Stdio,
};

use network::{APP, APP_V6, Host, Network, SECOND};
use rustix::process::Signal;
use weft_tests::{Finished, Folder, Process, require, require_root, weft};

const OUTBOUND: &str = "127.0.0.1:15001";
const OUTBOUND_V6: &str = "[::1]:15001";

/// Another user. It keeps the right to pass folders that are closed to others, where the binary may lie.
fn as_user(id: &str) -> [String; 6] {
    let may_read = |set: &str| format!("--{set}-caps=+dac_read_search");
    let (user, group) = (format!("--reuid={id}"), format!("--regid={id}"));
    ["setpriv".to_owned(), user, group, "--clear-groups".to_owned(), may_read("inh"), may_read("ambient")]
}

fn network() -> Option<Network> {
    (require(&["ip", "nft", "setpriv", "socat"]) && require_root()).then(Network::new)
}

/// `weft redirect` as another user.
fn redirect_as(id: &str, host: &Host, flags: &[&str]) -> Finished {
    host.redirect_as(&as_user(id).each_ref().map(String::as_str), flags)
}

/// Has a user connect, or send a datagram, to an address of socat's, and say something.
fn say_as(id: &str, host: &Host, address: &str) {
    let user = as_user(id);
    let command_line: Vec<&str> = user.iter().map(String::as_str).chain(["socat", "-u", "STDIN", address]).collect();
    let mut socat = host.exec(&command_line).stdin(Stdio::piped()).spawn().unwrap();
    socat.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert!(socat.wait().unwrap().success(), "{address}");
}

/// Asks a resolver, for which `sidecar` answers.
fn ask(host: &Host, resolver: &str, sidecar: &UdpSocket) {
    let any = if resolver.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let client = host.udp(any);
    host.make(|| client.connect(resolver)).unwrap();
    client.send(b"who?").unwrap();
    let mut text = [0; 16];
    let (length, from) = sidecar.recv_from(&mut text).unwrap_or_else(|error| panic!("{resolver}: {error}"));
    assert_eq!(&text[..length], b"who?");
    sidecar.send_to(b"you", from).unwrap();
    // It hears the resolver only: the answer seems to come from there.
    let length = client.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"you");
}

#[test]
fn outgoing_connections_come_to_the_sidecar_with_their_destination() {
    let Some(Network { app, outside }) = network() else { return };
    let (v4, v6) = (app.listen(OUTBOUND), app.listen(OUTBOUND_V6));
    let elsewhere = outside.listen("10.77.0.1:8080");
    elsewhere.took(&app.connect("10.77.0.1:8080"), "10.77.0.1:8080");

    let said = app.redirect(&[]).expect_ok();
    assert_eq!(said, "set: TCP out goes to port 15001, TCP in to port 15006\n");
    for destination in ["10.77.0.1:8080", "10.77.0.1:53", "203.0.113.9:443"] {
        v4.took(&app.connect(destination), destination);
    }
    for destination in ["[fd77::1]:8080", "[2001:db8::9]:443"] {
        v6.took(&app.connect(destination), destination);
    }
    // What stays on the host is its own.
    for address in ["127.0.0.1:8080", "10.77.0.2:8081", "[::1]:8080", "[fd77::2]:8081"] {
        let local = app.listen(address);
        local.took(&app.connect(address), address);
    }
}

#[test]
fn incoming_connections_come_to_the_sidecar_with_their_destination() {
    let Some(Network { app, outside }) = network() else { return };
    app.redirect(&[]).expect_ok();
    let (v4, v6) = (app.listen("0.0.0.0:15006"), app.listen("[::]:15006"));
    // Nobody outside reaches what the sidecar has for its own host: that is a service's port like any other.
    let _outbound = app.listen("0.0.0.0:15001");
    for port in [80, 8080, 15001, 15006] {
        let destination = format!("{APP}:{port}");
        v4.took(&outside.connect(&destination), &destination);
        let destination = format!("[{APP_V6}]:{port}");
        v6.took(&outside.connect(&destination), &destination);
    }
    let admin = app.listen("0.0.0.0:15020");
    admin.took(&outside.connect("10.77.0.2:15020"), "10.77.0.2:15020");
    // What only passes through is not for this host.
    outside.ip(&["route", "add", "10.88.0.0/24", "via", APP]);
    outside.cannot_connect("10.88.0.1:80");
}

#[test]
fn the_sidecar_and_exempt_users_are_left_alone() {
    let Some(Network { app, outside }) = network() else { return };
    app.redirect(&["--dns", "--exempt-user", "2103", "--exempt-user", "daemon"]).expect_ok();
    let taken = app.listen(OUTBOUND);
    let elsewhere = outside.listen("10.77.0.1:8080");
    let resolver = outside.udp("10.77.0.1:53");
    for user in ["2102", "2103", "daemon"] {
        say_as(user, &app, "TCP:10.77.0.1:8080,connect-timeout=10");
        let (from, _, mut stream) = elsewhere.accept();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!((from.to_string().as_str(), said.as_str()), (APP, "hello"), "{user}");
        say_as(user, &app, "UDP:10.77.0.1:53");
        assert_eq!(resolver.recv(&mut [0; 16]).unwrap(), 5, "{user}");
    }
    say_as("2104", &app, "TCP:10.77.0.1:8080,connect-timeout=10");
    assert_eq!(taken.accept().1.to_string(), "10.77.0.1:8080", "another user is not");
}

#[test]
fn exempt_ports_and_networks_are_left_alone() {
    let Some(Network { app, outside }) = network() else { return };
    outside.ip(&["addr", "add", "fd77:0:0:1::1/64", "dev", "eth0", "nodad"]);
    app.redirect(
        &[
            &["--exempt-outbound-port", "8080", "--exempt-outbound-port", "9000-9010"][..],
            &["--exempt-outbound-cidr", "10.77.0.3", "--exempt-outbound-cidr", "fd77:0:0:1::/64"],
            &["--exempt-inbound-port", "9100", "--exempt-inbound-cidr", "10.77.0.3/32"],
        ]
        .concat(),
    )
    .expect_ok();
    for destination in ["10.77.0.1:8080", "10.77.0.1:9000", "10.77.0.1:9010", "10.77.0.3:80", "[fd77:0:0:1::1]:80"] {
        let elsewhere = outside.listen(destination);
        elsewhere.took(&app.connect(destination), destination);
    }
    let (v4, v6) = (app.listen(OUTBOUND), app.listen(OUTBOUND_V6));
    for destination in ["10.77.0.1:80", "10.77.0.1:9011"] {
        v4.took(&app.connect(destination), destination);
    }
    v6.took(&app.connect("[fd77::1]:80"), "[fd77::1]:80");

    let (open, service) = (app.listen("10.77.0.2:9100"), app.listen("10.77.0.2:80"));
    open.took(&outside.connect("10.77.0.2:9100"), "10.77.0.2:9100");
    say_as("0", &outside, &format!("TCP:10.77.0.2:80,bind={SECOND},connect-timeout=10"));
    assert_eq!(service.accept().0.to_string(), SECOND);
    let inbound = app.listen("10.77.0.2:15006");
    inbound.took(&outside.connect("10.77.0.2:80"), "10.77.0.2:80");
}

#[test]
fn dns_comes_to_the_sidecar_also_from_loopback_and_before_docker() {
    let Some(Network { app, outside }) = network() else { return };
    // As Docker has it: its resolver's address on loopback, whose port is another in truth.
    app.nft(&["add table ip docker; add chain ip docker out { type nat hook output priority -100; }"]);
    app.nft(&["add rule ip docker out ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:40000"]);
    let docker = app.udp("127.0.0.11:40000");
    let (v4, v6) = (app.udp("127.0.0.1:15053"), app.udp("[::1]:15053"));
    ask(&app, "127.0.0.11:53", &docker);

    let said = app.redirect(&["--dns"]).expect_ok();
    assert!(said.ends_with(", DNS to port 15053\n"), "{said}");
    for resolver in ["127.0.0.11:53", "127.0.0.1:53", "10.77.0.1:53", "203.0.113.9:53"] {
        ask(&app, resolver, &v4);
    }
    ask(&app, "[fd77::1]:53", &v6);
    say_as("2102", &app, "UDP:127.0.0.11:53");
    assert_eq!(docker.recv(&mut [0; 16]).unwrap(), 5, "the sidecar itself reaches Docker's");

    let tcp = app.listen("127.0.0.1:15053");
    for resolver in ["127.0.0.11:53", "10.77.0.1:53"] {
        tcp.took(&app.connect(resolver), resolver);
    }
    let other = outside.udp("10.77.0.1:5353");
    let client = app.udp("0.0.0.0:0");
    client.send_to(b"hello", "10.77.0.1:5353").unwrap();
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 5, "other UDP is left alone");
}

#[test]
fn a_second_run_changes_nothing_and_a_different_one_replaces_the_first() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    app.redirect(&["--dns"]).expect_ok();
    let first = app.nft(&["list", "ruleset"]);
    let taken = app.listen(OUTBOUND);
    let mut client = app.connect("10.77.0.1:80");
    let (_, _, mut stream) = taken.accept();
    app.redirect(&["--dns"]).expect_ok();
    assert_eq!(app.nft(&["list", "ruleset"]), first);
    client.write_all(b"still here").unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
    taken.took(&app.connect("10.77.0.1:80"), "10.77.0.1:80");

    app.redirect(&["--outbound-port", "16001"]).expect_ok();
    let other = app.listen("127.0.0.1:16001");
    other.took(&app.connect("10.77.0.1:80"), "10.77.0.1:80");
    assert!(!app.nft(&["list", "ruleset"]).contains("15001"), "nothing of the first is left");
}

#[test]
fn remove_restores_what_was() {
    let Some(Network { app, outside }) = network() else { return };
    app.nft(&["add table inet other"]);
    let before = app.nft(&["list", "ruleset"]);
    app.redirect(&["--dns"]).expect_ok();
    let script = app.redirect(&["--remove", "--dry-run"]).expect_ok();
    assert_eq!(script, "table inet weft {}\ndelete table inet weft\n");
    for _ in 0..2 {
        assert!(app.redirect(&["--remove"]).expect_ok().starts_with("removed: "));
        assert_eq!(app.nft(&["list", "ruleset"]), before);
    }
    let elsewhere = outside.listen("10.77.0.1:80");
    elsewhere.took(&app.connect("10.77.0.1:80"), "10.77.0.1:80");
}

#[tokio::test]
async fn a_namespace_is_held_without_a_right_until_the_sidecar_is_gone() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    let folder = Folder::new();
    let weft = weft(&[]);
    let weft = weft.get_program().to_str().unwrap();
    let hold = |admin: &str| app.exec(&[weft, "redirect", "--set", "--check", "--hold", "--admin-port", admin]);
    let probe = || app.exec(&[weft, "probe", "network"]).output().unwrap();
    assert_eq!(probe().status.code(), Some(1), "nobody holds it yet");

    let short_queues = "echo 2 > /proc/sys/net/core/somaxconn";
    assert!(app.exec(&["sh", "-c", short_queues]).status().unwrap().success());
    let mut holder = Process::start("holder", &mut hold("15021"), &folder);
    holder.announces("holding the network namespace").await;
    assert!(app.nft(&["list", "ruleset"]).contains("15001"));
    assert_eq!(probe().status.code(), Some(0));
    let status = std::fs::read_to_string(format!("/proc/{}/status", holder.id())).unwrap();
    for set in ["CapInh:", "CapPrm:", "CapEff:"] {
        assert!(status.contains(&format!("{set}\t0000000000000000")), "{status}");
    }
    // More often than fits into a queue that nobody empties.
    for _ in 0..20 {
        assert_eq!(probe().status.code(), Some(0));
    }
    let second = hold("15021").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("cannot be held") && said.contains("in use"), "{said}");

    // A sidecar that still drains keeps it.
    let sidecar = app.make(|| TcpListener::bind("127.0.0.1:15021")).unwrap();
    holder.signal(Signal::TERM);
    sidecar.accept().unwrap();
    assert!(holder.runs());
    drop(sidecar);
    assert!(holder.ended().await.success());
}

#[test]
fn without_net_admin_the_error_says_what_is_missing_and_how_to_give_it() {
    let Some(Network { app, .. }) = network() else { return };
    let root_of_a_container = ["setpriv", "--bounding-set=-net_admin"];
    for flags in [&[][..], &["--remove"], &["--check"]] {
        for ended in [redirect_as("65534", &app, flags), app.redirect_as(&root_of_a_container, flags)] {
            assert_eq!(ended.code, 1, "{ended:?}");
            for words in ["NET_ADMIN", "capabilities: {add: [NET_ADMIN]}", "docker run --cap-add NET_ADMIN"] {
                assert!(ended.stderr.contains(words), "{flags:?}: {}", ended.stderr);
            }
            assert!(ended.stdout.is_empty(), "{ended:?}");
        }
    }
    let script = redirect_as("65534", &app, &["--dry-run"]).expect_ok();
    assert!(script.contains("type nat hook output"), "{script}");
    assert!(app.nft(&["list", "ruleset"]).is_empty(), "nothing was set");
}

#[test]
fn the_sidecars_settings_in_the_environment_do_not_matter() {
    let mut command = weft(&["redirect", "--dry-run"]);
    let settings =
        ["SETTINGS", "APP", "SERVICE", "OUTBOUND_LISTEN", "INBOUND_LISTEN", "WORKERS", "NAMESPACE", "CONFIG"];
    command.envs(settings.map(|name| (format!("WEFT_{name}"), "/none of it")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("redirect to :15001"));
}
