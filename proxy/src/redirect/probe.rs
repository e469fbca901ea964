//! One connection, or one question, of which is known where it must come out.
//!
//! Where the sidecar's port is free, the check listens on it itself and sees what comes. Where it is taken, by a sidecar
//! that runs, an answer is the proof, since nobody else is at the destination.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

/// What is redirected does not leave the host, so that an answer is there at once, or when a sidecar has asked others.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question for the name of 240.0.0.1, which a sidecar answers by itself: it is a virtual address, so nobody else is
/// asked who may be slow. RFC 1035, 3.5 and 4.1.
const QUESTION: [u8; 40] =
    *b"we\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x011\x010\x010\x03240\x07in-addr\x04arpa\x00\x00\x0c\x00\x01";
/// By this bit of the third byte an answer differs from a question.
const ANSWER: u8 = 0x80;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("cannot listen on {address} to see what comes: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "a connection to {destination} was not taken to port {port}: {source}. Something else decides about it: see \
         `nft list ruleset`, `iptables -t nat -S`, and whether loopback is up"
    )]
    NotTaken { destination: SocketAddr, port: u16, source: io::Error },
    #[error(
        "a connection to {destination} was made, but did not come to port {port}: something else redirects it first. \
         See `nft list ruleset` and `iptables -t nat -S`"
    )]
    Elsewhere { destination: SocketAddr, port: u16 },
    #[error("a connection to {destination} came to port {port}, but the kernel does not know where it went: {source}")]
    NoOrigin { destination: SocketAddr, port: u16, source: io::Error },
    #[error("a connection to {destination} came to port {port} as one to {origin}: its destination was changed before")]
    OtherOrigin { destination: SocketAddr, port: u16, origin: SocketAddr },
    #[error(
        "a question by UDP to {destination} got no answer through port {port}: {source}. Either something else decides \
         about it (see `nft list ruleset`), or the sidecar that has the port does not answer DNS"
    )]
    NoAnswer { destination: SocketAddr, port: u16, source: io::Error },
}

/// Who had the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    Check,
    Sidecar,
}

/// Connects to `destination`, and sees the connection come to `port`.
pub fn tcp(destination: SocketAddr, port: u16) -> Result<Taker, ProbeError> {
    let address = SocketAddr::new(loopback(destination.ip()), port);
    let listener = unless_taken(listen(address)).map_err(|source| ProbeError::Listen { address, source })?;
    let not_taken = |source| ProbeError::NotTaken { destination, port, source };
    let client = TcpStream::connect_timeout(&destination, PATIENCE);
    let Some(listener) = listener else {
        return match client {
            // The sidecar has taken it and, as nobody is there, let go of it, before this looked.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Taker::Sidecar),
            client => client.map(|_| Taker::Sidecar).map_err(not_taken),
        };
    };
    let client = client.map_err(not_taken)?;

    let from = client.local_addr().map_err(not_taken)?;
    let arrived = arrival(&listener, from).ok_or(ProbeError::Elsewhere { destination, port })?;
    match origin(&arrived, destination) {
        Ok(origin) if origin == Some(destination) => Ok(Taker::Check),
        Ok(Some(origin)) => Err(ProbeError::OtherOrigin { destination, port, origin }),
        Ok(None) => Err(ProbeError::Elsewhere { destination, port }),
        Err(source) => Err(ProbeError::NoOrigin { destination, port, source }),
    }
}

/// Asks a resolver at `destination`, and gets the answer through `port`.
pub fn udp(destination: SocketAddr, port: u16) -> Result<Taker, ProbeError> {
    let address = SocketAddr::new(loopback(destination.ip()), port);
    let server = unless_taken(UdpSocket::bind(address)).map_err(|source| ProbeError::Listen { address, source })?;
    ask(destination, server.as_ref()).map_err(|source| ProbeError::NoAnswer { destination, port, source })?;
    Ok(if server.is_some() { Taker::Check } else { Taker::Sidecar })
}

/// Asks; answers as well, where there is a `server` to do so. That the answer comes from `destination` is the kernel's
/// to see to: the socket hears nobody else.
fn ask(destination: SocketAddr, server: Option<&UdpSocket>) -> io::Result<()> {
    let client = UdpSocket::bind((unspecified(destination.ip()), 0))?;
    client.connect(destination)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.send(&QUESTION)?;
    if let Some(server) = server {
        answer(server, client.local_addr()?)?;
    }
    let mut answer = [0; 512];
    client.recv(&mut answer)?;
    match (QUESTION, answer) {
        ([a, b, ..], [c, d, flags, ..]) if (a, b) == (c, d) && flags & ANSWER != 0 => Ok(()),
        _ => Err(io::Error::other("what came is no answer to it")),
    }
}

/// Answers the question that came from `from`; programs of the same host may ask meanwhile.
fn answer(server: &UdpSocket, from: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    server.set_read_timeout(Some(PATIENCE))?;
    let mut question = [0; 512];
    while Instant::now() < deadline {
        let (length, sender) = server.recv_from(&mut question)?;
        if sender == from && question.get(..length) == Some(&QUESTION) {
            let mut answer = QUESTION;
            answer.iter_mut().skip(2).take(1).for_each(|flags| *flags |= ANSWER);
            return server.send_to(&answer, sender).map(drop);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// With a time limit for `accept`, which std has no word for.
fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    Ok(socket)
}

fn unless_taken<T>(bound: io::Result<T>) -> io::Result<Option<T>> {
    match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        bound => bound.map(Some),
    }
}

/// The connection that came from `from`; programs of the same host may connect meanwhile.
fn arrival(listener: &Socket, from: SocketAddr) -> Option<Socket> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (socket, sender) = listener.accept().ok()?;
        if sender.as_socket() == Some(from) {
            return Some(socket);
        }
    }
    None
}

#[cfg(target_os = "linux")]
fn origin(socket: &Socket, destination: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let origin = if destination.is_ipv4() { socket.original_dst_v4()? } else { socket.original_dst_v6()? };
    Ok(origin.as_socket())
}

#[cfg(not(target_os = "linux"))]
fn origin(_: &Socket, _: SocketAddr) -> io::Result<Option<SocketAddr>> {
    Err(io::ErrorKind::Unsupported.into())
}

fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Any address, of the family of `family`.
pub fn unspecified(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::{
        op::Message,
        rr::{Name, RecordType},
    };
    use weft_proxy_api::virtual_address::as_virtual;

    use super::*;

    #[test]
    fn a_sidecar_answers_the_question_by_itself() {
        let message = Message::from_vec(&QUESTION).unwrap();
        let [question] = message.queries.as_slice() else { panic!("one question") };
        let ip: IpAddr = [240, 0, 0, 1].into();
        assert!(as_virtual(ip).is_some());
        assert_eq!(*question.name(), Name::from(ip));
        assert_eq!(question.query_type(), RecordType::PTR);
    }
}
