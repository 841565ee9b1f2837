//! How long one turn reads. It has no clock of its own.

use std::time::Duration;

use crate::config::{QUERIES_PER_LOOK, TURN_READ_MAX, TURN_STRANGERS_MAX};
use crate::net::Arrival;
use crate::proto::Input;
use crate::wire::Message;

/// What a turn reads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Strangers,
    All,
}

/// What a turn has read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    queries: u32,
    /// Whether the last arrival was a query.
    is_query: bool,
    /// Whether a stranger was served.
    strangers: bool,
}

impl Pace {
    /// An arrival is about to be handled.
    pub(super) fn note(&mut self, arrival: &Arrival) {
        self.is_query = matches!(arrival, Arrival::Input(Input::Message { message: Message::Query(_), .. }));
        self.queries += u32::from(self.is_query);
        self.strangers |= arrival.is_of_stranger();
    }

    /// The arrival was handled. Returns what is read no more in this turn. `passed` returns the age
    /// of the turn. Each turn serves at least one stranger, however old it is.
    pub(super) fn rest(&self, passed: impl FnOnce() -> Duration) -> Option<Rest> {
        if self.is_query && !self.queries.is_multiple_of(QUERIES_PER_LOOK) {
            return None;
        }
        let passed = passed();
        if passed >= TURN_READ_MAX {
            return Some(Rest::All);
        }
        (self.strangers && passed >= TURN_STRANGERS_MAX).then_some(Rest::Strangers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ConnId;
    use crate::wire::message::Query;
    use crate::wire::{QueryKind, Search};

    const CONN: ConnId = ConnId { index: 0, generation: 0 };

    fn query() -> Arrival {
        let find = Search::new("x".to_owned(), QueryKind::Exact);
        let query = Query { req: 1, find, ttl: None, budget: None, policy: None };
        Arrival::Input(Input::Message { conn: CONN, message: Message::Query(query) })
    }

    /// What rests after these arrivals, if that is looked at when this time has passed.
    fn rests(arrivals: &[Arrival], passed: Duration) -> Option<Rest> {
        let mut pace = Pace::default();
        arrivals.iter().for_each(|arrival| pace.note(arrival));
        pace.rest(|| passed)
    }

    #[test]
    fn a_stranger_is_served_even_if_the_time_for_strangers_was_used_up_before() {
        let other = || Arrival::HttpSent { conn: CONN, req: 0 };
        let stranger = || Arrival::HttpBegun { conn: CONN };
        assert_eq!(rests(&[other()], TURN_STRANGERS_MAX), None);
        assert_eq!(rests(&[other(), stranger()], TURN_STRANGERS_MAX), Some(Rest::Strangers));
        assert_eq!(rests(&[stranger(), other()], TURN_STRANGERS_MAX), Some(Rest::Strangers));
        assert_eq!(rests(&[stranger()], TURN_STRANGERS_MAX - Duration::from_micros(1)), None);
        assert_eq!(rests(&[other()], TURN_READ_MAX), Some(Rest::All));
    }

    #[test]
    fn the_clock_is_read_once_for_several_queries() {
        let queries = |count: u32| (0..count).map(|_| query()).collect::<Vec<_>>();
        assert_eq!(rests(&queries(QUERIES_PER_LOOK - 1), TURN_READ_MAX), None);
        assert_eq!(rests(&queries(QUERIES_PER_LOOK), TURN_READ_MAX), Some(Rest::All));
    }
}
