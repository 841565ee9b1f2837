//! What a weak peer announces of its share: the files on offer, and what must still be sent to each
//! super peer. It makes the pages of REGISTER and UPDATE. It never sends a page and knows no
//! connection.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::context::{Context, Reason, SessionId};
use crate::config::{
    PAGE_BYTES, SESSION_FILES_MAX, SHARE_REPORT_EVERY, STALE_FREED_PER_TURN, UPLOAD_NAMES_LOOKED_AT_MAX,
};
use crate::proto::Event;
use crate::proto::event::UploadReport;
use crate::time::Time;
use crate::wire::{FileRecord, Root, SharePath};

/// The most bytes of a record on the wire without its path: map, keys, size, root and the length of
/// the path.
const RECORD_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    size: u64,
    root: Root,
    collection: bool,
}

/// The files on offer.
#[derive(Debug)]
pub(super) struct Announcements {
    files: BTreeMap<SharePath, File>,
    /// Bytes of all files on offer.
    pub(super) bytes: u64,
    /// How many files came or changed, and how many went, since the last report.
    added: u64,
    removed: u64,
    reported: Option<Time>,
    /// What must still be sent to each super peer, by session.
    outboxes: Vec<Outbox>,
    /// The unsent states of lost sessions, until their memory is freed.
    stale: Vec<BTreeMap<SharePath, Option<File>>>,
}

/// What must still be sent to one super peer.
#[derive(Debug, Default)]
struct Outbox {
    /// Whether a session runs. Without a session no changes are noted, because the next session
    /// registers everything.
    runs: bool,
    /// Paths whose state the super peer does not know, with this state. The state is none if the
    /// file is gone.
    unsent: BTreeMap<SharePath, Option<File>>,
    /// Set while the list is being registered: the last path of the last page, or `None` in the
    /// inner `Option` before the first page.
    registered: Option<Option<SharePath>>,
}

/// A page of changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New and changed files.
    pub(super) added: Vec<FileRecord>,
    /// Paths of removed files.
    pub(super) removed: Vec<SharePath>,
}

impl Announcements {
    /// Nothing on offer yet, for this number of sessions.
    pub(super) fn new(sessions: usize) -> Announcements {
        let outboxes = std::iter::repeat_with(Outbox::default).take(sessions).collect();
        Announcements {
            files: BTreeMap::new(),
            bytes: 0,
            added: 0,
            removed: 0,
            reported: None,
            outboxes,
            stale: Vec::new(),
        }
    }

    /// Reports what has changed since the last report: at once, or after a while if the last report
    /// was recent.
    pub(super) fn report(&mut self, cx: &mut Context) {
        if self.added + self.removed == 0 {
            return;
        }
        if let Some(due) = self.reported.map(|at| at + SHARE_REPORT_EVERY).filter(|due| *due > cx.now) {
            return cx.timers.set(Reason::Share, due);
        }
        self.reported = Some(cx.now);
        let (added, removed) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
        cx.event(Event::Share { files: self.files.len() as u64, bytes: self.bytes, added, removed });
    }

    /// How many files are on offer.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Applies changes of the share. Returns how many files are left out because a session can
    /// register no more.
    pub(super) fn change(&mut self, added: Vec<FileRecord>, removed: Vec<SharePath>) -> usize {
        for path in removed {
            if let Some(before) = self.files.remove(&path) {
                self.bytes = self.bytes.saturating_sub(before.size);
                self.removed += 1;
                self.note(&path, None);
            }
        }
        let mut refused = 0;
        for FileRecord { path, size, root, collection } in added {
            let file = File { size, root, collection };
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
            self.added += 1;
            self.note(&path, Some(file));
        }
        refused
    }

    /// Fills in the names of the contents in these reports, as far as a bounded look at the share
    /// finds them.
    pub(super) fn name(&self, uploads: &mut [UploadReport]) {
        let mut unnamed: BTreeMap<Root, &mut UploadReport> =
            uploads.iter_mut().map(|upload| (upload.root, upload)).collect();
        for (path, file) in self.files.iter().take(UPLOAD_NAMES_LOOKED_AT_MAX) {
            if unnamed.is_empty() {
                return;
            }
            if let Some(upload) = unnamed.remove(&file.root) {
                (upload.path, upload.size) = (Some(path.as_str().to_owned()), Some(file.size));
            }
        }
    }

    /// Notes for each session that the state of this path is unsent.
    fn note(&mut self, path: &SharePath, state: Option<File>) {
        for outbox in self.outboxes.iter_mut().filter(|outbox| outbox.runs) {
            outbox.unsent.insert(path.clone(), state);
        }
    }

    fn outbox(&mut self, session: SessionId) -> &mut Outbox {
        &mut self.outboxes[usize::from(session.0)]
    }

    /// A session begins: everything must be registered, and no change is left to send.
    pub(super) fn restart(&mut self, session: SessionId) {
        self.rest(session);
        *self.outbox(session) = Outbox { runs: true, unsent: BTreeMap::new(), registered: Some(None) };
    }

    /// The session is lost, or has not begun.
    pub(super) fn rest(&mut self, session: SessionId) {
        let Outbox { unsent, .. } = std::mem::take(self.outbox(session));
        if !unsent.is_empty() {
            self.stale.push(unsent);
        }
    }

    /// Whether memory is to be freed.
    pub(super) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Frees memory of lost sessions, as much as fits in one turn.
    pub(super) fn tidy(&mut self) {
        for _ in 0..STALE_FREED_PER_TURN {
            let Some(stale) = self.stale.last_mut() else { return };
            if stale.pop_first().is_none() {
                self.stale.pop();
            }
        }
    }

