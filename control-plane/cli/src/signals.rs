//! The signals that ask `weft run` and `weft demo` to end.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Listens from its making on, so that no signal is lost between two waits.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Terminate,
    Interrupt,
    Hangup,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel-safe.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.hangup.recv() => Request::Hangup,
        }
    }
}

impl Request {
    pub fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::TERM,
            Self::Interrupt => Signal::INT,
            Self::Hangup => Signal::HUP,
        }
    }

    /// As a shell reports a process that the signal ended.
    pub fn exit_code(self) -> u8 {
        u8::try_from(128 + self.signal().as_raw()).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(Request::Terminate.exit_code(), 143);
        assert_eq!(Request::Interrupt.exit_code(), 130);
        assert_eq!(Request::Hangup.exit_code(), 129);
    }
}
