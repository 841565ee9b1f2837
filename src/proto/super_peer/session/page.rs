//! The files of one REGISTER or UPDATE that must still be removed, and those that must still be
//! added.

use std::vec::IntoIter;

use crate::proto::ConnId;
use crate::wire::{FileRecord, SharePath};

/// The page of a session.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) conn: ConnId,
    pub(super) removed: IntoIter<SharePath>,
    pub(super) added: IntoIter<FileRecord>,
    /// Its session has got an ERROR, because its account has no room for all files of the page.
    pub(super) is_refused: bool,
    /// Whether the list of all files is complete when this page has been processed.
    pub(super) is_last: bool,
}

impl Page {
    /// A page of the list of all files.
    pub(super) fn of_list(conn: ConnId, files: Vec<FileRecord>, is_last: bool) -> Page {
        Page { conn, removed: Vec::new().into_iter(), added: files.into_iter(), is_refused: false, is_last }
    }

    /// Changes of a list that is complete.
    pub(super) fn of_changes(conn: ConnId, removed: Vec<SharePath>, added: Vec<FileRecord>) -> Page {
        Page { conn, removed: removed.into_iter(), added: added.into_iter(), is_refused: false, is_last: false }
    }

    /// The number of files.
    pub(super) fn len(&self) -> usize {
        self.removed.len() + self.added.len()
    }
}
