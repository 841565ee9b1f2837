//! Answers the requests of HTTP about the share: the file or folder at a path, and the MD5s of a
//! content. The bytes of files are prepared like those of chunks. It serves only files that are
//! offered and are still at their paths in the state that was hashed. It computes MD5s in slices,
//! one content at a time.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::Digest as _;

use super::collections::Collections;
use super::folder::Stamp;
use super::hot::Small;
use super::md5_lanes::{Source, md5_each};
use super::serve::Serve;
use super::share::Share;
use super::target::{MAP_SUFFIX, PART_SUFFIX};
use crate::config::{
    HTTP_COMPLETE_MD5_BYTES_MAX, HTTP_HASHING_MAX, HTTP_LISTING_MAX, HTTP_MD5S_MAX, HTTP_PIECES_MAX, PIECE_BYTES,
};
use crate::http::Content;
use crate::http::listing::Entry;
use crate::http::metalink::Digests;
use crate::proto::ConnId;
use crate::proto::disk::ServeFailure;
use crate::wire::ids::{Md5, Root};
use crate::wire::record::name_of;

/// Pieces whose MD5s one slice computes.
const PIECES_PER_SLICE: u64 = 4;

/// What HTTP requests from the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpWork {
    /// Find the file or folder at this path.
    Path {
        /// The connection that gets the answer.
        conn: ConnId,
        /// The path; empty for the top of all shares.
        path: String,
        /// For a folder: the entry after which the page begins.
        after: Option<String>,
    },
    /// Find a content by its root.
    Root {
        /// The connection that gets the answer.
        conn: ConnId,
        /// The content.
        root: Root,
    },
    /// Compute the MD5s of a content.
    Sum {
        /// The content.
        root: Root,
    },
    /// Stop computing the MD5s of this content: no request waits for them.
    Leave {
        /// The content.
        root: Root,
    },
    /// Open the file that a download is writing to this path or has published there.
    Open {
        /// The content.
        root: Root,
        /// Its destination.
        path: PathBuf,
    },
    /// Remove the files of a download that were left at this path.
    Remove {
        /// Its destination.
        path: PathBuf,
    },
}

/// The answers.
#[derive(Clone, Debug)]
pub enum HttpDone {
    /// What was found.
    Found {
        /// The connection that gets the answer.
        conn: ConnId,
        /// What was found.
        what: AtPath,
    },
    /// The MD5s of a content. None if the content is no longer here, or if too many contents wait.
    Summed {
        /// The content.
        root: Root,
        /// The MD5s.
        digests: Option<Arc<Digests>>,
    },
    /// Answer to Open. No file means that it cannot be opened.
    Opened {
        /// The content.
        root: Root,
        /// The file. It stays the same file when it is published.
        file: Option<Arc<File>>,
    },
}

/// What is at a path.
#[derive(Clone, Debug)]
pub enum AtPath {
    /// Nothing that is shared.
    Nothing,
    /// A file that is being written or waits to be hashed.
    Unhashed,
    /// A small file, which was read.
    Small(Arc<Small>),
    /// A content.
    File {
        /// The content.
        content: Content,
        /// Last component of its path.
        name: String,
        /// Its MD5, if it is known.
        md5: Option<Md5>,
        /// The open file.
        file: Arc<File>,
    },
    /// A folder.
    Folder {
        /// Some of its entries.
        entries: Vec<Entry>,
        /// Whether more entries follow.
        more: bool,
    },
}

/// The MD5s that are known, and those that are being computed.
#[derive(Debug, Default)]
pub(super) struct Http {
    known: BTreeMap<Root, Arc<Digests>>,
    /// The contents in `known`, in the order in which they were first requested.
    order: VecDeque<Root>,
    /// The number of MD5s in `known`.
    md5s: usize,
    waiting: VecDeque<Root>,
    summing: Option<Summing>,
}

/// A content whose MD5s are being computed.
#[derive(Debug)]
struct Summing {
    root: Root,
    size: u64,
    at: u64,
    digests: Digests,
    piece: md5::Md5,
    all: Option<md5::Md5>,
}

