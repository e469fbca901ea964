//! The life of a workload after its start: until the program ends, or someone asks for the end.

use std::{process::ExitStatus, time::Duration};

use rustix::process::Signal;
use tokio::time::timeout;

use super::{
    program::{Program, exit_code},
    sidecar::{Sidecar, at_a_terminal},
};
use crate::{
    output::{Text, notice},
    signals::{Request, Signals},
};

/// Returns the exit code of `weft run`, when both processes are gone.
///
/// # Errors
/// The sidecar is lost for good; the program has been stopped.
pub async fn until_the_end(
    sidecar: &mut Sidecar,
    program: &mut Program,
    signals: &mut Signals,
    grace: Duration,
) -> anyhow::Result<u8> {
    loop {
        tokio::select! {
            ended = program.ended() => {
                let code = exit_code(ended?);
                return match impatient(signals, sidecar.stop(grace)).await {
                    Ok(stopped) => stopped.map(|()| code),
                    Err(_) => sidecar.kill().await.map(|()| code),
                };
            }
            request = signals.next() => return end(request, sidecar, program, signals, grace).await,
            ended = sidecar.ended() => {
                let ended = ended?;
                tokio::select! {
                    restarted = sidecar.restart(ended) => if let Err(error) = restarted {
                        stop_program(program, Signal::TERM, grace).await?;
                        return Err(error);
                    },
                    ended = program.ended() => return Ok(exit_code(ended?)),
                    // Without a sidecar there is nothing to drain.
                    request = signals.next() => {
                        return Ok(exit_code(stop_program(program, request.signal(), grace).await?));
                    }
                }
            }
        }
    }
}

/// The orderly end; a second signal makes it immediate.
async fn end(
    request: Request,
    sidecar: &mut Sidecar,
    program: &mut Program,
    signals: &mut Signals,
    grace: Duration,
) -> anyhow::Result<u8> {
    let orderly = async {
        if let Err(error) = sidecar.drain(grace).await {
            notice(Text::paragraph(format!("weft run: {error:#}; going on without")));
        }
        let code = stop_program(program, passed_on(request), grace).await?;
        sidecar.stop(grace).await?;
        anyhow::Ok(exit_code(code))
    };
    match impatient(signals, orderly).await {
        Ok(code) => code,
        Err(second) => {
            notice("weft run: a second signal, ending at once");
            program.kill().await?;
            sidecar.kill().await?;
            Ok(second.exit_code())
        }
    }
}

/// At a terminal the program has had its Ctrl-C already, and programs take a second one as "at once".
fn passed_on(request: Request) -> Signal {
    match request {
        Request::Interrupt if at_a_terminal() => Signal::TERM,
        other => other.signal(),
    }
}

async fn stop_program(program: &mut Program, signal: Signal, grace: Duration) -> anyhow::Result<ExitStatus> {
    program.signal(signal);
    match timeout(grace, program.ended()).await {
        Ok(ended) => ended,
        Err(_) => {
            notice("weft run: the program does not end, killing it");
            program.kill().await
        }
    }
}

/// `work`, or the signal that came before it was done.
async fn impatient<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Result<T, Request> {
    tokio::select! {
        done = work => Ok(done),
        request = signals.next() => Err(request),
    }
}
