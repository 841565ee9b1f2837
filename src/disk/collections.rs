//! The collections that this peer has made: where they are kept, how they are read again, and how
//! they are registered and served. It does not make collections, and knows no file of the share.
//!
//! Each collection is a file of the state folder, with its root as the name. A list names them, the
//! oldest first. A file that is not in the list was left by a crash and is removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::durable::make_folders;
use super::folder::{Stamp, is_starved};
use super::hash::{ContentDigest, FileHash, piece_length, read_range};
use super::md5_lanes::{Source, md5_each};
use super::serve::{ChunkRequest, Prepared, Ready};
use crate::config::{CHUNK_BYTES_MAX, COLLECTIONS_KEPT_MAX, MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::{Page, ServeFailure};
use crate::proto::weak_peer::download::manifest::edge_of;
use crate::wire::ids::{Cv, Root};
use crate::wire::{FileRecord, SharePath};

/// The name of the list, and that of its new version.
const LIST: &str = "list.jsonl";
const LIST_NEW: &str = "list.jsonl.new";
/// The names of collections while they are written: of one that is made here, and of the copy of a
/// list that was fetched.
pub(super) const MADE: &str = "unfinished-made";
pub(super) const FETCHED: &str = "unfinished-fetched";
/// Version of the list, in its first line.
const LIST_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    v: u32,
}

/// One collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) root: Root,
    /// The folder from which it was made, as a path of the share.
    pub(super) folder: SharePath,
    pub(super) size: u64,
}

/// A collection that is being served.
#[derive(Debug)]
struct Opened {
    root: Root,
    size: u64,
    /// The state of the file when it was opened and hashed.
    stamp: Stamp,
    file: Arc<File>,
    digest: Arc<ContentDigest>,
}

/// All collections of a peer.
#[derive(Debug, Default)]
pub(super) struct Collections {
    /// The folder that holds them; none if no collection is kept.
    pub(super) folder: Option<PathBuf>,
    kept: Vec<Kept>,
    /// The digests of collections that were served, and the state in which each was hashed.
    hashed: BTreeMap<Root, (Stamp, Arc<ContentDigest>)>,
    /// The collection that was served last.
    opened: Option<Opened>,
}

/// Records to register, and paths to remove.
pub(super) type Changes = (Vec<FileRecord>, Vec<SharePath>);

impl Collections {
    /// The list is not read yet.
    pub(super) fn closed(folder: Option<PathBuf>) -> Collections {
        Collections { folder, ..Collections::default() }
    }

