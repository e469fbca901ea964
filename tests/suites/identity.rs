//! Who is not who they must be is refused, counted, and explained in one line of the log.

use std::{
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::ClientConfig;
use tokio::io::AsyncReadExt;
use weft_certs::{
    Ca, SpiffeId, TrustBundle,
    tls::{bootstrap_client_config, client_config, server_config},
};
use weft_tests::{
    Behaviour, ControlPlane, Folder, Impostor, Process, Sidecar, Workload, connect, eventually, get, identity, weft,
};

const HOUR: Duration = Duration::from_secs(3600);
const ALPN: &[&[u8]] = &[b"weft-h2", b"weft-http/1.1"];

fn id(account: &str) -> SpiffeId {
    SpiffeId::workload(&"weft.local".parse().unwrap(), "default", account).unwrap()
}

/// A CA of the same trust domain that is not the mesh's.
fn foreign_ca() -> Ca {
    Ca::create("weft.local".parse().unwrap(), SystemTime::now()).unwrap()
}

/// Waits until the refusal is counted once, and explained in one line.
async fn refused(sidecar: &Sidecar, direction: &str, reason: &str, explanation: &str) {
    let series = format!(r#"weft_tls_handshakes_refused_total{{direction="{direction}",reason="{reason}"}}"#);
    eventually(&format!("{series} is 1"), async || match sidecar.metric(&series).await {
        1.0 => Ok(()),
        other => Err(other),
    })
    .await;
    let lines = eventually("the refusal is in the log", async || {
        let lines = sidecar.log_lines(&[&format!("reason=\"{reason}\"")]);
        if lines.is_empty() { Err(sidecar.log().join("\n")) } else { Ok(lines) }
    })
    .await;
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains(explanation), "{lines:#?}");
}

/// Connects with `config` to a workload, and sees that nothing comes of it.
async fn intrude(reason: &str, explanation: &str, config: impl FnOnce(&ControlPlane) -> Arc<ClientConfig>) {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    // In TLS 1.3 the client hears of the refusal only when it reads.
    if let Ok(mut stream) = connect(orders.sidecar.inbound(), config(&control_plane)).await {
        let request = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, request).await;
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await;
        assert!(end.is_err() && answer.is_empty(), "{end:?}: {}", String::from_utf8_lossy(&answer));
    }
    refused(&orders.sidecar, "inbound", reason, explanation).await;
    assert_eq!(orders.app.begun(), 0);
}

#[tokio::test]
async fn a_client_without_a_certificate() {
    intrude("no_certificate", "showed no certificate", |control_plane| {
        bootstrap_client_config(control_plane.trust_bundle(), id("orders"), ALPN)
    })
    .await;
}

