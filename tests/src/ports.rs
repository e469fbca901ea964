//! Free ports for programs that cannot choose one themselves.

use std::net::{TcpListener, TcpStream};

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
