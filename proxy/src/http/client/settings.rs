//! What the other side of an HTTP/2 connection has said that it takes.

use std::{pin::pin, sync::Arc, time::Duration};

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use crate::{http::body::Body, net::Coalesced};

type Connection = http2::Connection<TokioIo<Coalesced>, Body, Coalesced>;

/// The settings come as soon as the other side has read the preface; hyper does not tell when.
const LIMIT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// Asks about settings; nothing is looked at before somebody asks.
#[derive(Debug)]
pub struct Settings {
    asked: Arc<Notify>,
    takes_connect: watch::Receiver<Option<bool>>,
}

impl Settings {
    /// Runs the connection. A broken one shows at the request that meets it.
    pub(super) fn watched(connection: Connection) -> Self {
        let (asked, (answer, takes_connect)) = (Arc::new(Notify::new()), watch::channel(None));
        tokio::spawn(run(connection, asked.clone(), answer));
        Self { asked, takes_connect }
    }

    /// Whether it takes extended `CONNECT` (RFC 8441 §3); `None`: the connection has ended.
    pub async fn takes_connect(&self) -> Option<bool> {
        self.asked.notify_one();
        let mut answer = self.takes_connect.clone();
        let answer = answer.wait_for(Option::is_some).await.ok()?;
        *answer
    }
}

async fn run(mut connection: Connection, asked: Arc<Notify>, answer: watch::Sender<Option<bool>>) {
    let mut asked = pin!(asked.notified());
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = asked.as_mut() => {}
    }
    let end = Instant::now() + LIMIT;
    while !connection.is_extended_connect_protocol_enabled() && Instant::now() < end {
        tokio::select! {
            _ = &mut connection => return,
            () = sleep(LOOK) => {}
        }
    }
    answer.send_replace(Some(connection.is_extended_connect_protocol_enabled()));
    let _ = connection.await;
}
