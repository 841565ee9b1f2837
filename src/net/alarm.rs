//! A way to wake the loop from another thread.

use std::sync::Arc;

/// Wakes the loop from another thread.
#[derive(Clone, Debug)]
pub struct Alarm(pub(super) Arc<mio::Waker>);

impl Alarm {
    /// Makes the poll return: the present one, or the next one.
    pub fn ring(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("cannot wake the loop: {error}");
        }
    }
}
