//! A workload leaves: its endpoint is taken out first, what is in flight ends, and no caller notices.

use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_tests::{App, Behaviour, ControlPlane, Load, Workload, echo, eventually, get, open_tunnel};

#[tokio::test]
async fn an_endpoint_that_leaves_under_load_costs_no_request() {
    let control_plane = ControlPlane::start().await;
    let _stays = Workload::start(&control_plane, "orders", "v1").await;
    let mut leaves = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    let load = Load::start(caller.outbound(), "http://orders/", 8, 400);
    load.more(200).await;
    leaves.sidecar.admin_request(Method::POST, "/shutdown").await;
    assert!(leaves.sidecar.process().ended().await.success());
    control_plane.serving("orders", 1).await;
    load.more(200).await;
    load.stop().await.assert_none_failed();
    for _ in 0..20 {
        assert_eq!(get(caller.outbound(), "http://orders/").await.text(), "v1");
    }
}

#[tokio::test]
async fn who_comes_to_a_draining_sidecar_is_refused_at_once_and_who_is_there_is_served() {
    let control_plane = ControlPlane::start().await;
    let app = App::start("slow").await;
    let orders = control_plane.sidecar("orders").serves(app.address()).start().await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.serving("orders", 1).await;
    app.set(Behaviour::Hold);
    let outbound = caller.outbound();
    let in_flight = tokio::spawn(async move { get(outbound, "http://orders/").await });
    eventually("the request is in flight", async || match app.in_flight() {
        0 => Err("not yet"),
        _ => Ok(()),
    })
    .await;

    let drain = async { orders.admin_request(Method::POST, "/drain").await };
    let inbound = orders.inbound();
    let release = async {
        eventually("newcomers are refused", async || match tokio::net::TcpStream::connect(inbound).await {
            Ok(_) => Err("accepted"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            Err(_) => Err("another error"),
        })
        .await;
        app.set(Behaviour::Answer);
    };
    let (drained, ()) = tokio::join!(drain, release);
    assert!(drained.contains("\"unfinished\": 0"), "{drained}");
    assert_eq!(in_flight.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_tunnel_of_bytes_is_counted_and_waited_for() {
    let control_plane = ControlPlane::start().await;
    let _echo = control_plane.sidecar("echo").serves(echo().await).start().await;
    let mut caller = control_plane.sidecar("caller").start().await;
    let mut tunnel = open_tunnel(caller.outbound(), "echo:80").await;
    let echoes = async |tunnel: &mut TcpStream| {
        tunnel.write_all(b"\0bytes").await.unwrap();
        let mut back = [0; 6];
        tunnel.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"\0bytes");
    };
    echoes(&mut tunnel).await;
    assert_eq!(caller.metric("weft_connections{direction=\"outbound\"}").await, 1.0);

    caller.admin_request(Method::POST, "/shutdown").await;
    eventually("it stops", async || match caller.log_lines(&["stopping"]).is_empty() {
        true => Err("not yet"),
        false => Ok(()),
    })
    .await;
    for _ in 0..20 {
        echoes(&mut tunnel).await;
        tokio::task::yield_now().await;
    }
    assert!(caller.process().runs());
    drop(tunnel);
    assert!(caller.process().ended().await.success());
}

#[tokio::test]
async fn a_web_page_cannot_stop_a_sidecar() {
    let control_plane = ControlPlane::start().await;
    let sidecar = control_plane.sidecar("orders").start().await;
    let page = sidecar.admin_request_from(Method::POST, "/shutdown", Some("http://evil.example")).await;
    assert!(page.contains("not from a web page"), "{page}");
    assert!(sidecar.admin_request(Method::GET, "/ready").await.contains("ready"));
}
