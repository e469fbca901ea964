//! A network of pods: a bridge in a namespace of its own, which is also every pod's way to elsewhere.

use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use super::{Pod, namespace::Namespace, pod};
use crate::{Folder, Place, binary, fixture};

/// No network knows of any other, so that all have the same addresses.
const V4: [u8; 3] = [10, 88, 0];
const V6: [u16; 7] = [0xfd88, 0, 0, 0, 0, 0, 0];
const HUB: u8 = 1;

pub struct Network {
    hub: Arc<Hub>,
    folder: Folder,
    last: AtomicU8,
}

/// Goes with the last pod.
pub(super) struct Hub {
    namespace: Namespace,
}

impl Network {
    pub fn new() -> Self {
        let folder = Folder::new();
        // Processes of other users find their files in it, and leave theirs.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(folder.temporary(), Permissions::from_mode(0o1777)).unwrap();
        let namespace = Namespace::create("hub");
        namespace.shell("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        namespace.ip(&format!(
            "link set lo up\n\
             link add bridge type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
             link set bridge up\n\
             addr add {}/24 dev bridge\n\
             addr add {}/64 dev bridge nodad\n",
            v4(HUB),
            v6(HUB),
        ));
        namespace.shell("cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding");
        Self { hub: Arc::new(Hub { namespace }), folder, last: AtomicU8::new(HUB) }
    }

    /// A pod that is on the network and runs nothing.
    pub fn pod(&self, name: &str) -> Pod {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Pod::new(pod::Plan {
            hub: self.hub.clone(),
            folder: self.folder.clone(),
            name,
            number,
            v4: v4(number),
            v6: v6(number),
            gateway: (v4(HUB), v6(HUB)),
        })
    }

    /// Readable for the users of all pods.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    pub fn place(&self) -> Place {
        self.namespace.place()
    }

    /// Puts the other end of the pod's `eth0` on the bridge.
    pub fn plug(&self, pod: &Namespace, number: u8) {
        let (cable, pod) = (cable(number), pod.name());
        self.namespace.ip(&format!(
            "link add {cable} type veth peer name eth0 netns {pod}\n\
             link set {cable} master bridge up\n"
        ));
    }

    /// Sends everything for `range`, such as `203.0.113.0/24`, to one of the pods.
    pub fn route(&self, range: &str, via: &str) {
        self.namespace.ip(&format!("route add {range} via {via}\n"));
    }
}

/// The end of the pod's cable in the hub.
pub(super) fn cable(number: u8) -> String {
    format!("pod{number}")
}

fn v4(number: u8) -> Ipv4Addr {
    let [a, b, c] = V4;
    Ipv4Addr::new(a, b, c, number)
}

fn v6(number: u8) -> Ipv6Addr {
    let [a, b, c, d, e, f, g] = V6;
    Ipv6Addr::new(a, b, c, d, e, f, g, number.into())
}

/// `weft`, where every user can run it: the tree that it was built in may be closed to others.
pub(super) fn weft(folder: &Folder) -> PathBuf {
    open_copy(binary::weft(), &folder.path().join("weft"))
}

/// A file of `fixtures`, where every user can read it.
pub(super) fn open_fixture(folder: &Folder, name: &str) -> String {
    let file = PathBuf::from(fixture(name));
    let copy = open_copy(&file, &folder.path().join(file.file_name().unwrap()));
    copy.to_str().unwrap().to_owned()
}

/// The same file where everyone can read it, and run it if it is a program.
pub(super) fn open_copy(file: &Path, to: &Path) -> PathBuf {
    if !to.exists() {
        let executable = fs::metadata(file).unwrap().permissions().mode() & 0o100 != 0;
        // Another pod may be about it, too: what is there is always whole.
        let new = to.with_extension(format!("new-{}", rand::random::<u32>()));
        // By another process: a program cannot be run while anybody has it open for writing, and whatever this process
        // has open, others have as well for a moment when they are started from another thread.
        let mode = if executable { "0755" } else { "0644" };
        let status = Command::new("install").args(["--mode", mode]).args([file, &new]).status().unwrap();
        assert!(status.success(), "{} cannot be copied", file.display());
        fs::rename(&new, to).unwrap();
    }
    to.to_owned()
}