    /// Reads the list. Entries that cannot be read are left out with a warning.
    pub(super) fn open(folder: Option<PathBuf>) -> Collections {
        let mut collections = Collections::closed(folder);
        let Some(folder) = collections.folder.clone() else { return collections };
        match read_list(&folder.join(LIST)) {
            Ok(kept) => collections.kept = kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                // The files of the collections stay, because a newer version can read them.
                log::warn!("the list of collections in {} cannot be read: {error}", folder.display());
                collections.folder = None;
                return collections;
            }
        }
        collections.kept.retain(|kept| {
            let length = fs::metadata(folder.join(kept.root.to_string())).map(|found| found.len());
            let there = length.is_ok_and(|length| length == kept.size);
            if !there {
                log::warn!("the collection of {} is lost; make it again with sprat uri", kept.folder.as_str());
            }
            there
        });
        collections.remove_unlisted(&folder);
        collections
    }

    fn remove_unlisted(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let listed = self.kept.iter().any(|kept| name == kept.root.to_string().as_str());
            if !listed && name != LIST {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The records of the collections. The newest collection of a folder has the path of the
    /// folder. Older ones have digits of their root in their path. The path of a file is never
    /// used.
    pub(super) fn records(&self, is_file: impl Fn(&str) -> bool) -> BTreeMap<SharePath, (u64, Root)> {
        let mut records = BTreeMap::new();
        for Kept { root, folder, size } in self.kept.iter().rev() {
            let marked = format!("{} ({:.8})", folder.as_str(), root.to_string());
            let labels = [Some(folder.clone()), SharePath::new(&marked)].into_iter().flatten();
            let free = labels.into_iter().find(|label| !records.contains_key(label) && !is_file(label.as_str()));
            if let Some(label) = free {
                records.insert(label, (*size, *root));
            }
        }
        records
    }

    /// The file into which a collection is written, with this name. None if no collections are
    /// kept.
    pub(super) fn begin(&self, name: &str) -> io::Result<Option<File>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        make_folders(folder, 0o700)?;
        File::create(folder.join(name)).map(Some)
    }

    /// Keeps a collection that was written to that file. Returns what this changes for the super
    /// peers. Once it returns, the collection survives a power cut.
    pub(super) fn keep(
        &mut self,
        kept: Kept,
        (name, file): (&str, &File),
        is_file: impl Fn(&str) -> bool,
    ) -> io::Result<Changes> {
        let Some(folder) = self.folder.clone() else { return Ok(Changes::default()) };
        let before = self.records(&is_file);
        file.sync_all()?;
        rename(&folder.join(name), &folder.join(kept.root.to_string()))?;
        let mut list = self.kept.clone();
        list.retain(|other| other.root != kept.root);
        list.push(kept);
        let over = list.len().saturating_sub(COLLECTIONS_KEPT_MAX);
        let gone: Vec<Kept> = list.drain(..over).collect();
        write_list(&folder, &list)?;
        self.kept = list;
        for old in gone {
            log::warn!(
                "the collection {} of {} goes: {COLLECTIONS_KEPT_MAX} newer ones are kept",
                old.root,
                old.folder.as_str()
            );
            self.hashed.remove(&old.root);
            let _ = fs::remove_file(folder.join(old.root.to_string()));
        }
        let after = self.records(&is_file);
        let removed = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
        let added = after.into_iter().filter(|(path, now)| before.get(path) != Some(now));
        Ok((added.map(|(path, of)| record(path, of)).collect(), removed))
    }

    // ---- serving --------------------------------------------------------------------------------

    pub(super) fn has(&self, root: Root) -> bool {
        self.kept.iter().any(|kept| kept.root == root)
    }

    /// A chunk of a collection.
    pub(super) fn prepare(&mut self, request: &ChunkRequest, buffer: &mut Vec<u8>) -> Prepared {
        let opened = self.opened(request.root, buffer).ok_or(ServeFailure::NotFound)?;
        let end = request.offset.checked_add(u64::from(request.length)).ok_or(ServeFailure::OutOfRange)?;
        if request.length == 0 || request.length > CHUNK_BYTES_MAX || end > opened.size {
            return Err(ServeFailure::OutOfRange);
        }
        let file = opened.file.clone();
        if request.bare {
            return Ok(Ready::new(None, file));
        }
        let source = Source::File { file: &file, offset: request.offset, length: request.length as usize };
        let md5 = md5_each(&[source], buffer).pop().and_then(Result::ok).ok_or(ServeFailure::Changed)?;
        Ok(Ready::new(Some(md5), file))
    }

    /// The size of a collection and a page of its chaining values.
    pub(super) fn manifest_page(&mut self, root: Root, first: u32, buffer: &mut Vec<u8>) -> Result<Page, ServeFailure> {
        let opened = self.opened(root, buffer).ok_or(ServeFailure::NotFound)?;
        let first = first as usize;
        if first > 0 && first >= opened.digest.cvs.len() {
            return Err(ServeFailure::OutOfRange);
        }
        let (size, pieces) = (opened.size, opened.digest.cvs.len());
        let page = opened.digest.cvs.iter().skip(first).take(MANIFEST_PAGE_CVS);
        let cvs = page.flat_map(|cv| cv.0).collect();
        let last = u64::try_from(pieces.saturating_sub(1)).unwrap_or(u64::MAX);
        let edge = (pieces > 1 && pieces - first <= MANIFEST_PAGE_CVS).then(|| {
            let bytes = read_range(&opened.file, last * PIECE_BYTES, piece_length(size, last), buffer).ok()?;
            edge_of(bytes, size)
        });
        Ok(Page { size, cvs, edge: edge.flatten(), partial: false })
    }

    /// What is needed to copy a collection: its file, its size, and its manifest if it has more
    /// than one piece.
    pub(super) fn source_of(&mut self, root: Root, buffer: &mut Vec<u8>) -> Option<(File, u64, Vec<Cv>)> {
        let opened = self.opened(root, buffer).filter(|opened| opened.size > 0)?;
        Some((opened.file.try_clone().ok()?, opened.size, opened.digest.cvs.clone()))
    }

    /// The open file of a collection, and its size.
    pub(super) fn file_of(&mut self, root: Root, buffer: &mut Vec<u8>) -> Option<(u64, Arc<File>)> {
        self.opened(root, buffer).map(|opened| (opened.size, opened.file.clone()))
    }

    /// Closes the file that was served last.
    pub(super) fn close(&mut self) {
        self.opened = None;
    }

    /// The collection, open and hashed. Each collection is hashed only once, so that requests for
    /// several in turn cost little. If its file is damaged or gone, the collection is no longer
    /// kept.
    fn opened(&mut self, root: Root, buffer: &mut Vec<u8>) -> Option<&Opened> {
        let folder = self.folder.as_ref()?;
        let path = folder.join(root.to_string());
        let is_there = |opened: &Opened| opened.root == root && Stamp::of_path(&path) == Ok(opened.stamp);
        if !self.opened.as_ref().is_some_and(is_there) {
            self.opened = None;
            let size = self.kept.iter().find(|kept| kept.root == root)?.size;
            let hashed = self.hashed.get(&root);
            let opened = File::open(&path).and_then(|file| {
                let stamp = Stamp::of_file(&file)?;
                let digest = match hashed.filter(|(then, _)| *then == stamp) {
                    Some((_, digest)) => digest.clone(),
                    None => Arc::new(FileHash::complete(size, &file, buffer)?),
                };
                Ok((file, stamp, digest))
            });
            match opened {
                Ok((file, stamp, digest)) if digest.root == root => {
                    self.hashed.insert(root, (stamp, digest.clone()));
                    self.opened = Some(Opened { root, size, stamp, file: Arc::new(file), digest });
                }
                Err(error) if Errno::from_io_error(&error).is_some_and(is_starved) => return None,
                Ok(_) | Err(_) => {
                    log::warn!(
                        "the collection {root} is not served: its file in {} is damaged; make it again with sprat uri",
                        folder.display()
                    );
                    self.kept.retain(|kept| kept.root != root);
                    return None;
                }
            }
        }
        self.opened.as_ref()
    }
}

