//! The four methods that a driver calls on a machine, and the source of its random numbers.

use super::glance::Glance;
use super::input::Input;
use super::output::Output;
use crate::time::Time;

/// A protocol machine. After every call of a `handle_*` method the caller drains
/// [`Role::poll_output`] to `None`.
///
/// - `handle_*`: what happened;
/// - `poll_*`: what to do, and when to come back;
/// - getters are on the concrete types, for tests and invariants.
pub trait Role {
    /// Handles one input.
    fn handle_input(&mut self, now: Time, input: Input<'_>);
    /// Fires the timers that are due at `now`. If none is due, nothing happens.
    fn handle_timeout(&mut self, now: Time);
    /// The next output.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to call [`Role::handle_timeout`]. If the time is not after `now`, work is left over
    /// from this turn.
    fn poll_timeout(&self) -> Option<Time>;
    /// What it shows about itself; nothing by default.
    fn glance(&self) -> Glance {
        Glance::default()
    }
}

/// A machine that is lent to the loop, so that its owner can look at it afterwards.
impl<R: Role + ?Sized> Role for &mut R {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        (**self).handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Time) {
        (**self).handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        (**self).poll_output()
    }

    fn poll_timeout(&self) -> Option<Time> {
        (**self).poll_timeout()
    }

    fn glance(&self) -> Glance {
        (**self).glance()
    }
}

/// A source of random numbers: the operating system in production, the seed in the simulator.
pub trait Entropy: Send {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;
}
