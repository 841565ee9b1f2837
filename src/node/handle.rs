//! How other threads control a running loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::Sender;

use crate::net::Alarm;
use crate::proto::{ClientId, Command};

/// What other threads and the host request from the loop. The channel has no cap: its only writers
/// are one prompt and the host.
#[derive(Debug)]
pub(super) enum Request {
    Command { client: ClientId, command: Command },
    Shutdown,
}

/// Sends requests to a running loop, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: Sender<Request>,
    pub(super) alarm: Alarm,
    /// The first signal that came, or 0.
    pub(super) signal: Arc<AtomicI32>,
}

impl Handle {
    /// Sends a command. The answers are events with this client id.
    pub fn command(&self, client: ClientId, command: Command) {
        self.request(Request::Command { client, command });
    }

    /// Ends the loop, as a signal does.
    pub fn shutdown(&self) {
        self.request(Request::Shutdown);
    }

    /// The signal that has ended the loop or will end it. With it, an interrupted command knows
    /// that it must not exit with 0.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    fn request(&self, request: Request) {
        // A loop that has ended accepts no more requests.
        if self.requests.send(request).is_ok() {
            self.alarm.ring();
        }
    }
}