/// The record of a collection.
pub(super) fn record(path: SharePath, (size, root): (u64, Root)) -> FileRecord {
    FileRecord { path, size, root, collection: true }
}

/// Renames a file. It tries again if a signal interrupts it.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::rename(from, to))?)
}

fn read_list(path: &Path) -> io::Result<Vec<Kept>> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
    if head.v != LIST_VERSION {
        return Err(io::Error::other(format!("it has version {}, and this program knows {LIST_VERSION}", head.v)));
    }
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Replaces the list. After a power cut, the file is the old list or the new one.
fn write_list(folder: &Path, kept: &[Kept]) -> io::Result<()> {
    let mut text = serde_json::to_string(&Head { v: LIST_VERSION })?;
    for kept in kept {
        text.push('\n');
        text.push_str(&serde_json::to_string(kept)?);
    }
    text.push('\n');
    let new = folder.join(LIST_NEW);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rename(&new, &folder.join(LIST))?;
    // Some file systems cannot sync a folder. Then a power cut may undo the last change.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(collections: &mut Collections, folder: &str, content: &[u8]) -> (Root, Changes) {
        let mut file = collections.begin(MADE).unwrap().unwrap();
        file.write_all(content).unwrap();
        let root = Root(*blake3::hash(content).as_bytes());
        let kept = Kept { root, folder: SharePath::new(folder).unwrap(), size: content.len() as u64 };
        (root, collections.keep(kept, (MADE, &file), |path| path == "taken").unwrap())
    }

    fn paths(records: &[FileRecord]) -> Vec<&str> {
        records.iter().map(|record| record.path.as_str()).collect()
    }

    #[test]
    fn collections_last_and_the_newest_of_a_folder_has_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("collections");
        let mut collections = Collections::open(Some(path.clone()));
        let (one, (added, removed)) = kept(&mut collections, "a/b", b"one");
        assert_eq!((paths(&added), removed), (vec!["a/b"], vec![]));
        let (two, (added, removed)) = kept(&mut collections, "a/b", b"two");
        let old = format!("a/b ({:.8})", one.to_string());
        assert_eq!((paths(&added), removed), (vec!["a/b", &old], vec![]));
        let (_, (added, removed)) = kept(&mut collections, "a/b", b"one");
        let old = format!("a/b ({:.8})", two.to_string());
        assert_eq!((paths(&added), removed.len()), (vec!["a/b", &old], 1));
        let (three, (added, _)) = kept(&mut collections, "taken", b"three");
        assert_eq!(paths(&added), [format!("taken ({:.8})", three.to_string())]);

        fs::write(path.join("unfinished-9"), "left by a crash").unwrap();
        fs::write(path.join("stray"), "left too").unwrap();
        let mut again = Collections::open(Some(path.clone()));
        assert_eq!(again.records(|_| false), collections.records(|_| false));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 4, "three collections and their list");
        let request = |root, length| ChunkRequest {
            conn: crate::proto::ConnId { index: 1, generation: 1 },
            req: 1,
            root,
            offset: 0,
            length,
            bare: false,
        };
        let md5 = super::super::md5_lanes::md5_of(b"two");
        assert_eq!(again.prepare(&request(two, 3), &mut Vec::new()).unwrap().md5, Some(md5));
        assert_eq!(again.manifest_page(two, 0, &mut Vec::new()), Ok(Page { size: 3, ..Page::default() }));
        assert_eq!(again.prepare(&request(two, 4), &mut Vec::new()).unwrap_err(), ServeFailure::OutOfRange);
        // A file that was moved away is no longer served, although it is open.
        let moved = path.join("moved");
        fs::rename(path.join(three.to_string()), &moved).unwrap();
        assert_eq!(again.prepare(&request(two, 3), &mut Vec::new()).unwrap().md5, Some(md5));
        fs::rename(&moved, path.join(two.to_string())).unwrap();
        assert_eq!(again.prepare(&request(two, 3), &mut Vec::new()).unwrap_err(), ServeFailure::NotFound);
        fs::write(path.join(one.to_string()), "eno").unwrap();
        assert_eq!(again.prepare(&request(one, 3), &mut Vec::new()).unwrap_err(), ServeFailure::NotFound);
        assert!(!again.has(one) && !again.has(two) && again.has(three));
    }

    #[test]
    fn a_list_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LIST), "{\"v\":2}\n").unwrap();
        fs::write(folder.path().join("new"), "").unwrap();
        let collections = Collections::open(Some(folder.path().to_owned()));
        assert!(collections.begin(MADE).unwrap().is_none() && folder.path().join("new").exists());
    }
}
