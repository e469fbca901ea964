//! One work: everyone is started and checked, and then they take turns.

use std::time::Duration;

use anyhow::Context;

use super::{
    app::App,
    cpu::{self, CpuTime},
    honesty,
    load::Target,
    peers::{Order, Peer, Running, Shape},
    report::{LeftOut, PeerFigures, Run, SideCpu, WorkFigures},
    site::Site,
    work::Work,
};

/// Connections, pools and allocators have settled after this.
const WARM_UP: Duration = Duration::from_secs(1);

struct Contestant {
    running: Running,
    target: Target,
    figures: PeerFigures,
}

/// A peer that does not start or does not hold what it must is left out with its reason.
pub async fn run(
    site: &Site,
    work: &Work,
    peers: &[Peer],
    runs: u32,
    duration: Duration,
    left_out: &mut LeftOut,
) -> anyhow::Result<WorkFigures> {
    eprintln!("({}) {}", work.id, work.title);
    let app = App::start(work.app, site).await?;
    if work.pinned {
        cpu::pin(app.process()).await?;
    }
    let mut contestants = Vec::new();
    for peer in peers {
        if !work.takes(peer) {
            continue;
        }
        let prepared = prepare(site, work, &app, peer).await;
        contestants.extend(left_out.unless(&format!("{} at work ({})", peer.id(), work.id), prepared));
    }
    for turn in 1..=runs {
        for contestant in &mut contestants {
            let name = &contestant.figures.peer;
            let measured = measure(site, work, &contestant.running, &contestant.target, duration).await;
            let what = format!("{name} at work ({}), turn {turn}", work.id);
            let Some(run) = left_out.unless(&what, measured) else { continue };
            let (requests, cost) = (run.sample.requests, run.cpu_per_100k().unwrap_or_default());
            eprintln!("  {turn}/{runs} {name}: {requests} requests, {cost:.2} CPU s per 100,000");
            contestant.figures.runs.push(run);
        }
    }
    let peers = contestants.into_iter().map(|contestant| contestant.figures).collect();
    Ok(WorkFigures { id: work.id, title: work.title, body: work.body, peers })
}

async fn prepare(site: &Site, work: &Work, app: &App, peer: &Peer) -> anyhow::Result<Contestant> {
    let order = Order { site, app, shape: work.shape, front: work.load.speaks() };
    let running = peer.start(&order).await.context("it does not start")?;
    let target = Target { entry: running.entry, inbound: running.inbound.clone(), pinned: work.pinned };
    honesty::answers(site, &work.load, &target).await.context("it does not answer")?;
    if work.shape != Shape::Hop {
        honesty::wants_certificates(&running).await?;
    }
    if work.pinned {
        for side in &running.sides {
            cpu::pin(side.process).await?;
        }
    }
    work.load.run(site, &target, WARM_UP).await.context("it does not bear the load")?;
    Ok(Contestant { running, target, figures: PeerFigures { peer: peer.id(), runs: Vec::new() } })
}

async fn measure(
    site: &Site,
    work: &Work,
    running: &Running,
    target: &Target,
    duration: Duration,
) -> anyhow::Result<Run> {
    let before = running.sides.iter().map(|side| CpuTime::of(side.process)).collect::<Result<Vec<_>, _>>()?;
    let sample = work.load.run(site, target, duration).await?;
    let spent =
        running.sides.iter().zip(before).map(|(side, before)| {
            anyhow::Ok(SideCpu { side: side.name, cpu: CpuTime::of(side.process)?.since(before) })
        });
    Ok(Run { sides: spent.collect::<Result<_, _>>()?, sample })
}
