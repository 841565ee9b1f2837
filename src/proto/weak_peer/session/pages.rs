//! The pages of the file list and of its changes on one connection of a session: their numbers,
//! which of them are acknowledged, and which must be sent again because the super peer has refused
//! files. It makes the messages; the session sends them.

use std::time::Duration;

use super::refused::Refused;
use crate::config::UPDATES_IN_FLIGHT_MAX;
use crate::proto::weak_peer::announce::Announcements;
use crate::proto::weak_peer::config::{Offer, Registered};
use crate::proto::weak_peer::context::SessionId;
use crate::wire::Message;
use crate::wire::message::{Register, Update};

/// The numbers of the REGISTERs and UPDATEs of a connection.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Number of the last page that was made, and number of the last page that was acknowledged.
    made: u64,
    acked: u64,
    /// Files that the super peer had no memory for.
    refused: Refused,
}

impl Pages {
    /// The next page of the file list or of its changes. None if no page is left, or if too many
    /// pages are not acknowledged.
    pub(super) fn next(
        &mut self,
        session: SessionId,
        (offer, registered): (&Offer, &Registered),
        announcements: &mut Announcements,
    ) -> Option<Message> {
        if self.refused.take_stop() {
            announcements.put_off(session);
        }
        if self.made - self.acked >= UPDATES_IN_FLIGHT_MAX {
            return None;
        }
        let seq = self.made + 1;
        let page = match announcements.next_registration(session) {
            Some((files, more)) if self.refused.on_page(more) => {
                Message::Update(Update { seq, add: files, del: Vec::new() })
            }
            Some((files, more)) => {
                let Offer { port, http, .. } = *offer;
                let Registered { host, more_addr, .. } = registered.clone();
                Message::Register(Register { seq, port, host, more_addr, http, files, more })
            }
            None => {
                let changes = announcements.next_update(session)?;
                Message::Update(Update { seq, add: changes.added, del: changes.removed })
            }
        };
        self.made = seq;
        Some(page)
    }

    /// The super peer has acknowledged the page with this number and all pages before it.
    ///
    /// # Errors
    /// The reason for people, if this acknowledgement cannot be right.
    pub(super) fn on_ack(&mut self, seq: u64) -> Result<(), String> {
        if seq <= self.acked || seq > self.made {
            return Err(format!("it acknowledged {seq}, and the last number sent is {}", self.made));
        }
        self.acked = seq;
        if self.are_acked() {
            self.refused.on_all_acknowledged();
        }
        Ok(())
    }

    /// Whether all pages are acknowledged.
    pub(super) fn are_acked(&self) -> bool {
        self.acked == self.made
    }

    /// Whether any page is acknowledged.
    pub(super) fn is_any_acked(&self) -> bool {
        self.acked > 0
    }

    /// Whether files are missing at the super peer because it has refused them.
    pub(super) fn are_refused(&self) -> bool {
        self.refused.is_any()
    }

    /// The super peer has refused files. Unless a wait runs already, returns the longest wait until
    /// the list is sent again.
    pub(super) fn on_refusal(&mut self) -> Option<Duration> {
        self.refused.on_refusal()
    }

    /// The wait is over: the list is sent again.
    pub(super) fn repeat(&mut self) {
        self.refused.begin();
    }
}
