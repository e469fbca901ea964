//! What somebody sees who listens on a pod's cable, or a bridge: every packet, as tcpdump writes them down.

use std::{fs, net::IpAddr, path::PathBuf, sync::Arc};

use memchr::memmem;
use rustix::process::Signal;

use super::{Pod, network::Hub};
use crate::{Finished, Folder, PATIENCE, Place, Process, eventually};

/// tcpdump's buffer in KiB: what it has no time to write must fit, on a machine that is busy with the traffic itself.
const BUFFER: &str = "65536";

pub struct Capture {
    process: Process,
    file: PathBuf,
    place: Place,
    /// Somebody there: what is sent to it passes.
    beyond: IpAddr,
    /// What the pod's cable ends in.
    _hub: Option<Arc<Hub>>,
}

/// A capture that has ended, and misses nothing of its time.
pub struct Captured(Vec<u8>);

impl Capture {
    /// Of the pod's cable, seen from the hub: no rule of the pod's own firewall has a say there. Returns when packets
    /// are seen.
    pub async fn start(pod: &Pod) -> Self {
        let hub = pod.hub().clone();
        let mut capture = Self::at(hub.place(), &pod.cable(), pod.v4().into(), pod.network_folder()).await;
        capture._hub = Some(hub);
        capture
    }

    /// Of an interface of this machine, by which `beyond` is reached.
    pub async fn on(interface: &str, beyond: IpAddr, folder: &Folder) -> Self {
        Self::at(Place::Machine, interface, beyond, folder).await
    }

    async fn at(place: Place, interface: &str, beyond: IpAddr, folder: &Folder) -> Self {
        let file = folder.path().join(format!("{interface}-{}.pcap", rand::random::<u32>()));
        let mut command = place.command("tcpdump");
        command.args(["-i", interface, "-n", "-s", "0", "-B", BUFFER, "-U", "--immediate-mode", "-Z", "root", "-w"]);
        let process = Process::start(&format!("{interface}-tcpdump"), command.arg(&file), folder);
        let mut capture = Self { process, file, place, beyond, _hub: None };
        capture.is_up_to_date().await;
        capture
    }

    /// Ends it. Everything that was on the wire before is in the capture. Panics if the kernel had to drop packets.
    pub async fn finish(mut self) -> Captured {
        self.is_up_to_date().await;
        self.process.signal(Signal::TERM);
        self.process.ended().await;
        let dropped = eventually("tcpdump says how much it missed", async || {
            let said = self.process.stderr();
            said.into_iter().find(|line| line.contains("dropped by kernel")).ok_or("nothing yet")
        })
        .await;
        assert!(dropped.starts_with("0 "), "the capture is not complete: {dropped}");
        Captured(fs::read(&self.file).unwrap())
    }

    /// Sends a packet that nobody else sends, until the file holds it. The file is written in the packets' order.
    async fn is_up_to_date(&mut self) {
        let word = format!("weft-tests-capture-{:032x}", rand::random::<u128>());
        let send = format!("printf %s {word} > /dev/udp/{}/9", self.beyond);
        eventually("the capture holds what is sent", async || {
            let mut command = self.place.command("bash");
            command.args(["-c", &send]);
            // The second packet to a port where nobody listens may be refused; the first one went.
            Finished::of(command, b"", PATIENCE).await;
            assert!(self.process.runs(), "tcpdump has ended: {:?}", self.process.stderr());
            match fs::read(&self.file) {
                Ok(bytes) if memmem::find(&bytes, word.as_bytes()).is_some() => Ok(()),
                Ok(bytes) => Err(format!("{} bytes without it", bytes.len())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }
}

impl Captured {
    /// Whether these bytes stand in a packet. What is longer than a packet may not be found.
    pub fn contains(&self, bytes: impl AsRef<[u8]>) -> bool {
        memmem::find(&self.0, bytes.as_ref()).is_some()
    }

    /// Of all packets, with what tcpdump adds to each.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}
