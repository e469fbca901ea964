//! Free ports for programs that cannot choose one themselves.

use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that nobody else is given for the next minute.
///
/// A port that was only seen to be free could be given to someone else before the program takes it. Here a connection
/// to it is closed from the server's side first, which leaves the port in TIME_WAIT: the kernel then hands it to nobody
/// who asks for any port, but still to a server that asks for this one with SO_REUSEADDR, as servers do.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(server);
    drop(client);
    address.port()
}

/// Keeps the addresses of servers that have just ended for their successors, for as long as what is returned lives. To
/// connect to them fails all the same: nobody listens.
pub(crate) fn hold(addresses: &[SocketAddr]) -> Vec<Socket> {
    let held = addresses.iter().map(|address| {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&(*address).into()).unwrap();
        socket
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_for_a_server_that_asks_for_it() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let held = hold(&[address]);
        assert!(TcpStream::connect(address).is_err(), "nobody listens");
        let successor = TcpListener::bind(address).unwrap();
        drop(held);
        let _client = TcpStream::connect(address).unwrap();
        successor.accept().unwrap();
    }
}
