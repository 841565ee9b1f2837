//! A command that a client gave, and its answers.

use std::time::Duration;

use crate::proto::ClientEvent;
use crate::proto::event::Outcome;
use crate::time::Time;

/// A command of a client and its answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The node that got the command.
    pub node: usize,
    /// When the command was given.
    pub at: Time,
    /// All answers, each with its time.
    pub events: Vec<(Time, ClientEvent)>,
}

impl Asked {
    /// How the command has ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self.events.last() {
            Some((_, ClientEvent::Done(outcome))) => Some(outcome),
            Some(_) | None => None,
        }
    }

    /// How long the command took, if it has ended.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.outcome().and(self.events.last()).map(|(at, _)| at.since(self.at))
    }
}