    /// The list must be sent again from its beginning.
    pub(super) fn repeat(&mut self, session: SessionId) {
        self.outbox(session).registered = Some(None);
    }

    /// The rest of the list must not be sent now.
    pub(super) fn put_off(&mut self, session: SessionId) {
        self.outbox(session).registered = None;
    }

    /// The next page of the list, and whether more pages follow; none after the last page. There is
    /// a first page even if the list is empty.
    pub(super) fn next_registration(&mut self, session: SessionId) -> Option<(Vec<FileRecord>, bool)> {
        let after = self.outbox(session).registered.take()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        let mut bytes = 0;
        for (path, file) in self.files.range((from, Bound::Unbounded)) {
            bytes += path.as_str().len() + RECORD_BYTES;
            if bytes > PAGE_BYTES {
                let last = page.last().map(|record: &FileRecord| record.path.clone());
                self.outbox(session).registered = Some(last);
                return Some((page, true));
            }
            page.push(record(path.clone(), *file));
        }
        Some((page, false))
    }

    /// The next page of changes; none while the list is being registered, or if nothing changed.
    pub(super) fn next_update(&mut self, session: SessionId) -> Option<Changes> {
        let outbox = self.outbox(session);
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

fn record(path: SharePath, File { size, root, collection }: File) -> FileRecord {
    FileRecord { path, size, root, collection }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> FileRecord {
        FileRecord { path: SharePath::new(path).unwrap(), size, root: Root([7; 32]), collection: false }
    }

    fn path(path: &str) -> SharePath {
        SharePath::new(path).unwrap()
    }

    #[test]
    fn the_list_is_paged_in_order_without_a_gap() {
        let mut announcements = Announcements::new(1);
        let files: Vec<_> = (0..2000).map(|n| file(&format!("{n:04}{}", "x".repeat(96)), 1)).collect();
        announcements.change(files.clone(), vec![]);
        announcements.restart(SessionId(0));
        let mut registered = Vec::new();
        let mut pages = 0;
        loop {
            let (page, more) = announcements.next_registration(SessionId(0)).unwrap();
            let mut frame = Vec::new();
            let message = crate::wire::message::Register {
                seq: 1,
                port: 1,
                host: None,
                more_addr: None,
                http: false,
                files: page.clone(),
                more,
            };
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
        assert_eq!(announcements.next_registration(SessionId(0)), None);
        assert_eq!(announcements.next_update(SessionId(0)), None);
    }

    #[test]
    fn changes_wait_for_the_list_and_merge() {
        let mut announcements = Announcements::new(1);
        announcements.restart(SessionId(0));
        announcements.change(vec![file("a", 1), file("b", 1)], vec![]);
        assert_eq!(announcements.next_update(SessionId(0)), None);
        assert_eq!(
            announcements.next_registration(SessionId(0)).map(|(page, more)| (page.len(), more)),
            Some((2, false))
        );
        announcements.change(vec![file("a", 2)], vec![path("b")]);
        announcements.change(vec![file("c", 3)], vec![path("never")]);
        let changes = announcements.next_update(SessionId(0)).unwrap();
        assert_eq!(changes.added, [file("a", 2), file("c", 3)]);
        assert_eq!(changes.removed, [path("b")]);
        assert_eq!(announcements.next_update(SessionId(0)), None);
        assert_eq!((announcements.len(), announcements.bytes), (2, 5));
    }

    #[test]
    fn each_session_gets_everything() {
        let mut announcements = Announcements::new(2);
        announcements.change(vec![file("a", 1)], vec![]);
        announcements.restart(SessionId(0));
        assert_eq!(announcements.next_registration(SessionId(0)).map(|(page, _)| page.len()), Some(1));
        announcements.restart(SessionId(1));
        announcements.change(vec![file("b", 1)], vec![]);
        assert_eq!(announcements.next_registration(SessionId(1)).map(|(page, _)| page.len()), Some(2));
        assert_eq!(announcements.next_update(SessionId(0)).map(|changes| changes.added), Some(vec![file("b", 1)]));
        assert_eq!(announcements.next_update(SessionId(0)), None);
        assert_eq!(announcements.next_update(SessionId(1)).map(|changes| changes.added), Some(vec![file("b", 1)]));
    }

    #[test]
    fn without_a_session_nothing_is_noted_and_what_was_noted_is_freed_in_slices() {
        let mut announcements = Announcements::new(1);
        announcements.change(vec![file("a", 1)], vec![]);
        announcements.restart(SessionId(0));
        announcements.next_registration(SessionId(0));
        let files = |from: usize| (from..from + 2 * STALE_FREED_PER_TURN).map(|n| file(&format!("{n}"), 1)).collect();
        announcements.change(files(0), vec![]);
        assert!(!announcements.has_stale());
        announcements.rest(SessionId(0));
        announcements.change(files(100_000), vec![]);
        let mut turns = 0;
        while announcements.has_stale() {
            announcements.tidy();
            turns += 1;
        }
        assert_eq!(turns, 3);
        announcements.restart(SessionId(0));
        assert!(!announcements.has_stale());
        let page = announcements.next_registration(SessionId(0)).unwrap();
        assert!(page.1 && !page.0.is_empty());
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let mut announcements = Announcements::new(1);
        announcements.change(vec![file("a", 1)], vec![]);
        announcements.restart(SessionId(0));
        announcements.next_registration(SessionId(0));
        announcements.change(vec![file("a", 1)], vec![]);
        assert_eq!(announcements.next_update(SessionId(0)), None);
    }
}