impl Http {
    /// What is at a path. A folder and a collection may have the same name.
    pub(super) fn at_path(
        &mut self,
        (share, serve): (&mut Share, &mut Serve),
        path: &str,
        after: Option<&str>,
        buffer: &mut Vec<u8>,
    ) -> AtPath {
        share.trees.close();
        if let Some((root, stamp)) = share.catalog.offered_at(path) {
            let file = match serve.open_at(share, path, &stamp) {
                Ok(file) => file,
                Err(ServeFailure::NotFound) => return AtPath::Nothing,
                // The file has just been changed and will be hashed again.
                Err(ServeFailure::OutOfRange | ServeFailure::Changed) => return AtPath::Unhashed,
            };
            let second = |ns: i64| ns.div_euclid(1_000_000_000);
            let modified_s = u64::try_from(second(stamp.mtime_ns)).ok();
            let dated = second(stamp.mtime_ns) == second(stamp.ctime_ns);
            let (name, content) = (name_of(path), Content { root, size: stamp.size, modified_s, dated });
            let md5 = self.md5_of(root, stamp, &file, buffer);
            let at = share.trees.find(path).map(|(tree, below)| (tree.folder.path(), below));
            let small = at.and_then(|at| Small::read(&file, stamp, (content, name, md5), at));
            return match small {
                Some(small) => AtPath::Small(Arc::new(small)),
                None => AtPath::File { content, name: name.to_owned(), md5, file },
            };
        }
        // This is checked only for files, because a folder may have a million files below it.
        if share.catalog.is_file(path) && share.catalog.unhashed_at(path) > 0 {
            return AtPath::Unhashed;
        }
        let mut entries = share.catalog.children(path, after, HTTP_LISTING_MAX + 1);
        if entries.is_empty() && after.is_none() && !path.is_empty() {
            return AtPath::Nothing;
        }
        let more = entries.len() > HTTP_LISTING_MAX;
        entries.truncate(HTTP_LISTING_MAX);
        AtPath::Folder { entries, more }
    }

    /// A content, by its root.
    pub(super) fn content(
        &mut self,
        share: Option<(&mut Share, &mut Serve)>,
        collections: &mut Collections,
        root: Root,
        buffer: &mut Vec<u8>,
    ) -> AtPath {
        if collections.has(root) {
            let Some((size, file)) = collections.file_of(root, buffer) else { return AtPath::Nothing };
            let content = Content { root, size, modified_s: None, dated: false };
            return AtPath::File { content, name: root.to_string(), md5: None, file };
        }
        let Some((share, serve)) = share else { return AtPath::Nothing };
        share.trees.close();
        for (path, stamp) in share.catalog.holders(root) {
            if let Ok(file) = serve.open_at(share, &path, &stamp) {
                let md5 = self.md5_of(root, stamp, &file, buffer);
                let content = Content { root, size: stamp.size, modified_s: None, dated: false };
                return AtPath::File { content, name: name_of(&path).to_owned(), md5, file };
            }
        }
        AtPath::Nothing
    }

    /// The MD5 of a content, if it is known or the content has at most one piece.
    fn md5_of(&mut self, root: Root, stamp: Stamp, file: &File, buffer: &mut Vec<u8>) -> Option<Md5> {
        if let Some(digests) = self.known.get(&root) {
            return digests.all;
        }
        if stamp.size > PIECE_BYTES {
            return None;
        }
        let source = Source::File { file, offset: 0, length: usize::try_from(stamp.size).ok()? };
        let md5 = md5_each(&[source], buffer).pop()?.ok()?;
        if !is_unchanged(file, &stamp) {
            return None;
        }
        self.keep(root, Digests { piece_bytes: PIECE_BYTES, pieces: vec![md5], all: Some(md5) });
        Some(md5)
    }

