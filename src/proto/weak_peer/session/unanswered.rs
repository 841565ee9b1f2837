//! The messages of a session that wait for their answers, and the earliest deadline of these
//! answers.

use crate::config::{ANSWER_DEADLINE, LOGIN_DEADLINE};
use crate::time::Time;

/// When the oldest unanswered message of each kind was sent.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    pub(super) login: Option<Time>,
    pub(super) update: Option<Time>,
    pub(super) ping: Option<Time>,
}

impl Unanswered {
    /// When the session ends unless the answer that is due first has come; none if no answer is
    /// due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let Unanswered { login, update, ping } = *self;
        let login = login.map(|since| since + LOGIN_DEADLINE);
        let others = [update, ping].into_iter().flatten().map(|since| since + ANSWER_DEADLINE);
        login.into_iter().chain(others).min()
    }
}
