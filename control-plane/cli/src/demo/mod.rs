//! `weft demo`: a real mesh of real processes, and six things that it does, or one policy at work, each measured.
//!
//! Decides what is shown and what counts as held. Every command and file that is shown is what really ran; nothing in
//! here knows more about the mesh than the admin API and the programs' own answers say.

pub mod app;
mod circuit_watch;
mod odds;
mod policies;
mod ports;
mod processes;
mod scene;
mod stage;
mod steps;
mod traffic;
mod view;
pub mod watchdog;

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::time::timeout;

use crate::{
    cli::ClientFlags,
    exit::{Exit, Failure},
    output::notice,
    signals::Signals,
};
use policies::Policy;
use processes::Processes;
use view::{Report, View};

/// With the orderly end after it, a minute in all.
const LONGEST: Duration = Duration::from_secs(50);
const LOG_LINES: usize = 5;

pub const EXAMPLES: &str = "\
Examples:
  weft demo
  weft demo retry
  weft demo --output json | jq '{title, held}'

It needs neither root nor a free well-known port, takes about half a minute, and leaves nothing behind, \
whether it ends by itself, by Ctrl-C or by kill -9. Exits with 0 only if everything that it shows was \
measured to hold.";

#[derive(Debug, Args)]
pub struct Demo {
    /// Shows one policy at work, in the place of the six steps
    policy: Option<Policy>,
}

impl Demo {
    pub async fn execute(self, flags: &ClientFlags) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let view = View::open(flags.output);
        let mut processes = Processes::open()?;
        let ended = tokio::select! {
            played = timeout(LONGEST, play(self.policy, &mut processes, &view)) => {
                Ended::Played(played.context("the demo takes too long").flatten())
            }
            signal = signals.next() => Ended::Stopped(signal.exit_code()),
        };
        view.close();
        if let Ended::Played(Err(_)) = &ended {
            notice(processes.last_words(LOG_LINES));
        }
        processes.end().await?;
        match ended {
            Ended::Stopped(code) => Ok(Exit::Program(code)),
            Ended::Played(Ok(broken)) if broken.is_empty() => Ok(Exit::Done),
            Ended::Played(Ok(broken)) => Err(Failure::Other(anyhow!("did not hold: {}", broken.join("; ")))),
            Ended::Played(Err(error)) => Err(Failure::Other(error)),
        }
    }
}

enum Ended {
    /// With the titles of the steps that did not hold.
    Played(anyhow::Result<Vec<&'static str>>),
    /// By a signal, with the exit code that it asks for.
    Stopped(u8),
}

async fn play(policy: Option<Policy>, processes: &mut Processes, view: &View) -> anyhow::Result<Vec<&'static str>> {
    let begun = Instant::now();
    let mut scene = stage::set(processes, view).await?;
    let mut broken = Vec::new();
    let steps = policy.map_or(steps::COUNT, |_| 1);
    for number in 1..=steps {
        let title = policy.map_or_else(|| steps::title(number), Policy::title);
        let begun = Instant::now();
        view.title(&format!("{number}/{steps} {title}"));
        let played = match policy {
            Some(policy) => policy.play(&mut scene).await,
            None => steps::play(number, &mut scene).await,
        };
        view.rest();
        let (commands, checks) = scene.take_record();
        let held = played.is_ok() && !checks.is_empty() && checks.iter().all(|check| check.held);
        view.report(&Report { step: number, title, held, commands, checks, seconds: begun.elapsed().as_secs_f64() })?;
        played.with_context(|| title)?;
        if !held {
            broken.push(title);
        }
    }
    conclude(view, steps, &broken, begun.elapsed());
    Ok(broken)
}

fn conclude(view: &View, steps: usize, broken: &[&str], took: Duration) {
    if broken.is_empty() {
        let all = if steps == 1 { "It".to_owned() } else { format!("All {steps} steps") };
        view.title(&format!("{all} held, in {:.1} s.", took.as_secs_f64()));
        view.say("Your own program is next: `weft control-plane --data-dir ./weft-data`, then `weft run --help`.");
    }
}
