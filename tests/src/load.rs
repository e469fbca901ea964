//! Load on a service: some clients, each with a connection that it keeps, at a bounded rate.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{Connection, eventually, request};

const REMEMBERED: usize = 5;

/// Runs until it is stopped.
pub struct Load {
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    failed: AtomicU64,
    first_failures: Mutex<Vec<String>>,
}

#[derive(Debug)]
pub struct Outcome {
    pub ok: u64,
    pub failed: u64,
    /// What the first of them were.
    pub first_failures: Vec<String>,
}

impl Load {
    /// `per_second` is the rate of all clients together. Anything but 200 is a failure.
    pub fn start(proxy: SocketAddr, url: &str, clients: u32, per_second: u32) -> Self {
        let (tally, stop) = (Arc::<Tally>::default(), watch::Sender::new(false));
        let pace = Duration::from_secs(1) * clients / per_second;
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(run(proxy, url.to_owned(), pace, tally.clone(), stop.subscribe()));
        }
        Self { tally, stop, clients: running }
    }

    /// Waits until so many more requests have been answered, well or not.
    pub async fn more(&self, count: u64) {
        let answered = || self.tally.ok.load(Ordering::SeqCst) + self.tally.failed.load(Ordering::SeqCst);
        let goal = answered() + count;
        eventually("the load goes on", async || match answered() {
            enough if enough >= goal => Ok(()),
            few => Err(format!("{few} of {goal} requests")),
        })
        .await;
    }

    /// Ends when the requests in flight have been answered.
    pub async fn stop(mut self) -> Outcome {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let first_failures = self.tally.first_failures.lock().unwrap().clone();
        Outcome {
            ok: self.tally.ok.load(Ordering::SeqCst),
            failed: self.tally.failed.load(Ordering::SeqCst),
            first_failures,
        }
    }
}

impl Outcome {
    pub fn assert_none_failed(&self) {
        assert!(self.failed == 0 && self.ok > 0, "{self:#?}");
    }
}

async fn run(proxy: SocketAddr, url: String, pace: Duration, tally: Arc<Tally>, stop: watch::Receiver<bool>) {
    let mut turn = interval(pace);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    while !*stop.borrow() {
        turn.tick().await;
        match exchange(&mut connection, proxy, &url).await {
            Ok(()) => _ = tally.ok.fetch_add(1, Ordering::SeqCst),
            Err(reason) => {
                connection = None;
                tally.failed.fetch_add(1, Ordering::SeqCst);
                let mut first = tally.first_failures.lock().unwrap();
                if first.len() < REMEMBERED {
                    first.push(reason);
                }
            }
        }
    }
}

async fn exchange(kept: &mut Option<Connection>, proxy: SocketAddr, url: &str) -> Result<(), String> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(proxy).await?),
    };
    let answer = connection.send(request(url)).await?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_are_counted_and_remembered() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], crate::free_port()));
        let load = Load::start(nobody, "http://orders/", 2, 100);
        load.more(10).await;
        let outcome = load.stop().await;
        assert!(outcome.failed >= 10 && outcome.ok == 0, "{outcome:?}");
        assert_eq!(outcome.first_failures.len(), REMEMBERED);
        assert!(outcome.first_failures[0].contains("cannot connect"), "{outcome:?}");
    }
}
