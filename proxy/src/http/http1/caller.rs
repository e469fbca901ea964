//! Whether the caller still waits for its answer.
//!
//! A caller that closes the connection and one that only sends nothing more look the same: both send a FIN. Envoy,
//! nginx and hyper take it for a caller that has gone, so that half-closing clients (BusyBox's wget, `nc -N`, old SOAP
//! stacks) never get an answer from them; haproxy goes on, so that the work of callers that gave up is done for nobody.
//! Here it depends on what the request said. Who has announced that it is the last on the connection says nothing new
//! with a FIN: its answer goes on, until the connection is reset or cannot be written to. Who meant to go on and
//! closes all the same has most likely given up, and gets a short time to prove otherwise.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::request_body::Served;
use crate::http::server::MAX_HEAD;

/// How often a caller is looked after that sends nothing more; and how long one is waited for that meant to go on,
/// while nothing moves toward it.
pub(super) const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Caller {
    /// It has said that this is its last request.
    is_last: bool,
    /// It sends nothing more, and is looked after.
    half_closed: Option<Pin<Box<Sleep>>>,
    /// How far the connection was when it was looked after last.
    moves: u32,
}

impl Caller {
    pub(super) fn new(is_last: bool) -> Self {
        Self { is_last, half_closed: None, moves: 0 }
    }

    /// Whether nothing comes behind what was read.
    pub(super) fn sends_no_more(&self) -> bool {
        self.half_closed.is_some()
    }

    /// Whether the caller has gone. What it sends ahead is kept for later.
    pub(super) fn is_gone(&mut self, served: &Served, cx: &mut Context<'_>) -> bool {
        let mut state = served.lock();
        if !state.decoder.is_ended() {
            // Who reads the body will see.
            state.watch_body(cx);
            return false;
        }
        let Some(connection) = &mut state.connection else { return true };
        while self.half_closed.is_none() {
            if connection.input.len() >= MAX_HEAD {
                return false;
            }
            match connection.poll_fill(cx, 0) {
                Poll::Pending => return false,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(0)) => {
                    self.moves = connection.moves;
                    self.half_closed = Some(Box::pin(sleep(LOOK)));
                }
            }
        }
        let Some(timer) = &mut self.half_closed else { return false };
        while timer.as_mut().poll(cx).is_ready() {
            let has_moved = std::mem::replace(&mut self.moves, connection.moves) != connection.moves;
            if connection.has_failed() || !self.is_last && !has_moved {
                return true;
            }
            timer.as_mut().reset(Instant::now() + LOOK);
        }
        false
    }
}
