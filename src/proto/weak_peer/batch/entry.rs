//! The files of a command of many files: each with its content and its sources.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::PIECE_BYTES;
use crate::error::Failure;
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::download::is_possible;
use crate::proto::{ClientId, PieceOrder, Verify};
use crate::time::Time;
use crate::wire::collection::Item;
use crate::wire::message::SourceRecord;
use crate::wire::name::apart;
use crate::wire::{Root, SharePath};

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) struct Entry {
    /// The path below the destination. It can be any text.
    pub(in crate::proto::weak_peer) path: String,
    pub(in crate::proto::weak_peer) root: Root,
    /// Whether a hit says that this is a collection. Then the files of the collection are
    /// downloaded.
    pub(in crate::proto::weak_peer) collection: bool,
    /// The sources, each with the size that its hit claims.
    pub(in crate::proto::weak_peer) sources: Vec<(Contact, u64)>,
}

impl Entry {
    pub(in crate::proto::weak_peer) fn new(path: &str, root: Root) -> Entry {
        Entry { path: path.to_owned(), root, collection: false, sources: Vec::new() }
    }

    /// The size that most hits claim. If two sizes have equally many claims, it is the smaller one.
    pub(super) fn size(&self) -> u64 {
        let times = |size: u64| self.sources.iter().filter(|(_, claim)| *claim == size).count();
        let sizes = self.sources.iter().map(|(_, size)| *size);
        sizes.min_by_key(|size| (std::cmp::Reverse(times(*size)), *size)).unwrap_or(0)
    }

    /// The smallest size that a hit claims.
    pub(super) fn least_size(&self) -> u64 {
        self.sources.iter().map(|(_, size)| *size).min().unwrap_or(0)
    }

    /// Whether this is a file of at most one piece, as hits claim.
    pub(super) fn is_small(&self) -> bool {
        !self.collection && self.size() <= PIECE_BYTES
    }

    /// The item to fetch over a connection that small files share, and its holders; none if the
    /// file needs a download of its own.
    pub(super) fn as_item(&self) -> Option<(Item, Vec<Contact>)> {
        let size = self.size();
        let path = SharePath::new(&self.path).filter(|_| self.is_small() && is_possible(self.root, size))?;
        let sources = self.sources.iter().filter(|(_, claim)| *claim == size).map(|(at, _)| at.clone());
        let sources: Vec<Contact> = sources.collect();
        let item = Item { path, size, root: self.root, executable: false };
        (!sources.is_empty()).then_some((item, sources))
    }

    /// The hits that it was made from, with this path.
    pub(in crate::proto::weak_peer) fn into_records(self, path: &SharePath) -> Vec<SourceRecord> {
        let record = |(at, size): (Contact, u64)| SourceRecord {
            path: path.clone(),
            size,
            root: self.root,
            collection: self.collection,
            node: at.node,
            addr: at.addr,
            other: at.other,
            unreached: at.unreached,
            http: false,
            member: None,
        };
        self.sources.into_iter().map(record).collect()
    }
}

/// Makes the names of files that were not taken as parts of a folder different: of several contents
/// with the same name, the first keeps it. If the name with digits of the root is taken too, the
/// complete root becomes the name.
pub(in crate::proto::weak_peer) fn tell_apart(entries: &mut [Entry]) {
    let mut names = BTreeSet::new();
    let named = entries.iter().enumerate().filter(|(_, entry)| !entry.path.contains('/'));
    let later = named.filter(|(_, entry)| !names.insert(entry.path.clone())).map(|(at, _)| at);
    for at in later.collect::<Vec<_>>() {
        let Entry { path, root, .. } = &mut entries[at];
        *path = apart(path, root);
        if !names.insert(path.clone()) {
            *path = root.to_string();
        }
    }
}

/// A command of many files.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Many {
    pub(in crate::proto::weak_peer) client: ClientId,
    pub(in crate::proto::weak_peer) asked_at: Time,
    pub(in crate::proto::weak_peer) entries: Vec<Entry>,
    /// Files that were also requested and cannot be downloaded.
    pub(in crate::proto::weak_peer) failures: Vec<Failure>,
    /// The folder that the files go to; none means the folder for downloads without a destination.
    pub(in crate::proto::weak_peer) folder: Option<PathBuf>,
    pub(in crate::proto::weak_peer) verify: Verify,
    pub(in crate::proto::weak_peer) pieces: PieceOrder,
    /// How long a file may take without a verified piece and at a low rate; zero means forever.
    pub(in crate::proto::weak_peer) timeout: Duration,
    /// Whether no other source may be used.
    pub(in crate::proto::weak_peer) only: bool,
}
