//! A running crowd, and the next steps of the crowd of the first phase.

use super::plan::{Crowd, Fate};
use crate::proto::ClientId;
use crate::wire::Root;

/// A step of the crowd of the first phase.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The first source gets the content.
    Begin,
    /// The member with this number begins its download.
    Member(usize),
    Look,
}

/// The crowd.
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    pub(super) crowd: Crowd,
    pub(super) root: Root,
    pub(super) path: String,
    /// Whether the source has left or died.
    pub(super) is_over: bool,
    /// The client that has left.
    pub(super) left: Option<ClientId>,
}

impl Gathering {
    pub(super) fn new(crowd: Crowd, root: Root, path: String) -> Gathering {
        Gathering { crowd, root, path, is_over: false, left: None }
    }

    /// Whether a member or the source may still leave or die.
    pub(super) fn may_change(&self) -> bool {
        !self.is_over && (self.crowd.fate != Fate::Stays || self.crowd.one_leaves && self.left.is_none())
    }

    /// Whether this client has not left.
    pub(super) fn stays(&self, client: ClientId) -> bool {
        self.left != Some(client)
    }
}