#[tokio::test]
async fn a_client_of_another_ca() {
    intrude("unknown_issuer", "not in the trust bundle", |control_plane| {
        let svid = foreign_ca().issue(&id("caller"), HOUR, SystemTime::now()).unwrap();
        client_config(&identity(svid, control_plane.trust_bundle()), ALPN)
    })
    .await;
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired() {
    intrude("expired", "has expired", |control_plane| {
        let earlier = SystemTime::now() - 2 * HOUR;
        let svid = control_plane.ca().issue(&id("caller"), HOUR, earlier).unwrap();
        client_config(&identity(svid, control_plane.trust_bundle()), ALPN)
    })
    .await;
}

/// A service whose only endpoint is at `address`, where `account` must answer.
fn fixed(address: std::net::SocketAddr, account: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: MeshService\n\
         metadata: {{name: fixed}}\n\
         spec: {{static: [{{address: \"{address}\", identity: \"{}\"}}]}}\n",
        id(account)
    )
}

/// Calls the service through a new sidecar, which must not send anything.
async fn call_is_refused(control_plane: &ControlPlane, reason: &str, explanation: &str) {
    let caller = control_plane.sidecar("caller").start().await;
    let answer = get(caller.outbound(), "http://fixed/").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let why = answer.header("proxy-status");
    assert!(why.contains("error=tls_certificate_error") && why.contains(explanation), "{why}");
    refused(&caller, "outbound", reason, explanation).await;
}

#[tokio::test]
async fn a_workload_of_the_mesh_that_is_not_the_one_that_was_meant() {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "v1").await;
    orders.app.set(Behaviour::Answer);
    control_plane.apply(&fixed(orders.sidecar.inbound(), "payments")).await;
    call_is_refused(&control_plane, "wrong_identity", "expected spiffe://weft.local/ns/default/sa/payments").await;
    assert_eq!(orders.app.begun(), 0);
}

async fn impostor(
    svid_of: impl FnOnce(&ControlPlane) -> (weft_certs::Svid, TrustBundle),
    reason: &str,
    explanation: &str,
) {
    let control_plane = ControlPlane::start().await;
    let (svid, bundle) = svid_of(&control_plane);
    let impostor = Impostor::start(server_config(&identity(svid, bundle), ALPN)).await;
    control_plane.apply(&fixed(impostor.address(), "payments")).await;
    call_is_refused(&control_plane, reason, explanation).await;
    assert_eq!(impostor.received(), 0, "not a byte of the request was sent");
}

#[tokio::test]
async fn a_server_of_another_ca() {
    let foreign = |control_plane: &ControlPlane| {
        let svid = foreign_ca().issue(&id("payments"), HOUR, SystemTime::now()).unwrap();
        (svid, control_plane.trust_bundle())
    };
    impostor(foreign, "unknown_issuer", "not in the trust bundle").await;
}

#[tokio::test]
async fn a_server_whose_certificate_has_expired() {
    let expired = |control_plane: &ControlPlane| {
        let svid = control_plane.ca().issue(&id("payments"), HOUR, SystemTime::now() - 2 * HOUR).unwrap();
        (svid, control_plane.trust_bundle())
    };
    impostor(expired, "expired", "has expired").await;
}

/// A sidecar with this token ends by itself, says why, and is counted.
async fn token_is_refused(control_plane: &ControlPlane, token: &str, reason: &str, explanation: &str) {
    let mut sidecar = control_plane.sidecar("orders").token(token).launch().await;
    let status = sidecar.process().ended().await;
    assert!(!status.success() && sidecar.process().stdout().is_empty(), "{status}");
    let said = eventually("it says why", async || match sidecar.log_lines(&["refused", explanation]) {
        lines if lines.is_empty() => Err(sidecar.log().join("\n")),
        lines => Ok(lines),
    })
    .await;
    assert_eq!(said.len(), 1, "{said:?}");
    let series = format!(r#"weft_control_plane_certificates_refused_total{{reason="{reason}"}}"#);
    assert_eq!(control_plane.metric(&series).await, 1.0, "{series}");
    let log = eventually("the control plane says why, too", async || {
        let log = control_plane.log();
        let lines: Vec<_> = log.iter().filter(|line| line.contains("no SVID was issued")).cloned().collect();
        if lines.is_empty() { Err(log.join("\n")) } else { Ok(lines) }
    })
    .await;
    assert!(log.len() == 1 && log[0].contains("WARN") && log[0].contains(explanation), "{log:#?}");
    assert!(!log[0].contains(token), "the secret stays out of the log");
}

#[tokio::test]
async fn a_token_that_nobody_made() {
    let control_plane = ControlPlane::start().await;
    let token = format!("weft-join-{}-{}", "0".repeat(16), "1".repeat(64));
    token_is_refused(&control_plane, &token, "token_unknown", "unknown").await;
}

#[tokio::test]
async fn a_token_that_is_used_up() {
    let control_plane = ControlPlane::start().await;
    let made = control_plane.json(&["token", "create", "--service-account", "orders", "--uses", "1"]).await;
    let token = made["token"].as_str().unwrap();
    let _first = control_plane.sidecar("orders").token(token).start().await;
    token_is_refused(&control_plane, token, "token_used_up", "used up").await;
}

#[tokio::test]
async fn a_token_that_has_expired() {
    let control_plane = ControlPlane::start().await;
    let made = control_plane.json(&["token", "create", "--service-account", "orders", "--ttl", "1s"]).await;
    // Its time is known, and nothing else is waited for.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    token_is_refused(&control_plane, made["token"].as_str().unwrap(), "token_expired", "expired").await;
}

#[tokio::test]
async fn a_token_for_another_service() {
    let control_plane = ControlPlane::start().await;
    let made = control_plane.json(&["token", "create", "--service-account", "caller"]).await;
    let token = made["token"].as_str().unwrap();
    let flags = control_plane.sidecar("caller").token(token).flag("--service", "orders").flag("--app", "127.0.0.1:1");
    let sidecar = flags.launch().await;
    eventually("the sidecar is told", async || {
        match sidecar.log_lines(&["refused the registration", "default/orders"]) {
            lines if lines.is_empty() => Err(sidecar.log().join("\n")),
            lines => Ok(lines),
        }
    })
    .await;
    assert!(control_plane.metric("weft_control_plane_registrations_refused_total").await >= 1.0);
    assert_eq!(control_plane.weft(&["endpoints", "orders"]).await.code, 1, "there is no such service");
}

#[tokio::test]
async fn the_admin_api_serves_nothing_without_credentials() {
    let control_plane = ControlPlane::start().await;
    let admin_yaml = std::fs::read_to_string(control_plane.folder().path().join("control-plane/admin.yaml")).unwrap();
    let without: String =
        admin_yaml.lines().filter(|line| !line.starts_with("token:")).map(|line| format!("{line}\n")).collect();
    let file = control_plane.folder().file("forged.yaml", format!("{without}token: {}\n", "0".repeat(64)));
    for command in ["status", "get", "history", "export", "circuits"] {
        let output = control_plane.weft(&[command, "--config", &file]).await;
        assert!(output.code == 4 && output.stdout.is_empty(), "{command}: {output:?}");
    }
    assert_eq!(control_plane.metric("weft_control_plane_admin_unauthorized_total").await, 5.0);
}

#[tokio::test]
async fn a_sidecar_starts_from_the_folder_that_its_token_was_written_to_and_is_probed() {
    let control_plane = ControlPlane::start().await;
    let folder = Folder::new();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let own = rustix::process::geteuid().as_raw().to_string();
    let accounts = [format!("orders={one}"), format!("carts={two}")];
    let write = ["token", "write", "--owner", &own, &accounts[0], &accounts[1]];
    let said = control_plane.weft(&write).await.expect_ok();
    assert!(said.contains("/sa/orders, expires in") && said.contains("/sa/carts, expires in"), "{said}");
    for (path, mode) in [(one.clone(), 0o700), (format!("{one}/join-token"), 0o600)] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    let token = |folder: &str| std::fs::read_to_string(format!("{folder}/join-token")).unwrap();
    assert_ne!(token(&one), token(&two));
    assert!(!said.contains(&token(&one)));
    assert_eq!(control_plane.weft(&["token", "write", "orders"]).await.code, 2);

    let grpc = control_plane.grpc().to_string();
    let (anchor, token) = (format!("{one}/trust-anchor.pem"), format!("{one}/join-token"));
    let proxy = ["proxy", "--control-plane", &grpc, "--trust-anchor", &anchor, "--join-token-file", &token];
    let any = ["--outbound-listen", "127.0.0.1:0", "--inbound-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut sidecar = Process::start("sidecar", &mut weft(&[&proxy[..], &any].concat()), &folder);
    let ready = sidecar.announces("weft-proxy ready").await;
    let (_, admin) = ready.rsplit_once("admin=").unwrap();
    let probe = ["probe", "sidecar", "--address", admin];
    assert_eq!(control_plane.weft(&probe).await.expect_ok(), "ready\n");
    assert_eq!(control_plane.weft(&["probe", "control-plane"]).await.expect_ok(), "ready\n");
    sidecar.kill();
    let gone = control_plane.weft(&probe).await;
    assert!(gone.code == 1 && gone.stderr.contains("the sidecar is not there"), "{gone:?}");
    // Without a sidecar it is the control plane that is meant.
    let either = ["probe", "--address", admin];
    assert_eq!(control_plane.weft(&either).await.expect_ok(), "ready\n");
}
