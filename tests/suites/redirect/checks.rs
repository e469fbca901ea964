//! `weft redirect --check`: what it proves, and what it says when it cannot.

use std::net::TcpListener;

use super::{
    network,
    network::{Host, Network},
    redirect_as,
};

#[test]
fn it_proves_that_the_rules_work() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    let said = app.redirect(&["--set", "--check"]).expect_ok();
    assert_eq!(
        said,
        "set: TCP out goes to port 15001, TCP in to port 15006\n\
         ok: the rules are loaded, and TCP in goes to port 15006\n\
         ok: TCP to 192.0.2.1:9 came to port 15001, with its original destination\n\
         ok: TCP to [2001:db8::1]:9 came to port 15001, with its original destination\n"
    );
    let flags = ["--dns", "--outbound-port=16001", "--exempt-outbound-port=9", "--exempt-outbound-cidr=192.0.2.0/24"];
    app.redirect(&flags).expect_ok();
    let said = app.redirect(&[&flags[..], &["--check"]].concat()).expect_ok();
    for line in [
        "ok: TCP to 198.51.100.1:10 came to port 16001, with its original destination\n",
        "ok: DNS to 198.51.100.1:53 by UDP came to port 15053, and the answer back\n",
        "ok: DNS to [2001:db8::1]:53 by TCP came to port 15053, with its original destination\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn a_running_sidecar_is_not_in_its_way() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    app.redirect(&[]).expect_ok();
    let _sidecar = app.make(|| TcpListener::bind("0.0.0.0:15001")).unwrap();
    let said = app.redirect(&["--check"]).expect_ok();
    assert!(said.contains("ok: TCP to 192.0.2.1:9 was taken, as port 15001 is by a running sidecar\n"), "{said}");
    assert!(said.contains("ok: TCP to [2001:db8::1]:9 came to port 15001"), "{said}");
}

#[test]
fn a_running_sidecar_that_lets_go_at_once_has_taken_it() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    app.redirect(&[]).expect_ok();
    let sidecar = app.make(|| TcpListener::bind("0.0.0.0:15001")).unwrap();
    std::thread::spawn(move || {
        while let Ok((connection, _)) = sidecar.accept() {
            let _ = socket2::SockRef::from(&connection).set_linger(Some(std::time::Duration::ZERO));
        }
    });
    for _ in 0..20 {
        let said = app.redirect(&["--check"]).expect_ok();
        assert!(said.contains("was taken, as port 15001 is by a running sidecar\n"), "{said}");
    }
}

#[test]
fn it_fails_without_the_rules_and_with_others() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    fails(&app, &["--check"], "there is no table inet weft");
    app.redirect(&[]).expect_ok();
    app.redirect(&["--check"]).expect_ok();
    for flags in [["--check", "--dns"], ["--check", "--inbound-port=16006"], ["--check", "--outbound-port=16001"]] {
        fails(&app, &flags, "not those that these flags set");
    }
    app.nft(&["insert rule inet weft prerouting accept"]);
    fails(&app, &["--check"], "not those that these flags set");
    app.redirect(&["--remove"]).expect_ok();
    fails(&app, &["--check"], "there is no table inet weft");
}

#[test]
fn it_fails_where_something_else_decides() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    app.redirect(&["--dns"]).expect_ok();
    app.nft(&["add table inet other; add chain inet other out { type nat hook output priority -102; }"]);
    app.nft(&["add rule inet other out meta l4proto tcp redirect to :99"]);
    fails(&app, &["--check", "--dns"], "a connection to 192.0.2.1:9 was not taken to port 15001: Connection refused");
    let other = app.listen("127.0.0.1:99");
    fails(&app, &["--check", "--dns"], "did not come to port 15001: something else redirects it first");
    drop(other);
    app.nft(&["flush chain inet other out"]);
    app.nft(&["add rule inet other out udp dport 53 redirect to :99"]);
    fails(&app, &["--check", "--dns"], "a question by UDP to 192.0.2.1:53 got no answer through port 15053");
    app.nft(&["delete table inet other"]);
    app.redirect(&["--check", "--dns"]).expect_ok();
}

#[test]
fn it_says_what_it_cannot_see() {
    let Some(Network { app, outside: _outside }) = network() else { return };
    app.redirect(&["--exempt-user=2104"]).expect_ok();
    for user in ["2102", "2104"] {
        let ended = redirect_as(user, &app, &["--check", "--exempt-user=2104"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("it runs as user {user}, whose traffic the rules leave alone")),
            "{ended:?}"
        );
    }
    app.ip(&["-6", "route", "delete", "default"]);
    app.ip(&["-6", "addr", "flush", "dev", "eth0"]);
    let said = app.redirect(&["--set", "--check"]).expect_ok();
    assert!(said.contains("not tried: IPv6: no route to 2001:db8::1: "), "{said}");
    // Where no way leads on, a neighbour will do, who is not asked.
    app.ip(&["route", "delete", "default"]);
    let said = app.redirect(&["--set", "--check"]).expect_ok();
    assert!(said.contains("ok: TCP to 10.77.0.") && !said.contains("IPv4"), "{said}");

    let alone = Host::new();
    alone.redirect(&[]).expect_ok();
    fails(&alone, &["--check"], "there is no route to check through: IPv4: no route to 192.0.2.1");
}

fn fails(host: &Host, flags: &[&str], reason: &str) {
    let ended = host.redirect(flags);
    assert_eq!(ended.code, 1, "{flags:?}: {ended:?}");
    assert!(ended.stderr.contains(reason), "{flags:?}: no {reason:?} in {}", ended.stderr);
}
