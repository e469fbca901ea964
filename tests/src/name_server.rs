//! A name server that knows one name, or does not.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};

pub struct NameServer {
    address: SocketAddr,
    answer: watch::Sender<Option<Ipv4Addr>>,
    asked: watch::Receiver<u64>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// Every name has this address, or none has one (NXDOMAIN).
    pub async fn start(answer: Option<Ipv4Addr>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (answer, told) = watch::channel(answer);
        let (count, asked) = watch::channel(0);
        let serving = tokio::spawn(serve(socket, told, count));
        Self { address, answer, asked, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, answer: Option<Ipv4Addr>) {
        self.answer.send_replace(answer);
    }

    /// Waits until it has been asked so many times more.
    pub async fn asked_again(&mut self, times: u64) {
        let goal = *self.asked.borrow() + times;
        let asked = self.asked.wait_for(|asked| *asked >= goal);
        tokio::time::timeout(crate::PATIENCE, asked).await.expect("it is not asked").unwrap();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, told: watch::Receiver<Option<Ipv4Addr>>, count: watch::Sender<u64>) {
    let mut query = [0; 512];
    loop {
        let (length, peer) = socket.recv_from(&mut query).await.unwrap();
        let reply = reply(&query[..length], *told.borrow());
        count.send_modify(|count| *count += 1);
        socket.send_to(&reply, peer).await.unwrap();
    }
}

/// RFC 1035, section 4.1: the header, the question as it came, and one record of a second's life.
fn reply(query: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    const HEADER: usize = 12;
    const A: [u8; 2] = [0, 1];
    let labels = query[HEADER..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[HEADER..HEADER + labels + 5];
    let record = address.filter(|_| question[labels + 1..labels + 3] == A);
    let code = if address.is_some() { 0 } else { 3 };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(record.is_some()), 0, 0, 0, 0]);
    reply.extend(question);
    if let Some(address) = record {
        // The name of the question, its type and class, a TTL of one second, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}
