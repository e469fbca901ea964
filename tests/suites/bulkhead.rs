//! The bulkhead of a backend: a slow service gets what it may have, and takes nothing of its neighbour.

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use weft_tests::{
    Answer, Behaviour, ControlPlane, Sidecar, Workload, echo, eventually, get, open_tunnel, service, split, versions,
};

struct Mesh {
    control_plane: ControlPlane,
    orders: Workload,
    caller: Sidecar,
}

fn policy(target: &str, rest: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\n\
         kind: TrafficPolicy\n\
         metadata: {{name: {target}}}\n\
         spec:\n  \
           targetRef: {{kind: MeshService, name: {target}}}\n  \
           {rest}\n"
    )
}

/// `orders` with this bulkhead.
async fn mesh(bulkhead: &str) -> Mesh {
    let control_plane = ControlPlane::start().await;
    let orders = Workload::start(&control_plane, "orders", "slow").await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&[service("orders"), policy("orders", bulkhead)].join("---\n")).await;
    Mesh { control_plane, orders, caller }
}

impl Mesh {
    async fn ask(&self) -> Answer {
        get(self.caller.outbound(), "http://orders/").await
    }

    fn asking(&self) -> JoinHandle<Answer> {
        let outbound = self.caller.outbound();
        tokio::spawn(async move { get(outbound, "http://orders/").await })
    }

    /// Requests that the app holds: all that may be under way, and all that may wait.
    async fn fill(&self, under_way: usize, waiting: usize) -> Vec<JoinHandle<Answer>> {
        self.orders.app.set(Behaviour::Hold);
        let asking: Vec<_> = (0..under_way + waiting).map(|_| self.asking()).collect();
        self.metric_is("requests", under_way).await;
        self.metric_is("waiting", waiting).await;
        eventually("the app has them", async || match self.orders.app.in_flight() {
            now if now == under_way as u64 => Ok(()),
            now => Err(format!("{now} instead of {under_way}")),
        })
        .await;
        asking
    }

    async fn metric_is(&self, name: &str, value: usize) {
        let series = format!("weft_bulkhead_{name}{{backend=\"default/orders:80\"}}");
        eventually(&series, async || match self.caller.metric(&series).await {
            now if now == value as f64 => Ok(()),
            now => Err(format!("{now} instead of {value}")),
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_backend_never_takes_the_capacity_of_its_neighbour() {
    let mesh = mesh("bulkhead: {maxRequests: 4, maxWaiting: 2}").await;
    let neighbour = Workload::start(&mesh.control_plane, "payments", "neighbour").await;
    let held = mesh.fill(4, 2).await;

    for refused in join_all((0..30).map(|_| mesh.ask())).await {
        assert_eq!(refused.status, 503);
        let why = refused.header("proxy-status");
        assert!(why.starts_with("weft-outbound; error=connection_limit_reached; "), "{why}");
        assert!(why.contains("the bulkhead of default/orders:80 is full: 4 requests are under way"), "{why}");
        assert_eq!(refused.header("retry-after"), "1");
    }
    let outbound = mesh.caller.outbound();
    for answer in join_all((0..100).map(|_| get(outbound, "http://payments/"))).await {
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "neighbour"));
    }
    assert_eq!((mesh.orders.app.begun(), neighbour.app.answered()), (4, 100));
    mesh.metric_is("refused_total", 30).await;
    let lines = mesh.caller.log_lines(&["bulkhead full", "default/orders:80", "and 2 wait already"]);
    assert!((1..=10).contains(&lines.len()), "not a line for each: {lines:?}");

    mesh.orders.app.set(Behaviour::Answer);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200, "who was under way, and who waited");
    }
    mesh.metric_is("requests", 0).await;
    assert_eq!(mesh.ask().await.text(), "slow");
    let circuits = mesh.control_plane.json(&["circuits", "orders"]).await;
    assert!(circuits.as_array().unwrap().iter().all(|circuit| circuit["state"] == "closed"), "{circuits}");
}

#[tokio::test]
async fn who_goes_away_frees_its_place_and_its_seat() {
    let mesh = mesh("bulkhead: {maxRequests: 1, maxWaiting: 1}").await;
    for _ in 0..3 {
        let held = mesh.fill(1, 1).await;
        held.iter().for_each(JoinHandle::abort);
        mesh.metric_is("waiting", 0).await;
        mesh.metric_is("requests", 0).await;
    }
    mesh.orders.app.set(Behaviour::Answer);
    assert_eq!(mesh.ask().await.text(), "slow");
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let mesh = mesh("bulkhead: {maxRequests: 1, maxWaiting: 1, maxWait: 50ms}").await;
    let _held = mesh.fill(1, 0).await;
    let refused = mesh.ask().await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("proxy-status").contains("none of them has ended within 50.000ms"), "{refused:?}");

    mesh.control_plane.apply(&policy("orders", "bulkhead: {maxRequests: 2}")).await;
    mesh.metric_is("limit", 2).await;
    let _second = mesh.asking();
    mesh.metric_is("requests", 2).await;
    assert!(mesh.ask().await.header("proxy-status").contains("2 requests are under way"), "the first one still counts");
}

#[tokio::test]
async fn the_fallback_takes_what_the_bulkhead_refuses() {
    let control_plane = ControlPlane::start().await;
    let _v1 = Workload::start(&control_plane, "orders", "v1").await;
    let v2 = Workload::start(&control_plane, "orders", "v2").await;
    let caller = control_plane.sidecar("caller").start().await;
    let rest = "bulkhead: {maxRequests: 1}\n  \
        fallback: {backendRef: {group: weft.dev, kind: MeshService, name: orders-v1, port: 80}}";
    control_plane.apply(&[versions("orders"), split("orders", 0, 1), policy("orders-v2", rest)].join("---\n")).await;
    v2.app.set(Behaviour::Hold);
    let outbound = caller.outbound();
    let _held = tokio::spawn(async move { get(outbound, "http://orders/").await });
    eventually("the app has it", async || if v2.app.in_flight() == 1 { Ok(()) } else { Err("not yet") }).await;
    let answer = get(outbound, "http://orders/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "v1"));
    let note = answer.header("proxy-status");
    assert!(note.contains("bulkhead full for default/orders-v2:80"), "{note}");
}

#[tokio::test]
async fn a_connection_of_bytes_counts_as_one_request() {
    let control_plane = ControlPlane::start().await;
    let _echo = control_plane.sidecar("echo").serves(echo().await).start().await;
    let caller = control_plane.sidecar("caller").start().await;
    control_plane.apply(&[service("echo"), policy("echo", "bulkhead: {maxRequests: 1}")].join("---\n")).await;
    let first = echoed(&caller).await.expect("the one that there may be");
    assert!(echoed(&caller).await.is_none(), "refused");
    drop(first);
    eventually("its place is free", async || echoed(&caller).await.map(drop).ok_or("not yet")).await;
}

/// A tunnel through which bytes came back; `None` where it was closed instead.
async fn echoed(caller: &Sidecar) -> Option<TcpStream> {
    let mut tunnel = open_tunnel(caller.outbound(), "echo:80").await;
    tunnel.write_all(b"\0bytes").await.ok()?;
    let mut back = [0; 6];
    tunnel.read_exact(&mut back).await.ok()?;
    Some(tunnel)
}
