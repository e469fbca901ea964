//! A name server that says what a test wants.

use super::*;

type Say = Box<dyn Fn(&Asked) -> Vec<Vec<u8>> + Send>;

/// By UDP and TCP on one port.
pub struct Fake {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    _serving: AbortOnDropHandle<()>,
}

struct Inner {
    say: Mutex<Say>,
    udp: AtomicUsize,
    tcp: AtomicUsize,
}

/// One question, as it came.
pub struct Asked {
    pub message: Message,
    pub tcp: bool,
}

impl Asked {
    pub fn name(&self) -> String {
        self.message.queries[0].name().to_ascii()
    }

    pub fn kind(&self) -> RecordType {
        self.message.queries[0].query_type()
    }

    /// An answer to it, to be filled.
    pub fn answer(&self) -> Message {
        let mut message = Message::response(self.message.id, OpCode::Query);
        message.metadata.recursion_desired = self.message.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_queries(self.message.queries.iter().cloned());
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            message.set_edns(edns);
        }
        message
    }

    pub fn with(&self, records: impl IntoIterator<Item = Record>) -> Vec<u8> {
        let mut message = self.answer();
        message.add_answers(records.into_iter().collect::<Vec<_>>());
        message.to_vec().unwrap()
    }

    pub fn nothing(&self, code: ResponseCode, soa: Record) -> Vec<u8> {
        let mut message = self.answer();
        message.metadata.response_code = code;
        message.add_authority(soa);
        message.to_vec().unwrap()
    }

    pub fn refusal(&self, code: ResponseCode) -> Vec<u8> {
        let mut message = self.answer();
        message.metadata.response_code = code;
        message.to_vec().unwrap()
    }
}

impl Fake {
    /// `say` is what is sent for a question: nothing, or one message after another.
    pub async fn start(say: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // Another test may have the port for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let inner = Arc::new(Inner { say: Mutex::new(Box::new(say)), udp: 0.into(), tcp: 0.into() });
        let serving = tokio::spawn(serve(inner.clone(), udp, tcp));
        Self { address, inner, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The same address for each name.
    pub async fn with(ip: &'static str, ttl: u32) -> Self {
        Self::start(move |asked| vec![asked.with([address(&asked.name(), ttl, ip)])]).await
    }

    pub async fn silent() -> Self {
        Self::start(|_| vec![]).await
    }

    pub fn says(&self, say: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static) {
        *self.inner.say.lock().unwrap() = Box::new(say);
    }

    pub fn asked(&self) -> usize {
        self.asked_over_udp() + self.asked_over_tcp()
    }

    pub fn asked_over_udp(&self) -> usize {
        self.inner.udp.load(Ordering::Relaxed)
    }

    pub fn asked_over_tcp(&self) -> usize {
        self.inner.tcp.load(Ordering::Relaxed)
    }
}

async fn serve(inner: Arc<Inner>, udp: UdpSocket, tcp: TcpListener) {
    let over_udp = async {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
            inner.udp.fetch_add(1, Ordering::Relaxed);
            let message = Message::from_vec(&buffer[..length]).unwrap();
            let said = (inner.say.lock().unwrap())(&Asked { message, tcp: false });
            for message in said {
                udp.send_to(&message, client).await.unwrap();
            }
        }
    };
    let over_tcp = async {
        loop {
            let (mut connection, _) = tcp.accept().await.unwrap();
            let Ok(message) = stream::read(&mut connection).await else { continue };
            inner.tcp.fetch_add(1, Ordering::Relaxed);
            let message = Message::from_vec(&message).unwrap();
            let said = (inner.say.lock().unwrap())(&Asked { message, tcp: true });
            for message in said {
                stream::write(&mut connection, &message).await.unwrap();
            }
        }
    };
    tokio::join!(over_udp, over_tcp);
}

/// An address where nobody listens, and nobody else will: it is taken by a socket that is connected to itself.
pub fn closed() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    std::mem::forget(socket);
    address
}
