//! The access log: one JSON object on one line of standard output for each request, and for each connection that is
//! carried as bytes.
//!
//! The data path hands a record over and goes on; a thread of its own formats and writes. When that thread cannot
//! keep up, records are dropped and counted: a slow disk never slows a request down.

use std::{
    io::Write,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::SystemTime,
};

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use super::metrics::Direction;

/// Records that may wait for the writer.
const QUEUE: usize = 4096;

#[derive(Debug)]
pub struct AccessLog {
    enabled: AtomicBool,
    queue: SyncSender<Line>,
    dropped: Counter,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line {
    Request(Record),
    Connection(ConnectionRecord),
}

/// A connection that was carried as bytes, at its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct ConnectionRecord {
    pub time: jiff::Timestamp,
    pub direction: &'static str,
    pub protocol: &'static str,
    /// Where the client wanted to go.
    pub destination: String,
    pub duration_ms: f64,
    /// Bytes from the client.
    pub sent: u64,
    /// Bytes to the client.
    pub received: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The SPIFFE ID that the other side proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Record {
    pub time: jiff::Timestamp,
    pub direction: &'static str,
    pub method: String,
    pub authority: String,
    pub path: String,
    pub protocol: &'static str,
    pub status: u16,
    pub duration_ms: f64,
    pub request_id: String,
    /// The service port that answered, or was to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How often it was sent, where that is more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The SPIFFE ID that the other side proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ConnectionRecord {
    /// Of a connection of which nothing more is known yet.
    pub fn new(direction: Direction, destination: &str) -> Self {
        Self {
            time: now(),
            direction: direction.as_str(),
            protocol: "tcp",
            destination: destination.to_owned(),
            duration_ms: 0.0,
            sent: 0,
            received: 0,
            backend: None,
            endpoint: None,
            peer: None,
            error: None,
        }
    }
}

impl AccessLog {
    /// Starts the writer. It ends with the process.
    pub fn start(dropped: Counter) -> std::io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&records))?;
        Ok(Self { enabled: AtomicBool::new(false), queue, dropped })
    }

    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    pub fn write(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            self.dropped.inc();
        }
    }
}

pub fn now() -> jiff::Timestamp {
    SystemTime::now().try_into().unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn write(records: &Receiver<Line>) {
    let mut line = Vec::with_capacity(512);
    while let Ok(record) = records.recv() {
        line.clear();
        if serde_json::to_writer(&mut line, &record).is_ok() {
            line.push(b'\n');
            // Standard output may be closed; the log is then of no use to anybody.
            let _ = std::io::stdout().lock().write_all(&line);
        }
    }
}
