//! Two hosts with a cable between them: network namespaces, which are gone when the test is.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use weft_tests::{Finished, PATIENCE, weft};

/// What the app's host has, and through which it reaches everything else.
pub const APP: &str = "10.77.0.2";
pub const APP_V6: &str = "fd77::2";
/// What the other host has.
pub const OUTSIDE: &str = "10.77.0.1";
pub const OUTSIDE_V6: &str = "fd77::1";
/// Another address of the other host.
pub const SECOND: &str = "10.77.0.3";

/// Where nothing is to arrive, a connection is given this long to do so.
const SHORT: Duration = Duration::from_secs(1);

pub struct Network {
    /// Whose traffic is redirected.
    pub app: Host,
    pub outside: Host,
}

pub struct Host {
    name: String,
}

impl Network {
    pub fn new() -> Self {
        let (app, outside) = (Host::new(), Host::new());
        run("ip", &["link", "add", "eth0", "netns", &app.name, "type", "veth", "peer", "eth0", "netns", &outside.name]);
        app.address(&[APP, APP_V6]);
        outside.address(&[OUTSIDE, SECOND, OUTSIDE_V6]);
        app.ip(&["route", "add", "default", "via", OUTSIDE]);
        app.ip(&["-6", "route", "add", "default", "via", OUTSIDE_V6]);
        Self { app, outside }
    }
}

impl Host {
    /// With nothing but loopback.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let host = Self { name: format!("weft-redirect-{}-{number}", std::process::id()) };
        run("ip", &["netns", "add", &host.name]);
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    fn address(&self, addresses: &[&str]) {
        for address in addresses {
            // Not to wait until nobody else is found to have it, as IPv6 does.
            let (prefix, at_once) = if address.contains(':') { (64, &["nodad"][..]) } else { (24, &[][..]) };
            let address = format!("{address}/{prefix}");
            self.ip(&[&["addr", "add", &address, "dev", "eth0"], at_once].concat());
        }
        self.ip(&["link", "set", "eth0", "up"]);
    }

    /// `ip` with these arguments.
    pub fn ip(&self, args: &[&str]) {
        run("ip", &[&["-n", &self.name], args].concat());
    }

    /// What `nft` prints.
    pub fn nft(&self, args: &[&str]) -> String {
        String::from_utf8(run("ip", &[&["netns", "exec", &self.name, "nft"], args].concat()).stdout).unwrap()
    }

    /// `weft redirect` with these flags.
    pub fn redirect(&self, flags: &[&str]) -> Finished {
        self.redirect_as(&[], flags)
    }

    /// The same, by way of a program such as `setpriv`.
    pub fn redirect_as(&self, before: &[&str], flags: &[&str]) -> Finished {
        let weft = weft(&[]);
        let weft = weft.get_program().to_str().unwrap();
        let output = self.exec(&[before, &[weft, "redirect"], flags].concat()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A command line that runs here.
    pub fn exec(&self, command_line: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(command_line);
        command
    }

    /// Makes something here. The sockets that a thread makes stay where it made them.
    pub fn make<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                make()
            });
            thread.join().unwrap()
        })
    }

    pub fn connect(&self, destination: &str) -> TcpStream {
        let destination: SocketAddr = destination.parse().unwrap();
        self.make(|| TcpStream::connect_timeout(&destination, PATIENCE))
            .unwrap_or_else(|error| panic!("{destination}: {error}"))
    }

    /// Connects to where nobody is to be reached, and is not, whatever the reason.
    pub fn cannot_connect(&self, destination: &str) {
        let destination: SocketAddr = destination.parse().unwrap();
        self.make(|| TcpStream::connect_timeout(&destination, SHORT)).expect_err("it was taken");
    }

    pub fn listen(&self, address: &str) -> Listener {
        let address: SocketAddr = address.parse().unwrap();
        let socket = self.make(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.bind(&address.into())?;
            socket.listen(16)?;
            Ok(socket)
        });
        Listener(socket.unwrap_or_else(|error| panic!("{address}: {error}")))
    }

    /// Bound to this address.
    pub fn udp(&self, address: &str) -> UdpSocket {
        let socket = self.make(|| UdpSocket::bind(address)).unwrap_or_else(|error| panic!("{address}: {error}"));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A panic here would hide the one that may have led here.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

pub struct Listener(Socket);

impl Listener {
    /// Accepts the next connection, as the program does to which it is redirected. Returns where it comes from, and
    /// where it was made to.
    pub fn accept(&self) -> (IpAddr, SocketAddr, TcpStream) {
        let (socket, from) = self.0.accept().expect("nothing came");
        let origin = match from.is_ipv4() {
            true => socket.original_dst_v4(),
            false => socket.original_dst_v6(),
        };
        // What was not redirected was made to where it arrived.
        let to = origin.or_else(|_| socket.local_addr()).unwrap().as_socket().unwrap();
        (from.as_socket().unwrap().ip(), to, socket.into())
    }

    /// Checks that this connection came here, and where it was made to.
    pub fn took(&self, client: &TcpStream, destination: &str) {
        let (_, to, stream) = self.accept();
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap(), "another came");
        assert_eq!(to, destination.parse().unwrap());
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
