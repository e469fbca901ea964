//! Instructions per request: what the pair of sidecars executes for one request, counted by callgrind.
//!
//! Time on a busy machine moves by a tenth from run to run; these counts move by a few in a thousand, so that a change
//! that costs 5 % is seen on any machine, and CI can hold it up. They are user space only: what the kernel does for a
//! request is measured by `run`.
//!
//! The real mesh runs here: a control plane, two sidecars with mutual TLS between them, default policies and metrics.
//! Only the sidecars run under callgrind, and only a phase between two commands is counted, after a warm-up: starting,
//! handshakes and first allocations are not in it. What a request is made of is decided in `work`, how it is counted
//! in `callgrind`, what is good enough in `figures`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use weft_tests::{ControlPlane, Sidecar, use_weft};

use callgrind::Callgrind;
use figures::{Cost, Figures};
use work::{App, Work};

mod callgrind;
mod figures;
mod work;

/// Connections, the pool and the balancer settle within a few requests.
const WARM_UP: usize = 100;
const REQUESTS: usize = 1_000;

#[derive(clap::Args)]
pub struct Args {
    /// Fail when a figure is more than 5 % above the one that is checked in
    #[arg(long)]
    check: bool,

    /// Check in what is measured now
    #[arg(long, conflicts_with_all = ["check", "binary", "proxy"])]
    write: bool,

    /// The `weft` to measure; default: target/release/weft
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// The `weft-proxy` to measure instead of `weft proxy`: it is built sooner while one works at it
    #[arg(long, value_name = "PATH")]
    proxy: Option<PathBuf>,

    /// Keep callgrind's profiles in this folder, for `callgrind_annotate`
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    callgrind::require()?;
    let (weft, sidecar) = programs(&args)?;
    use_weft(&weft);
    println!("{}, {REQUESTS} requests of each work", sidecar.join(" "));
    if let Some(folder) = &args.profiles {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut pair = Pair::start(&sidecar).await?;
    let mut measured = BTreeMap::new();
    for work in Work::ALL {
        measured.insert(work.name().to_owned(), pair.measure(work).await?);
        if let Some(folder) = &args.profiles {
            pair.keep_profiles(folder, work)?;
        }
    }
    let figures = Figures::of_this_machine(measured)?;
    report(&figures, &args)
}

fn report(figures: &Figures, args: &Args) -> anyhow::Result<()> {
    let stored = Figures::read();
    figures.print(stored.as_ref().ok());
    if args.write {
        return figures.write();
    }
    if args.check {
        figures.check(&stored?)?.iter().for_each(|note| println!("note: {note}"));
        println!("no figure is more than 5 % above the one that is checked in");
    }
    Ok(())
}

/// The program of the control plane, and the command line of a sidecar without its flags.
fn programs(args: &Args) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder of cargo's")?;
    let weft = args.binary.clone().unwrap_or_else(|| target.join("release/weft"));
    for program in [Some(&weft), args.proxy.as_ref()].into_iter().flatten() {
        if !program.is_file() {
            let how = "build it with `cargo build --release`, or name another one with --binary PATH";
            bail!("there is no {} to measure: {how}", program.display());
        }
    }
    let weft = weft.canonicalize()?;
    let sidecar = match &args.proxy {
        Some(proxy) => vec![proxy.canonicalize()?.to_string_lossy().into()],
        None => vec![weft.to_string_lossy().into(), "proxy".into()],
    };
    Ok((weft, sidecar))
}

/// An application, a sidecar before it and the sidecar of its caller.
struct Pair {
    outbound: Counted,
    inbound: Counted,
    app: App,
    /// Last, since the sidecars belong to it.
    _control_plane: ControlPlane,
}

struct Counted {
    sidecar: Sidecar,
    callgrind: Callgrind,
}

impl Pair {
    async fn start(program: &[String]) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start().await;
        let app = App::start().await?;
        let inbound = Counted::start(&control_plane, program, work::SERVICE, Some(&app)).await?;
        let outbound = Counted::start(&control_plane, program, "caller", None).await?;
        Ok(Self { outbound, inbound, app, _control_plane: control_plane })
    }

    async fn measure(&mut self, work: Work) -> anyhow::Result<Cost> {
        let mut callers = work.callers(self.outbound.sidecar.outbound()).await?;
        callers.send(WARM_UP).await?;
        for side in [&self.outbound, &self.inbound] {
            side.callgrind.zero().await?;
        }
        let before = self.app.answered();
        callers.send(REQUESTS).await?;
        let answered = self.app.answered() - before;
        anyhow::ensure!(answered == REQUESTS, "{REQUESTS} requests were sent, but {answered} reached the application");
        let outbound = self.outbound.callgrind.take().await? / REQUESTS as u64;
        let inbound = self.inbound.callgrind.take().await? / REQUESTS as u64;
        Ok(Cost { outbound, inbound })
    }

    fn keep_profiles(&self, folder: &std::path::Path, work: Work) -> anyhow::Result<()> {
        for (side, counted) in [("outbound", &self.outbound), ("inbound", &self.inbound)] {
            let to = folder.join(format!("callgrind.{}.{side}", work.name()));
            std::fs::copy(counted.callgrind.last_profile(), &to).with_context(|| to.display().to_string())?;
            println!("{}", to.display());
        }
        Ok(())
    }
}

impl Counted {
    /// One worker: with more, which of them gets a connection would be chance.
    async fn start(
        control_plane: &ControlPlane,
        program: &[String],
        account: &str,
        app: Option<&App>,
    ) -> anyhow::Result<Self> {
        let mut callgrind = Callgrind::new(control_plane.folder(), account);
        let mut builder = control_plane.sidecar(account).flag("--workers", "1").program(callgrind.around(program));
        if let Some(app) = app {
            builder = builder.serves(app.address());
        }
        let mut sidecar = builder.start().await;
        callgrind.attach(sidecar.process().id()).await?;
        Ok(Self { sidecar, callgrind })
    }
}
