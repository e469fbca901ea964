//! One pod: a namespace with addresses, and commands that run in it as one of its users.

use std::{
    ffi::OsStr,
    fmt::Write,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    gate,
    namespace::Namespace,
    network::{self, Hub},
};
use crate::{Finished, Folder, PATIENCE, Place, Process, eventually};

/// Whom a process in a pod runs as. The numbers need no entry in the machine's own /etc/passwd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32);

impl User {
    pub const ROOT: Self = Self(0);
    /// The application's: what it sends and gets is redirected.
    pub const APP: Self = Self(1000);
    /// The sidecar's, which redirection exempts.
    pub const PROXY: Self = Self(2102);

    pub fn id(self) -> u32 {
        self.0
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    app:x:1000:1000:the application:/:/bin/sh\n\
    weft:x:2102:2102:the sidecar:/:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\nweft:x:2102:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Pod {
    name: String,
    number: u8,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    namespace: Namespace,
    hub: Arc<Hub>,
    network_folder: Folder,
    folder: PathBuf,
    hosts: Mutex<String>,
}

/// What the network decides about a new pod.
pub(super) struct Plan<'a> {
    pub hub: Arc<Hub>,
    pub folder: Folder,
    pub name: &'a str,
    pub number: u8,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub gateway: (Ipv4Addr, Ipv6Addr),
}

impl Pod {
    pub(super) fn new(plan: Plan<'_>) -> Self {
        let Plan { hub, folder: network_folder, name, number, v4, v6, gateway } = plan;
        let namespace = Namespace::create(name);
        // Addresses are there at once, and the application may take the ports that its kind has everywhere.
        namespace
            .shell("cd /proc/sys/net; echo 0 > ipv6/conf/default/accept_dad; echo 0 > ipv4/ip_unprivileged_port_start");
        hub.plug(&namespace, number);
        namespace.ip(&format!(
            "link set lo up\n\
             addr add {v4}/24 dev eth0\n\
             addr add {v6}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via {}\n\
             route add default via {}\n",
            gateway.0, gateway.1
        ));
        let folder = network_folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        User::APP.owns(&folder);
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{v4} {name}\n{v6} {name}\n").into();
        let pod = Self { name: name.to_owned(), number, v4, v6, namespace, hub, network_folder, folder, hosts };
        // Nobody answers there: who asks for a name that is not in `hosts` is told so at once.
        pod.write_etc(&format!("nameserver {}\n", gateway.0));
        pod
    }

    fn write_etc(&self, resolv: &str) {
        self.namespace.etc("resolv.conf", resolv);
        self.namespace.etc("hosts", &self.hosts.lock().unwrap());
        self.namespace.etc("passwd", PASSWD);
        self.namespace.etc("group", GROUP);
        self.namespace.etc("nsswitch.conf", NSSWITCH);
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    pub fn place(&self) -> Place {
        self.namespace.place()
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What of the hub is the other end of its `eth0`.
    pub(super) fn cable(&self) -> String {
        network::cable(self.number)
    }

    /// Of the whole network.
    pub fn network_folder(&self) -> &Folder {
        &self.network_folder
    }

    /// Its own, which belongs to the application's user.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in its folder, for everyone to read.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The path of a copy of a file of `fixtures` that the pod's users can read.
    pub fn fixture(&self, name: &str) -> String {
        network::open_fixture(&self.network_folder, name)
    }

    /// An entry in the pod's /etc/hosts.
    pub fn knows(&self, name: &str, address: impl Into<IpAddr>) {
        let mut hosts = self.hosts.lock().unwrap();
        writeln!(hosts, "{} {name}", address.into()).unwrap();
        self.namespace.etc("hosts", &hosts);
    }

    /// The only line of the pod's /etc/resolv.conf that matters.
    pub fn asks(&self, server: impl Into<IpAddr>) {
        self.namespace.etc("resolv.conf", &format!("nameserver {}\n", server.into()));
    }

    /// Another address beside its own; everything for `range` comes to it.
    pub fn is_also(&self, address: IpAddr, range: &str) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        self.namespace.ip(&format!("addr add {address}/{bits} dev eth0\n"));
        let via = if address.is_ipv4() { IpAddr::from(self.v4) } else { self.v6.into() };
        self.hub.route(range, &via.to_string());
    }

    /// From now on its connections come from these ports only.
    pub fn has_ports(&self, ports: RangeInclusive<u16>) {
        let (first, last) = ports.into_inner();
        self.namespace.shell(&format!("echo '{first} {last}' > /proc/sys/net/ipv4/ip_local_port_range"));
    }

    /// Its connections take ports again whose last connection ended more than a second ago, and not a minute as usual:
    /// to one address, the kernel allows some 470 new connections a second without that.
    pub fn reuses_ports(&self) {
        self.namespace.shell("echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse");
    }

    /// A command in the pod's folder. Nothing of the machine's environment is in its way.
    pub fn command(&self, user: User, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let found = program.to_str().filter(|name| !name.contains('/')).and_then(gate::program);
        let mut command = self.place().command(gate::program("setpriv").expect("the test has asked for it"));
        let id = user.id().to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--"]);
        command.arg(found.as_deref().map_or(program, Path::as_os_str));
        command.current_dir(&self.folder).env("PATH", PATH).env("HOME", &self.folder).env("LC_ALL", "C.UTF-8");
        command.env("TMPDIR", self.network_folder.temporary());
        command
    }

    /// As `command`, with arguments.
    pub fn words(&self, user: User, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = self.command(user, &words[0]);
        command.args(&words[1..]);
        command
    }

    /// Runs a command of the application's user to its end.
    pub async fn run(&self, words: &[impl AsRef<OsStr>]) -> Finished {
        Finished::of(self.words(User::APP, words), b"", PATIENCE).await
    }

    /// As `run`, with a deadline of its own.
    pub async fn run_within(&self, limit: Duration, words: &[impl AsRef<OsStr>]) -> Finished {
        Finished::of(self.words(User::APP, words), b"", limit).await
    }

    /// Starts a program of the application's user.
    pub fn start(&self, words: &[impl AsRef<OsStr>]) -> Process {
        let mut command = self.words(User::APP, words);
        let program = Path::new(&words[0]).file_name().unwrap().to_string_lossy().into_owned();
        Process::start(&format!("{}-{program}", self.name), &mut command, &self.network_folder)
    }

    /// Waits until something listens on the TCP port. No connection is made for it.
    pub async fn listens(&self, port: u16) {
        eventually(&format!("{} listens on {port}", self.name), async || {
            let filter = format!("sport = :{port}");
            let sockets = self.run(&["ss", "--no-header", "--listening", "--tcp", "--numeric", &filter]).await;
            if sockets.expect_ok().trim().is_empty() { Err("it does not") } else { Ok(()) }
        })
        .await;
    }
}

impl User {
    pub(super) fn owns(self, path: &Path) {
        chown(path, Some(self.0), Some(self.0)).unwrap();
    }
}
