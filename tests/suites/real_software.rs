//! Programs that know nothing of the mesh, called by curl: nginx, and two servers of Python's standard library.

use std::{fs, process::Stdio};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use weft_tests::{ControlPlane, Runner, Sidecar, fixture, free_port, require};

/// Larger than everything on the way can hold in memory.
const LARGE: usize = 64 << 20;

/// nginx behind `weft run`, with a small and a large file, and a sidecar to call it through.
async fn nginx() -> (ControlPlane, Runner, Sidecar) {
    let control_plane = ControlPlane::start().await;
    let root = control_plane.folder().path().join("nginx");
    fs::create_dir_all(root.join("html")).unwrap();
    fs::write(root.join("html/hello.txt"), "hello from nginx\n").unwrap();
    let mut large = vec![0; LARGE];
    StdRng::seed_from_u64(1).fill_bytes(&mut large);
    fs::write(root.join("html/large.bin"), large).unwrap();
    // Only root's nginx has workers of another user, who could not read the temporary folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let port = free_port();
    let conf = fs::read_to_string(fixture("nginx.conf")).unwrap();
    let conf =
        conf.replace("{port}", &port.to_string()).replace("{root}", root.to_str().unwrap()).replace("{user}", user);
    let conf = control_plane.folder().file("nginx.conf", conf);
    let prefix = format!("{}/", root.display());
    let web =
        Runner::start_on(port, &control_plane, "web", &[], &["nginx", "-c", &conf, "-p", &prefix, "-e", "stderr"]);
    control_plane.serving("web", 1).await;
    let caller = control_plane.sidecar("caller").start().await;
    (control_plane, web, caller)
}

/// curl through the sidecar of the caller.
async fn curl(caller: &Sidecar, args: &[&str]) -> String {
    let proxy = format!("http://{}", caller.outbound());
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "", "--proxy", &proxy]).args(args);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn curl_reaches_nginx_and_both_sides_know_each_other() {
    if !require(&["nginx", "curl"]) {
        return;
    }
    let (_control_plane, _web, caller) = nginx().await;
    let answer = curl(&caller, &["--include", "http://web/hello.txt"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello from nginx\n"), "{answer}");
    assert!(answer.contains("weft-server-id: spiffe://weft.local/ns/default/sa/web\r\n"), "{answer}");
    assert!(answer.contains("x-saw-client: spiffe://weft.local/ns/default/sa/caller\r\n"), "{answer}");

    let forged = curl(
        &caller,
        &["--include", "--header", "weft-client-id: spiffe://weft.local/ns/default/sa/boss", "http://web/hello.txt"],
    )
    .await;
    assert!(forged.contains("x-saw-client: spiffe://weft.local/ns/default/sa/caller\r\n"), "{forged}");

    let head = curl(&caller, &["--head", "http://web.default.mesh/large.bin"]).await;
    assert!(head.contains(&format!("content-length: {LARGE}\r\n")), "{head}");
    let range = curl(&caller, &["--range", "6-9", "http://web/hello.txt"]).await;
    assert_eq!(range, "from");
    let missing = curl(&caller, &["--include", "http://web/nothing"]).await;
    assert!(missing.starts_with("HTTP/1.1 404") && !missing.contains("proxy-status"), "nginx's own word: {missing}");
}

#[tokio::test]
async fn a_large_body_streams_and_arrives_whole() {
    if !require(&["nginx", "curl"]) {
        return;
    }
    let (control_plane, _web, mut caller) = nginx().await;
    let got = control_plane.folder().path().join("got");
    curl(&caller, &["--output", got.to_str().unwrap(), "http://web/large.bin"]).await;
    let sent = fs::read(control_plane.folder().path().join("nginx/html/large.bin")).unwrap();
    assert!(fs::read(got).unwrap() == sent, "the file differs");
    let memory = caller.process().peak_memory();
    assert!(memory < LARGE as u64, "the sidecar took {} MiB for it", memory >> 20);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    if !require(&["nginx", "curl"]) {
        return;
    }
    let (_control_plane, _web, caller) = nginx().await;
    let urls = ["http://web/hello.txt"; 5];
    let format = ["--write-out", "connections=%{num_connects}\n"];
    let output = curl(&caller, &[&format[..], &urls[..]].concat()).await;
    assert_eq!(output.matches("hello from nginx").count(), 5, "{output}");
    assert_eq!(output.matches("connections=0").count(), 4, "{output}");
}

#[tokio::test]
async fn programs_under_weft_run_call_by_name() {
    if !require(&["python3", "curl"]) {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let page = control_plane.folder().path().join("page");
    fs::create_dir(&page).unwrap();
    fs::write(page.join("index.html"), "hello from python\n").unwrap();
    let serve =
        ["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1", "--directory", page.to_str().unwrap()];
    let _pages = Runner::start(&control_plane, "pages", &serve);
    control_plane.serving("pages", 1).await;
    for call in [
        "curl --silent --show-error --include http://pages/",
        "curl --silent --show-error --include --proxy \"$WEFT_OUTBOUND\" http://pages.default/",
        "http_proxy= curl --silent --show-error --include --proxy \"$HTTP_PROXY\" http://pages:80/index.html",
        "http_proxy= curl --silent --show-error --include --header 'host: pages' \"$WEFT_OUTBOUND/\"",
    ] {
        let answer = Runner::start(&control_plane, "caller", &["sh", "-c", call]).output().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello from python"), "{call}: {answer}");
        assert!(answer.contains("weft-server-id: spiffe://weft.local/ns/default/sa/pages"), "{call}: {answer}");
    }
}

#[tokio::test]
async fn uploads_arrive_whole_however_they_are_framed() {
    if !require(&["python3", "curl", "sha256sum"]) {
        return;
    }
    let control_plane = ControlPlane::start().await;
    let server = fixture("upload_server.py");
    let _uploads = Runner::start(&control_plane, "uploads", &["python3", &server, "{port}"]);
    control_plane.serving("uploads", 1).await;
    let caller = control_plane.sidecar("caller").start().await;
    let mut bytes = vec![0; 8 << 20];
    StdRng::seed_from_u64(2).fill_bytes(&mut bytes);
    let file = control_plane.folder().file("upload", bytes);
    let sum = tokio::process::Command::new("sha256sum").arg(&file).output().await.unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let sum = sum.split(' ').next().unwrap();
    let expectless = ["--header", "expect:"];
    for (framing, extra) in
        [("length", &[][..]), ("length", &expectless[..]), ("chunked", &["--header", "transfer-encoding: chunked"][..])]
    {
        let answer = curl(&caller, &[extra, &["--upload-file", &file, "http://uploads/"][..]].concat()).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["framing"], framing);
        assert_eq!(answer["length"], 8 << 20);
        assert_eq!(answer["sha256"], sum);
    }
    let seen = curl(
        &caller,
        &[
            "--header",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "--header",
            "connection: x-hop",
            "--header",
            "x-hop: 1",
            "http://uploads/p?q=1",
        ],
    )
    .await;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["path"], "/p?q=1");
    let headers = &seen["headers"];
    assert_eq!(headers["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert!(headers["forwarded"].as_str().unwrap().contains("for=127.0.0.1"), "{headers}");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert!(headers.get("x-hop").is_none() && headers.get("proxy-connection").is_none(), "{headers}");
}
