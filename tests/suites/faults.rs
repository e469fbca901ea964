//! What a client sees while something breaks: each fault under load, each call with a deadline, every outcome counted.
//! The lines that are printed are those of the table in docs/resilience.md.

mod names;
mod network;
mod once;
mod processes;

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::watch;
use weft_tests::{ControlPlane, Fault, Faults, FaultyApp, Seen, Sidecar, calls, request};

const URL: &str = "http://orders/";
const GETS: u64 = 600;
const CLIENTS: usize = 8;
/// An endpoint is left out after five failures in a row. Until then so many calls meet it, and as many as are under way.
const UNTIL_EJECTED: u64 = 5 + CLIENTS as u64;
/// For a whole call.
const REQUEST_LIMIT: &str = "request: 1s";
/// For each attempt, so that there is time for another one.
const ATTEMPT_LIMIT: &str = "request: 10s, backendRequest: 300ms";

/// Three workloads of one service, and a caller. The first application does as it is told.
struct Mesh {
    control_plane: ControlPlane,
    apps: Vec<FaultyApp>,
    _sidecars: Vec<Sidecar>,
}

impl Mesh {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await;
        let (mut apps, mut sidecars) = (Vec::new(), Vec::new());
        for name in ["first-of-three", "second-of-three", "third-of-three"] {
            let calls = control_plane.folder().path().join(format!("calls-{name}"));
            let app = FaultyApp::start(name, SocketAddr::from(([127, 0, 0, 1], 0)), &calls, Faults::none()).await;
            sidecars.push(control_plane.sidecar("orders").serves(app.address()).start().await);
            apps.push(app);
        }
        Self { control_plane, apps, _sidecars: sidecars }
    }

    /// A sidecar that has seen none of the endpoints fail.
    async fn caller(&self) -> Sidecar {
        self.control_plane.sidecar("caller").start().await
    }

    /// Load from a fresh caller, while one application of three does this with every request that it gets.
    async fn while_one(&self, fault: Fault) -> Seen {
        let caller = self.caller().await;
        self.apps[0].set(Faults::always(fault));
        let seen = gets(&caller).await;
        self.apps[0].set(Faults::none());
        shown(&fault.to_string(), seen)
    }
}

async fn gets(caller: &Sidecar) -> Seen {
    gets_and(caller, async || ()).await
}

/// Load, and when a quarter of the calls have begun, something else.
async fn gets_and(caller: &Sidecar, happens: impl AsyncFnOnce()) -> Seen {
    let (begun, mut under_way) = watch::channel(0);
    let load = calls(caller.outbound(), GETS, CLIENTS, move |number| {
        begun.send_replace(number);
        (request(URL), Bytes::new())
    });
    let happens = async {
        under_way.wait_for(|number| *number >= GETS / 4).await.unwrap();
        happens().await;
    };
    tokio::join!(load, happens).0
}

fn shown(what: &str, seen: Seen) -> Seen {
    println!("| {what} {seen}");
    assert_eq!(seen.hung, 0, "{what}: {seen:#?}");
    seen
}

/// The timeouts of a route of the service.
fn timeouts(timeouts: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: HTTPRoute\n\
         metadata: {{name: orders}}\n\
         spec:\n  \
           parentRefs: [{{kind: Service, name: orders}}]\n  \
           rules: [{{timeouts: {{{timeouts}}}, backendRefs: [{{kind: Service, name: orders}}]}}]\n"
    )
}
