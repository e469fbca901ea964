//! What a peer takes beside CPU time: system calls, memory, and its time to start. All with work (a)'s application.

use std::time::Duration;

use anyhow::Context;

use super::{
    app::{App, AppKind},
    cpu, honesty,
    load::{Load, Target, idle::IdleConnections},
    peers::{Order, Peer, Protocol, Running, Shape},
    report::{LeftOut, MemoryFigures, StartFigures, SystemCalls, WithConnections},
    site::Site,
    syscalls::Counter,
};

const LOAD: Load = Load::Wrk { connections: 64, path: "/1k", close: false };
const COUNTED_FOR: Duration = Duration::from_secs(2);
/// What was needed once, to start and to take the first request, has been given back by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Of every peer that can relay HTTP/1.1; the bare pair and Envoy also with HTTP/2 between the two.
fn pairs(peers: &[Peer]) -> impl Iterator<Item = &Peer> {
    peers.iter().filter(|peer| **peer != Peer::Direct && !peer.only_logs())
}

pub async fn system_calls(site: &Site, peers: &[Peer], left_out: &mut LeftOut) -> anyhow::Result<Vec<SystemCalls>> {
    let Some(counter) = Counter::find().await else {
        left_out.say("system calls: neither perf nor strace can count them here".to_owned());
        return Ok(Vec::new());
    };
    eprintln!("system calls, counted by {}", counter.name());
    let app = App::start(AppKind::Files, site).await?;
    let mut all = Vec::new();
    for peer in pairs(peers) {
        let counted = count(site, &app, peer, counter).await;
        let Some(counted) = left_out.unless(&format!("system calls of {}", peer.id()), counted) else { continue };
        eprintln!("  {}: {:.2?}", counted.peer, counted.per_request);
        all.push(counted);
    }
    Ok(all)
}

async fn count(site: &Site, app: &App, peer: &Peer, counter: Counter) -> anyhow::Result<SystemCalls> {
    let running = start(site, app, peer).await?;
    let target = Target { entry: running.entry, inbound: None, pinned: false };
    LOAD.run(site, &target, SETTLED).await?;
    let folder = site.fresh_folder("calls")?;
    let mut counting = Vec::new();
    for side in &running.sides {
        counting.push((side.name, counter.attach(side.process, &folder).await?));
    }
    let sample = LOAD.run(site, &target, COUNTED_FOR).await?;
    let mut per_request = Vec::new();
    for (side, counting) in counting {
        per_request.push((side, counting.count().await? as f64 / sample.requests.max(1) as f64));
    }
    Ok(SystemCalls { peer: peer.id(), per_request, counted_by: counter.name() })
}

pub async fn memory(
    site: &Site,
    peers: &[Peer],
    connections: &[usize],
    left_out: &mut LeftOut,
) -> anyhow::Result<Vec<MemoryFigures>> {
    eprintln!("memory");
    let app = App::start(AppKind::Files, site).await?;
    let mut all = Vec::new();
    for peer in pairs(peers) {
        let mut figures = MemoryFigures { peer: peer.id(), idle: Vec::new(), with_connections: Vec::new() };
        for &count in connections {
            let what = format!("memory of {} with {count} connections", peer.id());
            let measured = with_connections(site, &app, peer, count).await;
            let Some((idle, with)) = left_out.unless(&what, measured) else { continue };
            eprintln!("  {}: {count} connections, KiB for each: {:.1?}", peer.id(), with.per_connection);
            if figures.idle.is_empty() {
                figures.idle = idle;
            }
            figures.with_connections.push(with);
        }
        all.push(figures);
    }
    Ok(all)
}

type Resident = Vec<(&'static str, u64)>;

/// On a fresh pair, idle and with so many connections: what an earlier burst left behind would hide what one costs.
async fn with_connections(
    site: &Site,
    app: &App,
    peer: &Peer,
    connections: usize,
) -> anyhow::Result<(Resident, WithConnections)> {
    let running = start(site, app, peer).await?;
    tokio::time::sleep(SETTLED).await;
    let idle = resident(&running)?;
    let open = IdleConnections::open(running.entry, connections).await?;
    let resident = resident(&running)?;
    drop(open);
    let of_each = |(&(side, now), &(_, idle)): (&(&'static str, u64), &(_, u64))| {
        (side, now.saturating_sub(idle) as f64 / connections as f64)
    };
    let per_connection = resident.iter().zip(&idle).map(of_each).collect();
    Ok((idle, WithConnections { connections, resident, per_connection }))
}

fn resident(running: &Running) -> anyhow::Result<Resident> {
    running.sides.iter().map(|side| Ok((side.name, cpu::resident_kib(side.process)?))).collect()
}

pub async fn starts(
    site: &Site,
    peers: &[Peer],
    runs: u32,
    left_out: &mut LeftOut,
) -> anyhow::Result<Vec<StartFigures>> {
    eprintln!("start to ready");
    let app = App::start(AppKind::Files, site).await?;
    let chosen: Vec<_> = pairs(peers).filter(|peer| peer.between(Protocol::H1) == Protocol::H1).collect();
    let mut all: Vec<_> = chosen.iter().map(|peer| StartFigures { peer: peer.id(), ready_ms: Vec::new() }).collect();
    for _ in 0..runs {
        for (peer, figures) in chosen.iter().zip(&mut all) {
            let started = left_out.unless("start to ready", start(site, &app, peer).await);
            let outbound = started.as_ref().and_then(|running| running.sides.first());
            figures.ready_ms.extend(outbound.map(|side| side.ready_after.as_secs_f64() * 1e3));
        }
    }
    all.iter().for_each(|figures| eprintln!("  {}: {:.0?} ms", figures.peer, figures.ready_ms));
    Ok(all)
}

async fn start(site: &Site, app: &App, peer: &Peer) -> anyhow::Result<Running> {
    let order = Order { site, app, shape: Shape::Pair, front: Protocol::H1 };
    let running = peer.start(&order).await.with_context(|| format!("{} does not start", peer.id()))?;
    let target = Target { entry: running.entry, inbound: None, pinned: false };
    honesty::answers(site, &LOAD, &target).await.with_context(|| format!("{} does not answer", peer.id()))?;
    Ok(running)
}
