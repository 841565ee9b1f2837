//! A command that a client gave, and its answers.

use std::time::Duration;

use crate::proto::ClientEvent;
use crate::proto::event::Outcome;
use crate::time::Time;

/// A command of a client and its answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// At which node.
    pub node: usize,
    /// When it was asked.
    pub at: Time,
    /// Everything that was answered, with the time.
    pub events: Vec<(Time, ClientEvent)>,
}

impl Asked {
    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self.events.last() {
            Some((_, ClientEvent::Done(outcome))) => Some(outcome),
            Some(_) | None => None,
        }
    }

    /// How long it took, if it is over.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.outcome().and(self.events.last()).map(|(at, _)| at.since(self.at))
    }
}
