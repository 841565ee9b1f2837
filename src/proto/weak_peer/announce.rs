//! A mirror of what the disk offers, and what of it each super peer has not been sent yet. Owns no session: it cuts pages,
//! the session numbers and sends them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::config::{PAGE_BYTES, SESSION_FILES_MAX};
use crate::wire::{FileRecord, Root, SharePath};

/// Bytes of a record on the wire beside its path, at most: map, keys, size, root and the path's own length.
const RECORD_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    size: u64,
    root: Root,
}

/// The files on offer.
#[derive(Debug)]
pub struct Share {
    files: BTreeMap<SharePath, File>,
    bytes: u64,
    /// By session.
    outboxes: Vec<Outbox>,
}

/// What one super peer has not been sent.
#[derive(Debug, Default)]
struct Outbox {
    /// Paths whose state the super peer does not know, as they are now: gone if there is none.
    unsent: BTreeMap<SharePath, Option<File>>,
    /// The last path of the REGISTER page that was cut last; none before the first.
    registered: Option<Option<SharePath>>,
}

/// A page of changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that came or changed.
    pub added: Vec<FileRecord>,
    /// Paths of files that went.
    pub removed: Vec<SharePath>,
}

impl Default for Share {
    fn default() -> Share {
        Share::new(1)
    }
}

impl Share {
    /// Nothing on offer yet, for so many sessions, counted from 0.
    #[must_use]
    pub fn new(sessions: usize) -> Share {
        let outboxes = std::iter::repeat_with(Outbox::default).take(sessions).collect();
        Share { files: BTreeMap::new(), bytes: 0, outboxes }
    }

    /// How many files are on offer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing is on offer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of all files on offer.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over what the disk says. Answers how many files were left out because a session may not hold more.
    pub fn change(&mut self, added: Vec<FileRecord>, removed: Vec<SharePath>) -> usize {
        for path in removed {
            if let Some(before) = self.files.remove(&path) {
                self.bytes = self.bytes.saturating_sub(before.size);
                self.tell(&path, None);
            }
        }
        let mut refused = 0;
        for FileRecord { path, size, root } in added {
            let file = File { size, root };
            if self.files.len() >= SESSION_FILES_MAX && !self.files.contains_key(&path) {
                refused += 1;
                continue;
            }
            match self.files.insert(path.clone(), file) {
                Some(before) if before == file => continue,
                Some(before) => self.bytes = self.bytes.saturating_sub(before.size),
                None => {}
            }
            self.bytes = self.bytes.saturating_add(size);
            self.tell(&path, Some(file));
        }
        refused
    }

    fn tell(&mut self, path: &SharePath, now: Option<File>) {
        for outbox in &mut self.outboxes {
            outbox.unsent.insert(path.clone(), now);
        }
    }

    /// A session begins anew: everything is to be registered, nothing to be updated.
    pub fn restart(&mut self, session: usize) {
        self.outboxes[session] = Outbox { unsent: BTreeMap::new(), registered: Some(None) };
    }

    /// The next page of the whole list and whether another follows; none once the last was cut. The first page is cut
    /// even if it is empty.
    pub fn next_registration(&mut self, session: usize) -> Option<(Vec<FileRecord>, bool)> {
        let outbox = &mut self.outboxes[session];
        let after = outbox.registered.take()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        let mut bytes = 0;
        for (path, file) in self.files.range((from, Bound::Unbounded)) {
            let record_bytes = path.as_str().len() + RECORD_BYTES;
            if bytes + record_bytes > PAGE_BYTES {
                outbox.registered = Some(page.last().map(|record: &FileRecord| record.path.clone()));
                return Some((page, true));
            }
            bytes += record_bytes;
            page.push(record(path.clone(), *file));
        }
        Some((page, false))
    }

    /// The next page of changes; none while the whole list is not out, or nothing changed.
    pub fn next_update(&mut self, session: usize) -> Option<Changes> {
        let outbox = &mut self.outboxes[session];
        if outbox.registered.is_some() {
            return None;
        }
        let mut changes = Changes::default();
        let mut bytes = 0;
        while let Some(entry) = outbox.unsent.first_entry() {
            bytes += entry.key().as_str().len() + RECORD_BYTES;
            if bytes > PAGE_BYTES {
                break;
            }
            match entry.remove_entry() {
                (path, Some(file)) => changes.added.push(record(path, file)),
                (path, None) => changes.removed.push(path),
            }
        }
        (changes != Changes::default()).then_some(changes)
    }
}

fn record(path: SharePath, File { size, root }: File) -> FileRecord {
    FileRecord { path, size, root }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> FileRecord {
        FileRecord { path: SharePath::new(path).unwrap(), size, root: Root([7; 32]) }
    }

    fn path(path: &str) -> SharePath {
        SharePath::new(path).unwrap()
    }

    #[test]
    fn the_list_is_paged_whole_and_in_order() {
        let mut share = Share::default();
        let files: Vec<_> = (0..2000).map(|n| file(&format!("{n:04}{}", "x".repeat(96)), 1)).collect();
        share.change(files.clone(), vec![]);
        share.restart(0);
        let mut registered = Vec::new();
        let mut pages = 0;
        loop {
            let (page, more) = share.next_registration(0).unwrap();
            let mut frame = Vec::new();
            let message = crate::wire::message::Register { seq: 1, port: 1, host: None, files: page.clone(), more };
            crate::wire::frame::encode(&crate::wire::Message::Register(message), &mut frame);
            assert!(frame.len() < crate::config::FRAME_BYTES_OPEN);
            registered.extend(page);
            pages += 1;
            if !more {
                break;
            }
        }
        assert!(pages > 1);
        assert_eq!(registered, files);
        assert_eq!(share.next_registration(0), None);
        assert_eq!(share.next_update(0), None);
    }

    #[test]
    fn changes_wait_for_the_list_and_merge() {
        let mut share = Share::default();
        share.restart(0);
        share.change(vec![file("a", 1), file("b", 1)], vec![]);
        assert_eq!(share.next_update(0), None);
        assert_eq!(share.next_registration(0).map(|(page, more)| (page.len(), more)), Some((2, false)));
        share.change(vec![file("a", 2)], vec![path("b")]);
        share.change(vec![file("c", 3)], vec![path("never")]);
        let changes = share.next_update(0).unwrap();
        assert_eq!(changes.added, [file("a", 2), file("c", 3)]);
        assert_eq!(changes.removed, [path("b")]);
        assert_eq!(share.next_update(0), None);
        assert_eq!((share.len(), share.bytes()), (2, 5));
    }

    #[test]
    fn each_session_is_sent_everything() {
        let mut share = Share::new(2);
        share.change(vec![file("a", 1)], vec![]);
        share.restart(0);
        assert_eq!(share.next_registration(0).map(|(page, _)| page.len()), Some(1));
        share.restart(1);
        share.change(vec![file("b", 1)], vec![]);
        assert_eq!(share.next_registration(1).map(|(page, _)| page.len()), Some(2));
        assert_eq!(share.next_update(0).map(|changes| changes.added), Some(vec![file("b", 1)]));
        assert_eq!(share.next_update(0), None);
        assert_eq!(share.next_update(1).map(|changes| changes.added), Some(vec![file("b", 1)]));
    }

    #[test]
    fn what_did_not_change_is_not_sent_again() {
        let mut share = Share::default();
        share.change(vec![file("a", 1)], vec![]);
        share.restart(0);
        share.next_registration(0);
        share.change(vec![file("a", 1)], vec![]);
        assert_eq!(share.next_update(0), None);
    }
}
