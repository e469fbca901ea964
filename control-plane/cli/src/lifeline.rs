//! How a process learns that the one that started it is gone, even by SIGKILL: the pipe between them ends.

use std::{
    io::{self, Read},
    thread,
};

use rustix::process::{Signal, getpid, kill_process};

/// From now on this process gets SIGTERM when `pipe` ends. What comes through it means nothing.
///
/// # Errors
/// There is no room for a thread.
pub fn terminate_at_its_end(mut pipe: impl Read + Send + 'static) -> io::Result<()> {
    let watch = move || {
        // A pipe that cannot be read tells no more than one that has ended.
        let _ = io::copy(&mut pipe, &mut io::sink());
        // A process may always signal itself.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    thread::Builder::new().name("lifeline".to_owned()).spawn(watch).map(drop)
}
