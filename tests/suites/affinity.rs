//! Keys and sessions: each at its endpoint, from every sidecar, and no more of them move than must.

use std::collections::{BTreeMap, BTreeSet};

use weft_tests::{Answer, ControlPlane, Sidecar, Workload, request, send, service};

const USERS: usize = 40;

struct Mesh {
    /// Lives as long as the mesh.
    _control_plane: ControlPlane,
    workloads: BTreeMap<&'static str, Workload>,
    callers: [Sidecar; 2],
}

/// The service `orders` of three workloads, and two sidecars that call it.
async fn mesh(rules: &str) -> Mesh {
    let control_plane = ControlPlane::start().await;
    let mut workloads = BTreeMap::new();
    for name in ["a", "b", "c"] {
        workloads.insert(name, Workload::start(&control_plane, "orders", name).await);
    }
    let callers = [control_plane.sidecar("caller").start().await, control_plane.sidecar("other").start().await];
    control_plane.apply(&format!("{}---\n{rules}", service("orders"))).await;
    Mesh { _control_plane: control_plane, workloads, callers }
}

impl Mesh {
    async fn ask(&self, caller: usize, header: &str, value: &str) -> Answer {
        let answer = send(self.callers[caller].outbound(), request("http://orders/").header(header, value)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Who answers each user.
    async fn homes(&self, caller: usize) -> Vec<String> {
        let mut homes = Vec::new();
        for user in 0..USERS {
            homes.push(self.ask(caller, "x-user", &format!("user-{user}")).await.text());
        }
        homes
    }

    fn kill(&mut self, name: &str) {
        self.workloads.get_mut(name).unwrap().sidecar.kill();
    }
}

#[tokio::test]
async fn a_user_has_one_endpoint_from_every_sidecar_and_only_the_users_of_a_lost_one_move() {
    for kind in ["RingHash", "Maglev"] {
        let policy = format!(
            "apiVersion: weft.dev/v1alpha1\n\
             kind: TrafficPolicy\n\
             metadata: {{name: orders}}\n\
             spec: {{targetRef: {{kind: MeshService, name: orders}}, loadBalancer: {{type: {kind}, hashOn: {{header: x-user}}}}}}\n"
        );
        let mut mesh = mesh(&policy).await;
        let homes = mesh.homes(0).await;
        assert_eq!(mesh.homes(0).await, homes, "{kind}: they stay");
        assert_eq!(mesh.homes(1).await, homes, "{kind}: the other sidecar agrees");
        assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 3, "{kind}: all of them are used: {homes:?}");

        mesh.kill("b");
        for (user, (before, after)) in homes.iter().zip(mesh.homes(0).await).enumerate() {
            match before.as_str() {
                "b" => assert_ne!(after, "b", "{kind}: user {user}"),
                stays => assert_eq!(after, stays, "{kind}: user {user}"),
            }
        }
    }
}

#[tokio::test]
async fn a_session_stays_at_its_endpoint_and_moves_when_that_is_lost() {
    let route = r#"apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{group: "", kind: Service, name: orders}]
  rules:
    - sessionPersistence: {sessionName: seat}
      backendRefs: [{group: weft.dev, kind: MeshService, name: orders, port: 80}]
"#;
    let mut mesh = mesh(route).await;
    let first = mesh.ask(0, "cookie", "other=1").await;
    let seat = cookie(&first).expect("a session begins");
    for caller in [0, 1, 0, 1, 0, 1, 0, 1] {
        let answer = mesh.ask(caller, "cookie", &format!("other=1; {seat}")).await;
        assert_eq!((answer.text(), cookie(&answer)), (first.text(), None), "sidecar {caller}");
    }
    let answered: u64 = mesh.workloads.values().map(|workload| workload.app.answered()).sum();
    assert_eq!(answered, 9, "each request went to one of them, once");

    mesh.kill(&first.text());
    let moved = mesh.ask(0, "cookie", &seat).await;
    let new_seat = cookie(&moved).expect("the session has moved");
    assert_ne!(moved.text(), first.text());
    for caller in [0, 1, 0, 1] {
        assert_eq!(mesh.ask(caller, "cookie", &new_seat).await.text(), moved.text(), "sidecar {caller}");
    }
}

/// The name and value of the cookie that the answer sets.
fn cookie(answer: &Answer) -> Option<String> {
    let set = Some(answer.header("set-cookie")).filter(|set| !set.is_empty())?;
    assert!(set.starts_with("seat=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    set.split(';').next().map(str::to_owned)
}