    fn keep(&mut self, root: Root, digests: Digests) -> Arc<Digests> {
        let digests = Arc::new(digests);
        self.md5s += digests.pieces.len();
        match self.known.insert(root, digests.clone()) {
            Some(before) => self.md5s -= before.pieces.len(),
            None => self.order.push_back(root),
        }
        while self.md5s > HTTP_MD5S_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.md5s -= self.known.remove(&oldest).map_or(0, |digests| digests.pieces.len());
        }
        digests
    }

    /// Requests the MD5s of a content. Returns an answer at once if they are known, or if too many
    /// contents wait.
    pub(super) fn sum(&mut self, root: Root) -> Option<HttpDone> {
        if let Some(digests) = self.known.get(&root) {
            return Some(HttpDone::Summed { root, digests: Some(digests.clone()) });
        }
        if self.summing.as_ref().is_some_and(|summing| summing.root == root) || self.waiting.contains(&root) {
            return None;
        }
        if self.waiting.len() >= HTTP_HASHING_MAX {
            return Some(HttpDone::Summed { root, digests: None });
        }
        self.waiting.push_back(root);
        None
    }

    /// Stops computing the MD5s of a content.
    pub(super) fn leave(&mut self, root: Root) {
        self.waiting.retain(|waiting| *waiting != root);
        self.summing.take_if(|summing| summing.root == root);
    }

    /// Computes some MD5s. Returns `None` if there is nothing to do, and the answer once the last
    /// MD5 is computed.
    pub(super) fn slice(
        &mut self,
        share: &mut Share,
        serve: &mut Serve,
        buffer: &mut Vec<u8>,
    ) -> Option<Option<HttpDone>> {
        let root = match &self.summing {
            Some(summing) => summing.root,
            None => self.waiting.pop_front()?,
        };
        share.trees.close();
        let holders = share.catalog.holders(root);
        let opened = holders.iter().find_map(|(path, stamp)| Some((serve.open_at(share, path, stamp).ok()?, *stamp)));
        let Some((file, stamp)) = opened else { return Some(Some(self.give_up(root))) };
        let summing = self.summing.get_or_insert_with(|| Summing::new(root, stamp.size));
        match summing.step(&file, buffer) {
            Ok(_) if !is_unchanged(&file, &stamp) => Some(Some(self.give_up(root))),
            Ok(false) => Some(None),
            Ok(true) => {
                let summing = self.summing.take()?;
                let digests = self.keep(root, summing.end());
                Some(Some(HttpDone::Summed { root, digests: Some(digests) }))
            }
            Err(error) => {
                log::debug!("the MD5s of {root} are not computed: {error}");
                Some(Some(self.give_up(root)))
            }
        }
    }

    fn give_up(&mut self, root: Root) -> HttpDone {
        self.summing = None;
        HttpDone::Summed { root, digests: None }
    }
}

/// Opens the file that a download to this path has written so far.
pub(super) fn open_written(path: &Path) -> Option<Arc<File>> {
    let open = |path: &Path| File::open(path).ok().map(Arc::new);
    open(&hidden(path, PART_SUFFIX)).or_else(|| open(path))
}

/// Removes the files that a download to this path has left.
pub(super) fn remove_written(path: &Path) {
    for path in [path.to_owned(), hidden(path, PART_SUFFIX), hidden(path, MAP_SUFFIX)] {
        // Most of these files do not exist.
        let _ = std::fs::remove_file(path);
    }
}

/// The part file of this path, or its map.
fn hidden(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}

/// Whether the file is still in the state that was hashed.
fn is_unchanged(file: &File, stamp: &Stamp) -> bool {
    Stamp::of_file(file).as_ref() == Ok(stamp)
}

impl Summing {
    fn new(root: Root, size: u64) -> Summing {
        let mut piece_bytes = PIECE_BYTES;
        while size.div_ceil(piece_bytes) > HTTP_PIECES_MAX {
            piece_bytes *= 2;
        }
        let all = (size <= HTTP_COMPLETE_MD5_BYTES_MAX).then(md5::Md5::new);
        let digests = Digests { piece_bytes, pieces: Vec::new(), all: None };
        Summing { root, size, at: 0, digests, piece: md5::Md5::new(), all }
    }

    /// Computes some MD5s. Returns whether all are computed.
    fn step(&mut self, file: &File, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
        let end = self.size.min(self.at + PIECES_PER_SLICE * PIECE_BYTES);
        if self.digests.piece_bytes == PIECE_BYTES {
            let starts = (self.at..end).step_by(PIECE_BYTES as usize);
            let length = |offset: u64| usize::try_from(PIECE_BYTES.min(self.size - offset)).unwrap_or(0);
            let sources: Vec<Source<'_>> =
                starts.map(|offset| Source::File { file, offset, length: length(offset) }).collect();
            for md5 in md5_each(&sources, buffer) {
                self.digests.pieces.push(md5?);
            }
        }
        while self.at < end && (self.all.is_some() || self.digests.piece_bytes != PIECE_BYTES) {
            let length = usize::try_from(PIECE_BYTES.min(self.size - self.at)).unwrap_or(0);
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer[..length], self.at)?;
            self.at += length as u64;
            if let Some(all) = &mut self.all {
                all.update(&buffer[..length]);
            }
            if self.digests.piece_bytes != PIECE_BYTES {
                self.piece.update(&buffer[..length]);
                if self.at.is_multiple_of(self.digests.piece_bytes) || self.at == self.size {
                    self.digests.pieces.push(Md5(self.piece.finalize_reset().into()));
                }
            }
        }
        self.at = end;
        Ok(self.at == self.size)
    }

    fn end(self) -> Digests {
        Digests { all: self.all.map(|all| Md5(all.finalize().into())), ..self.digests }
    }
}
