//! Applications and sidecars that are killed, or stop and go on.

use std::{net::SocketAddr, process::Command};

use rustix::process::Signal;
use weft_tests::{ControlPlane, Folder, Process, Seen, Sidecar, free_port};

use super::{ATTEMPT_LIMIT, GETS, REQUEST_LIMIT, UNTIL_EJECTED, gets, gets_and, shown, timeouts};

/// An application that is a process of its own.
pub struct AppProcess {
    name: String,
    address: SocketAddr,
    faults: Vec<String>,
    process: Process,
}

impl AppProcess {
    /// `faults` as `weft-tests-app` takes them: how many requests to one of them, and which.
    pub async fn start(folder: &Folder, name: &str, faults: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let faults: Vec<_> = faults.iter().map(|fault| (*fault).to_owned()).collect();
        let process = launch(folder, name, address, &faults).await;
        Self { name: name.to_owned(), address, faults, process }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`, and another one in its place.
    pub async fn replace(&mut self, folder: &Folder) {
        self.process.kill();
        self.process = launch(folder, &self.name, self.address, &self.faults).await;
    }

    /// The ids of all calls that this application, and those before it, have got.
    pub fn calls(&self, folder: &Folder) -> Vec<String> {
        let file = std::fs::read_to_string(folder.path().join(calls_file(&self.name))).unwrap();
        file.lines().map(str::to_owned).collect()
    }
}

fn calls_file(name: &str) -> String {
    format!("calls-{name}")
}

async fn launch(folder: &Folder, name: &str, address: SocketAddr, faults: &[String]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-tests-app"));
    command.arg(name).arg(address.to_string()).arg(folder.path().join(calls_file(name))).args(faults);
    let mut process = Process::start(name, &mut command, folder);
    process.announces("ready").await;
    process
}

/// Three applications that are processes, each behind its sidecar.
struct Processes {
    control_plane: ControlPlane,
    apps: Vec<AppProcess>,
    sidecars: Vec<Sidecar>,
}

impl Processes {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await;
        let (mut apps, mut sidecars) = (Vec::new(), Vec::new());
        for name in ["first", "second", "third"] {
            let app = AppProcess::start(control_plane.folder(), name, &["1"]).await;
            sidecars.push(control_plane.sidecar("orders").serves(app.address()).start().await);
            apps.push(app);
        }
        Self { control_plane, apps, sidecars }
    }

    async fn caller(&self) -> Sidecar {
        self.control_plane.sidecar("caller").start().await
    }
}

/// One of them stops, and all that came to it before it was left out waits in vain.
fn only_until_ejected(seen: &Seen) {
    assert_eq!(seen.status(200) + seen.status(504), GETS, "{seen:#?}");
    assert!(seen.failed() <= UNTIL_EJECTED, "{seen:#?}");
}

fn none_failed(seen: &Seen) {
    assert_eq!(seen.status(200), GETS, "{seen:#?}");
}

#[tokio::test]
async fn an_application_is_killed_and_comes_back() {
    let mut mesh = Processes::start().await;
    let caller = mesh.caller().await;
    let killed = &mut mesh.apps[0];
    let seen = gets_and(&caller, async || killed.process.kill()).await;
    none_failed(&shown("kill -9 of an application", seen));
    mesh.control_plane.serving("orders", 2).await;
    mesh.apps[0].replace(mesh.control_plane.folder()).await;
    mesh.control_plane.serving("orders", 3).await;
}

#[tokio::test]
async fn a_sidecar_is_killed() {
    let mut mesh = Processes::start().await;
    let caller = mesh.caller().await;
    let killed = &mut mesh.sidecars[0];
    let seen = gets_and(&caller, async || killed.kill()).await;
    none_failed(&shown("kill -9 of a sidecar", seen));
}

#[tokio::test]
async fn an_application_stops_and_goes_on() {
    let mesh = Processes::start().await;
    mesh.control_plane.apply(&timeouts(REQUEST_LIMIT)).await;
    let stopped = &mesh.apps[0].process;
    let seen = gets_and(&mesh.caller().await, async || stopped.signal(Signal::STOP)).await;
    only_until_ejected(&shown("SIGSTOP of an application", seen));
    stopped.signal(Signal::CONT);
    none_failed(&shown("SIGCONT", gets(&mesh.caller().await).await));

    mesh.control_plane.apply(&timeouts(ATTEMPT_LIMIT)).await;
    let seen = gets_and(&mesh.caller().await, async || stopped.signal(Signal::STOP)).await;
    none_failed(&shown("SIGSTOP of an application, backendRequest", seen));
    stopped.signal(Signal::CONT);
}

#[tokio::test]
async fn a_sidecar_stops_and_goes_on() {
    let mut mesh = Processes::start().await;
    mesh.control_plane.apply(&timeouts(REQUEST_LIMIT)).await;
    let caller = mesh.caller().await;
    let stopped = &mut mesh.sidecars[0];
    let seen = gets_and(&caller, async || stopped.process().signal(Signal::STOP)).await;
    only_until_ejected(&shown("SIGSTOP of a sidecar", seen));
    stopped.process().signal(Signal::CONT);
    none_failed(&shown("SIGCONT", gets(&mesh.caller().await).await));

    mesh.control_plane.apply(&timeouts(ATTEMPT_LIMIT)).await;
    let caller = mesh.caller().await;
    let stopped = &mut mesh.sidecars[0];
    let seen = gets_and(&caller, async || stopped.process().signal(Signal::STOP)).await;
    none_failed(&shown("SIGSTOP of a sidecar, backendRequest", seen));
    stopped.process().signal(Signal::CONT);
}
