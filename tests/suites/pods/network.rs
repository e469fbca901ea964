//! The pods themselves: what they can and cannot reach, and that nothing of them stays.

use std::{fs, panic};

use weft_tests::{
    eventually,
    pods::{Capture, Network, User, require_pods},
};

#[tokio::test]
async fn pods_reach_each_other_and_have_files_and_users_of_their_own() {
    if !require_pods(&["ss", "tcpdump"]) {
        return;
    }
    let network = Network::new();
    let (one, two) = (network.pod("one"), network.pod("two"));
    for (address, port) in [(two.v4().to_string(), 80), (two.v6().to_string(), 81)] {
        let _answer = two.start(&["nc", "-l", &address, &port.to_string()]);
        two.listens(port).await;
        one.run(&["nc", "-z", &address, &port.to_string()]).await.expect_ok();
    }
    assert_eq!(
        one.run(&["sh", "-c", "id -u; id -un; cat /etc/resolv.conf"]).await.expect_ok(),
        "1000\napp\nnameserver 10.88.0.1\n"
    );
    let proxy = one.words(User::PROXY, &["id", "-un"]).output().unwrap();
    assert_eq!(String::from_utf8(proxy.stdout).unwrap(), "weft\n");
    one.knows("db", two.v6());
    assert!(one.run(&["getent", "hosts", "db"]).await.expect_ok().starts_with(&two.v6().to_string()));
    assert_eq!(two.run(&["getent", "hosts", "db"]).await.code, 2, "it is no one else's file");
    let addresses = fs::read_to_string("/proc/net/fib_trie").unwrap();
    assert!(!addresses.contains("10.88.0."), "nothing of it is on the machine's own network");
}

#[tokio::test]
async fn an_address_of_elsewhere_leads_to_the_pod_that_has_it() {
    if !require_pods(&["ss", "socat"]) {
        return;
    }
    let network = Network::new();
    let (near, far) = (network.pod("near"), network.pod("far"));
    far.is_also("203.0.113.7".parse().unwrap(), "203.0.113.0/24");
    far.is_also("2001:db8::7".parse().unwrap(), "2001:db8::/64");
    let _server = far.start(&["socat", "TCP6-LISTEN:7,ipv6only=0,fork", "EXEC:true"]);
    far.listens(7).await;
    for address in ["203.0.113.7", "2001:db8::7"] {
        near.run(&["nc", "-z", address, "7"]).await.expect_ok();
    }
}

#[tokio::test]
async fn a_capture_holds_all_of_its_time_and_nothing_else() {
    if !require_pods(&["tcpdump"]) {
        return;
    }
    let network = Network::new();
    let (from, to) = (network.pod("from"), network.pod("to"));
    let send = async |word: &str| {
        let script = format!("printf %s {word} > /dev/udp/{}/7", to.v4());
        from.run(&["bash", "-c", &script]).await.expect_ok();
    };
    send("word-before").await;
    let capture = Capture::start(&to).await;
    send("word-during").await;
    let captured = capture.finish().await;
    assert!(captured.contains("word-during") && !captured.contains("word-before"));
}

#[tokio::test]
async fn nothing_stays_after_a_panic() {
    if !require_pods(&["setsid", "sleep"]) {
        return;
    }
    let namespaces = || -> Vec<_> {
        let own = format!("weft-tests.{}.", std::process::id());
        let all = fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.filter(|name| name.starts_with(&own) && name.ends_with(".doomed")).collect()
    };
    let mut pid = None;
    // What is caught has unwound: values were dropped on the way.
    let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let network = Network::new();
        let pod = network.pod("doomed");
        assert_eq!(namespaces().len(), 1);
        // In a session of its own, as databases start their processes.
        assert!(pod.words(User::APP, &["setsid", "--fork", "sleep", "600"]).status().unwrap().success());
        let inside = std::process::Command::new("ip").args(["netns", "pids", &namespaces()[0]]).output().unwrap();
        pid = Some(String::from_utf8(inside.stdout).unwrap().trim().to_owned());
        panic!("as planned");
    }));
    assert!(caught.is_err() && namespaces().is_empty());
    // Whatever has its number now, a sleep of ten minutes is not among it.
    let cmdline = format!("/proc/{}/cmdline", pid.unwrap());
    eventually("its process is gone", async || match fs::read_to_string(&cmdline) {
        Ok(words) if words.contains("600") => Err(words),
        _ => Ok(()),
    })
    .await;
}
