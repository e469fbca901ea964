//! A program that listens on several ports: each is called by the one name, and has policies and a health of its own.

use serde_json::Value;
use weft_tests::{
    eventually,
    pods::{
        Capture, Mesh, Pod, require_pods,
        software::{Web, marker},
    },
};

use super::pair::{CALLER, NAME, NAMES};

const PORTS: [u16; 2] = [Web::PORT, Web::FURTHER_PORT];

/// The head and the body of what the port answers.
async fn hello(client: &Pod, host: &str, port: u16) -> String {
    let url = format!("http://{host}:{port}/hello.txt");
    client.run(&["curl", "--silent", "--include", "--max-time", "20", &url]).await.stdout
}

#[tokio::test]
async fn each_port_is_called_by_the_one_name() {
    if !require_pods(&[&["nft", "tcpdump"], Web::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let further = Web::FURTHER_PORT.to_string();
    let server = mesh.pod(NAME).serves(Web::PORT).flag("--service-port", &further).start();
    let (server, client) = tokio::join!(server, mesh.pod("client").start());
    let stranger = mesh.stranger("stranger");
    let marker = marker();
    let _web = Web::serve(&server, &marker, &NAMES).await;
    mesh.control_plane().serving(NAME, 1).await;
    let permissive = format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: AccessPolicy\n\
         metadata: {{name: {NAME}, namespace: shop}}\n\
         spec: {{targetRef: {{kind: Service, name: {NAME}}}, ports: [{{port: {further}, mtls: permissive}}]}}\n"
    );
    mesh.control_plane().apply(&permissive).await;

    let capture = Capture::start(&server).await;
    let own = server.v4().to_string();
    for (host, port) in [NAME, &own].into_iter().flat_map(|host| PORTS.map(|port| (host, port))) {
        let carried =
            async || client.metric_sum("weft_requests_total", &[&format!("backend=\"shop/{NAME}:{port}\"")]).await;
        let before = carried().await;
        let answer = hello(&client, host, port).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&marker), "{host}:{port}: {answer}");
        assert!(answer.contains(&format!("x-saw-client: {CALLER}\r\n")), "{host}:{port}: {answer}");
        assert_eq!(carried().await, before + 1.0, "{host}:{port}");
    }
    assert!(!capture.finish().await.contains(&marker), "it could be read on the wire");
    for port in PORTS {
        assert!(hello(&server, "db.shop", port).await.ends_with(&marker), "it calls itself, at {port}");
    }

    let refused = hello(&stranger, &own, Web::PORT).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let answer = hello(&stranger, &own, Web::FURTHER_PORT).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("x-saw-client"), "{answer}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_takes_no_other_out() {
    if !require_pods(&[&["nft"], Web::PROGRAMS].concat()) {
        return;
    }
    let mesh = Mesh::start().await;
    let server = mesh.pod(NAME).serves(Web::PORT).flag("--service-port", "9999,8080").start();
    let (server, client) = tokio::join!(server, mesh.pod("client").start());
    let marker = marker();
    let _web = Web::serve(&server, &marker, &NAMES).await;
    eventually("80 and 8080 take part in balancing", async || {
        let endpoints = mesh.control_plane().json(&["endpoints", "shop/db"]).await;
        let endpoints = endpoints.as_array().cloned().unwrap_or_default();
        let port = |endpoint: &Value| (endpoint["port"].as_u64(), endpoint["healthy"] == true);
        match endpoints.iter().map(port).collect::<Vec<_>>()[..] {
            [(Some(80), true), (Some(8080), true), (Some(9999), false)] => Ok(()),
            _ => Err(format!("{endpoints:?}")),
        }
    })
    .await;
    let missed = hello(&client, NAME, 9999).await;
    assert!(missed.contains("proxy-status"), "nobody is there: {missed}");
    for port in PORTS {
        assert!(hello(&client, NAME, port).await.ends_with(&marker), "{port}");
    }
    let status = mesh.control_plane().weft(&["status"]).await.expect_ok();
    let row = status.lines().find(|line| line.contains("shop/db")).unwrap_or_default();
    assert!(row.contains(&format!("{}:80,9999,8080", server.v4())) && row.contains("not serving at 9999"), "{status}");
}
