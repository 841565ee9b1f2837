//! The worker as the loop sees it: jobs in, reports out, real folders. A timeout only guards against a hang.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::proto::disk::{Destination, DiskFailureKind, PartState, ServeFailure};
use crate::proto::{DownloadId, PayloadId};
use crate::wire::FileRecord;
use crate::wire::ids::{Cv, Md5, Root};

const MIB: usize = 1 << 20;
const GUARD: Duration = Duration::from_secs(30);
const CONN: ConnId = ConnId { index: 1, generation: 1 };
const GET: DownloadId = DownloadId(1);

struct Rig {
    share: TempDir,
    state: TempDir,
    /// Dropped first, while its folders are there.
    disk: Option<Disk>,
    reports: Receiver<Report>,
    /// What the machine would offer.
    offered: BTreeMap<String, FileRecord>,
    /// Every root that was ever offered, by path.
    ever: Vec<(String, Root)>,
}

impl Rig {
    fn empty() -> Rig {
        Rig::over(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
    }

    fn over(share: TempDir, state: TempDir) -> Rig {
        let options =
            DiskOptions { share: Some(share.path().to_owned()), cache: Some(state.path().join("cache/digests")) };
        let (disk, reports) = Disk::start(options, Box::new(|| {})).unwrap();
        Rig { share, state, disk: Some(disk), reports, offered: BTreeMap::new(), ever: Vec::new() }
    }

    fn with(files: &[(&str, &[u8])]) -> Rig {
        let share = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            write_old(&share.path().join(path), bytes);
        }
        let mut rig = Rig::over(share, tempfile::tempdir().unwrap());
        rig.until(|offered| offered.len() == files.len());
        rig
    }

    fn restart(mut self) -> Rig {
        self.disk = None;
        Rig::over(self.share, self.state)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.share.path().join(path)
    }

    fn work(&self, work: DiskWork) {
        self.work_with(work, None);
    }

    fn work_with(&self, work: DiskWork, bytes: Option<Vec<u8>>) {
        self.disk.as_ref().unwrap().submit(Job::Work { work, bytes });
    }

    /// The next report that is no news of the share.
    fn next(&mut self) -> (DiskDone, Option<Arc<File>>) {
        loop {
            match self.reports.recv_timeout(GUARD).expect("the disk answers") {
                Report::Done { done: DiskDone::Share { added, removed }, .. } => self.news(added, removed),
                Report::Done { done, file, .. } => return (done, file),
                Report::Digested { .. } => panic!("nothing was to be digested"),
            }
        }
    }

    fn news(&mut self, added: Vec<FileRecord>, removed: Vec<crate::wire::SharePath>) {
        assert!(added.len() + removed.len() <= 1000);
        for path in removed {
            self.offered.remove(path.as_str());
        }
        for record in added {
            self.ever.push((record.path.as_str().to_owned(), record.root));
            self.offered.insert(record.path.as_str().to_owned(), record);
        }
    }

    /// Takes news until what is offered is as it should be.
    fn until(&mut self, fits: impl Fn(&BTreeMap<String, FileRecord>) -> bool) {
        while !fits(&self.offered) {
            match self.reports.recv_timeout(GUARD) {
                Ok(Report::Done { done: DiskDone::Share { added, removed }, .. }) => self.news(added, removed),
                other => panic!("{other:?} came, and offered is {:?}", self.offered),
            }
        }
    }

    fn root(&self, path: &str) -> Option<Root> {
        self.offered.get(path).map(|record| record.root)
    }

    fn chunk(&mut self, root: Root, offset: u64, length: u32) -> Result<(Md5, Arc<File>), ServeFailure> {
        self.work(DiskWork::PrepareChunk { conn: CONN, req: 7, root, offset, length });
        match self.next() {
            (DiskDone::ChunkReady { conn: CONN, req: 7, result: Ok(md5) }, Some(file)) => Ok((md5, file)),
            (DiskDone::ChunkReady { conn: CONN, req: 7, result: Err(failure) }, None) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    fn manifest(&mut self, root: Root, first: u32) -> Result<(u64, Vec<u8>), ServeFailure> {
        self.work(DiskWork::ReadManifest { conn: CONN, req: 8, root, first });
        match self.next().0 {
            DiskDone::ManifestReady { conn: CONN, req: 8, result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, destination: Destination, bytes: &[u8]) -> Result<PartState, DiskFailureKind> {
        self.open_as(GET, destination, bytes)
    }

    fn open_as(
        &mut self,
        download: DownloadId,
        destination: Destination,
        bytes: &[u8],
    ) -> Result<PartState, DiskFailureKind> {
        self.work(DiskWork::OpenPart { download, destination, root: root_of(bytes), size: bytes.len() as u64 });
        match self.next().0 {
            DiskDone::PartOpened { result, .. } => result.map_err(|failure| failure.kind),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, bytes: &[u8], piece: u32) -> Result<(), DiskFailureKind> {
        let start = piece as usize * MIB;
        let bytes = bytes[start..bytes.len().min(start + MIB)].to_vec();
        self.work_with(DiskWork::WritePiece { download: GET, piece, payload: PayloadId(0) }, Some(bytes));
        match self.next().0 {
            DiskDone::PieceWritten { result, .. } => result.map_err(|failure| failure.kind),
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self) -> Result<PathBuf, DiskFailureKind> {
        self.work(DiskWork::Publish { download: GET });
        match self.next().0 {
            DiskDone::Published { result, .. } => result.map_err(|failure| failure.kind),
            other => panic!("{other:?}"),
        }
    }

    /// Opens, writes these pieces, and leaves the part file to a later resume.
    fn begin(&mut self, bytes: &[u8], pieces: &[u32]) {
        let state = self.open(in_share("big"), bytes).unwrap();
        assert!(matches!(state, PartState::Open { .. }));
        self.work(DiskWork::StoreManifest { download: GET, cvs: cvs_of(bytes) });
        for piece in pieces {
            self.write(bytes, *piece).unwrap();
        }
        self.work(DiskWork::Abandon { download: GET });
    }

    fn resumed(&mut self, bytes: &[u8]) -> (Option<Vec<Cv>>, Vec<u32>) {
        match self.open(in_share("big"), bytes).unwrap() {
            PartState::Open { manifest, verified, .. } => (manifest, verified),
            state @ PartState::AlreadyThere { .. } => panic!("{state:?}"),
        }
    }
}

fn in_share(name: &str) -> Destination {
    Destination::Share { name: name.to_owned() }
}

fn root_of(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

fn cvs_of(bytes: &[u8]) -> Vec<Cv> {
    bytes.chunks(MIB).enumerate().map(|(i, piece)| hash::cv_of(piece, (i * MIB) as u64)).collect()
}

fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    });
    words.take(length.div_ceil(8)).flat_map(u64::to_le_bytes).take(length).collect()
}

/// A file that was written long ago, as far as its mtime tells.
fn write_old(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

// ---- the share -------------------------------------------------------------------------------------------------------

#[test]
fn every_size_is_offered_with_its_root() {
    let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5];
    let files: Vec<(String, Vec<u8>)> = sizes.iter().map(|size| (format!("d/{size}"), content(3, *size))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let rig = Rig::with(&files);
    for (path, bytes) in files {
        assert_eq!(rig.root(path), Some(root_of(bytes)), "{path}");
        assert_eq!(rig.offered[path].size, bytes.len() as u64);
    }
}

#[test]
fn only_plain_visible_files_are_shared() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let share = tempfile::tempdir().unwrap();
    let at = |path: &str| share.path().join(path);
    for path in ["plain", ".hidden", ".dir/x", "y.part", "y.part.map", "deep/er/file"] {
        write_old(&at(path), b"x");
    }
    symlink(outside.path().join("secret"), at("link")).unwrap();
    symlink(outside.path(), at("folder")).unwrap();
    symlink(share.path(), at("loop")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(share.path().join(OsStr::from_bytes(b"latin-\xe9")), "x").unwrap();
    let long = ["d".repeat(200), "d".repeat(200), "d".repeat(200), "d".repeat(200)].join("/");
    write_old(&at(&long), b"x");

    let mut rig = Rig::over(share, tempfile::tempdir().unwrap());
    write_old(&rig.path("last"), b"last");
    rig.until(|offered| offered.contains_key("last"));
    assert_eq!(rig.offered.keys().collect::<Vec<_>>(), ["deep/er/file", "last", "plain"]);
}

#[test]
fn a_share_that_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [folder.path().join("missing"), file] {
        let options = DiskOptions { share: Some(path.clone()), cache: None };
        let failure = Disk::start(options, Box::new(|| {})).unwrap_err();
        assert_eq!(failure.exit, Exit::Disk);
        assert!(failure.message.contains(path.to_str().unwrap()), "{}", failure.message);
    }
}

#[test]
fn new_renamed_changed_and_deleted_files_are_told() {
    let mut rig = Rig::with(&[("a", b"one")]);
    fs::create_dir(rig.path("sub")).unwrap();
    fs::write(rig.path("sub/b"), "two").unwrap();
    rig.until(|offered| offered.contains_key("sub/b"));
    fs::rename(rig.path("sub"), rig.path("moved")).unwrap();
    rig.until(|offered| offered.contains_key("moved/b") && !offered.contains_key("sub/b"));
    fs::write(rig.path("moved/c"), "three").unwrap();
    rig.until(|offered| offered.contains_key("moved/c"));
    File::options().append(true).open(rig.path("a")).unwrap().write_all(b" more").unwrap();
    rig.until(|offered| offered.get("a").is_some_and(|record| record.root == root_of(b"one more")));
    fs::rename(rig.path("a"), rig.path("moved/c")).unwrap();
    rig.until(|offered| offered.get("moved/c").is_some_and(|record| record.root == root_of(b"one more")));
    fs::remove_dir_all(rig.path("moved")).unwrap();
    rig.until(BTreeMap::is_empty);
}

#[test]
fn a_tree_that_is_made_or_moved_in_at_once_is_found_whole() {
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir_in(rig.share.path().parent().unwrap()).unwrap();
    for n in 0..50 {
        write_old(&rig.path(&format!("made/{}/{n}/x", n % 7)), &[n]);
        write_old(&elsewhere.path().join(format!("{}/{n}/x", n % 5)), &[n]);
    }
    fs::rename(elsewhere.path(), rig.path("moved")).unwrap();
    rig.until(|offered| offered.len() == 100);
    fs::write(rig.path("moved/3/3/late"), "x").unwrap();
    rig.until(|offered| offered.contains_key("moved/3/3/late"));
}

#[test]
fn a_file_that_is_being_written_is_never_offered_in_between() {
    let mut rig = Rig::empty();
    let mut file = File::create(rig.path("growing")).unwrap();
    let mut whole = Vec::new();
    // Each write is a turn of the worker apart from the next, and all of them less than the quiet time.
    for round in 0..300 {
        file.write_all(&[round as u8; 100]).unwrap();
        whole.extend_from_slice(&[round as u8; 100]);
        rig.work(DiskWork::ReadManifest { conn: CONN, req: 8, root: Root([0; 32]), first: 0 });
        rig.next();
    }
    drop(file);
    rig.until(|offered| offered.contains_key("growing"));
    assert_eq!(rig.ever, [("growing".to_owned(), root_of(&whole))]);
}

#[test]
fn a_restart_hashes_nothing_twice() {
    let mut rig = Rig::with(&[("a", b"one"), ("big", &content(1, 3 * MIB))]);
    let root = rig.root("big").unwrap();
    rig = rig.restart();
    rig.until(|offered| offered.len() == 2);
    assert_eq!(rig.manifest(root, 0).unwrap().1.len(), 96);

    rig.disk = None;
    let cache = cache::Cache::open(Some(&rig.state.path().join("cache/digests")));
    let mut share = share::Share::open(rig.share.path(), cache, Box::new(|| Box::new(|_| {}))).unwrap();
    settle(&mut share);
    assert_eq!((share.index.offered(), share.hashed_bytes), (2, 0));
}

/// Does all the work that there is.
fn settle(share: &mut share::Share) {
    let mut buffer = Vec::new();
    share.on_time(std::time::Instant::now());
    while share.has_work() {
        share.slice(&mut buffer);
        share.on_time(std::time::Instant::now());
    }
}

#[test]
fn lost_events_lead_to_a_scan_that_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["stays", "goes", "changes", "moves"] {
        write_old(&folder.path().join(name), name.as_bytes());
    }
    // The watcher of this share tells nobody anything.
    let (events, deaf) = mpsc::channel();
    let tell: share::Tell = Box::new(move || {
        let events = events.clone();
        Box::new(move |sighting| events.send(sighting).unwrap_or(()))
    });
    let mut share = share::Share::open(folder.path(), cache::Cache::open(None), tell).unwrap();
    let until_quiet = std::time::Instant::now() + crate::config::SHARE_QUIET;
    settle(&mut share);
    share.index.mature(until_quiet);
    settle(&mut share);
    assert_eq!(share.index.offered(), 4);

    fs::remove_file(folder.path().join("goes")).unwrap();
    fs::rename(folder.path().join("moves"), folder.path().join("moved")).unwrap();
    write_old(&folder.path().join("changes"), b"changed");
    for n in 0..3000 {
        write_old(&folder.path().join(format!("many/{n}")), &[n as u8; 3]);
    }
    share.on_sighting(watch::Sighting::Lost);
    let later = std::time::Instant::now() + 3 * crate::config::SHARE_QUIET;
    share.on_time(later);
    settle(&mut share);
    share.index.mature(later);
    settle(&mut share);
    assert_eq!(share.index.offered(), 3003);
    assert_eq!(share.index.offered_at("changes").unwrap().0, root_of(b"changed"));
    assert!(share.index.offered_at("moved").is_some() && share.index.offered_at("goes").is_none());
    assert!(deaf.try_iter().count() > 0, "the watcher was armed");
}

// ---- serving ---------------------------------------------------------------------------------------------------------

#[test]
fn a_chunk_is_prepared_with_its_md5_and_file() {
    let bytes = content(5, 2 * MIB + 100);
    let mut rig = Rig::with(&[("x", &bytes), ("copy", &bytes)]);
    let root = root_of(&bytes);
    for (offset, length) in [(0, MIB), (MIB, MIB), (2 * MIB, 100), (17, 5), (MIB - 1, MIB), (MIB, MIB)] {
        let (md5, file) = rig.chunk(root, offset as u64, length as u32).unwrap();
        let range = &bytes[offset..offset + length];
        assert_eq!(md5, hash::md5_of(range), "{offset} {length}");
        let mut read = vec![0; length];
        file.read_exact_at(&mut read, offset as u64).unwrap();
        assert!(read == range);
    }
}

#[test]
fn ranges_and_roots_that_do_not_exist_are_refused() {
    let mut rig = Rig::with(&[("x", b"hello"), ("empty", b"")]);
    let root = root_of(b"hello");
    for (offset, length) in [(0, 6), (5, 1), (0, 0), (u64::MAX, 1), (u64::MAX - 1, u32::MAX)] {
        assert_eq!(rig.chunk(root, offset, length).err(), Some(ServeFailure::OutOfRange), "{offset} {length}");
    }
    assert_eq!(rig.chunk(root_of(b""), 0, 1).err(), Some(ServeFailure::OutOfRange));
    assert_eq!(rig.chunk(root_of(b"other"), 0, 1).err(), Some(ServeFailure::NotFound));
    assert_eq!(rig.manifest(root_of(b"other"), 0), Err(ServeFailure::NotFound));
    assert_eq!(rig.manifest(root, 0), Ok((5, Vec::new())));
    assert_eq!(rig.manifest(root, 1), Err(ServeFailure::OutOfRange));
}

#[test]
fn a_manifest_merges_to_the_root() {
    let bytes = content(6, 5 * MIB + 1);
    let mut rig = Rig::with(&[("x", &bytes)]);
    let root = root_of(&bytes);
    let (size, cvs) = rig.manifest(root, 0).unwrap();
    assert_eq!(hash::root_of_manifest(size, &cache::cvs_of(&cvs)), Some(root));
    assert_eq!(rig.manifest(root, 4).unwrap().1, cvs[4 * 32..]);
    assert_eq!(rig.manifest(root, 6), Err(ServeFailure::OutOfRange));
}

#[test]
fn a_changed_file_is_not_served_and_its_twin_is() {
    let bytes = content(7, MIB + 100);
    let mut rig = Rig::with(&[("a", &bytes), ("b", &bytes)]);
    let root = root_of(&bytes);
    rig.chunk(root, 0, 10).unwrap();
    // In place, same size, mtime restored: only ctime tells.
    let before = fs::metadata(rig.path("a")).unwrap();
    let file = File::options().write(true).open(rig.path("a")).unwrap();
    file.write_all_at(b"!", 0).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let (_, served) = rig.chunk(root, 0, 10).unwrap();
    assert_eq!(served.metadata().unwrap().ino(), fs::metadata(rig.path("b")).unwrap().ino());
    rig.until(|offered| !offered.contains_key("a"));
    fs::write(rig.path("b"), "short").unwrap();
    let refused = rig.chunk(root, 0, 10).err();
    assert!(matches!(refused, Some(ServeFailure::Changed | ServeFailure::NotFound)), "{refused:?}");
    rig.until(|offered| offered.len() == 2);
    assert_eq!(rig.chunk(root, 0, 10).err(), Some(ServeFailure::NotFound));
}

#[test]
fn a_file_that_became_a_symlink_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "hello").unwrap();
    let mut rig = Rig::with(&[("d/x", b"hello")]);
    fs::remove_dir_all(rig.path("d")).unwrap();
    symlink(outside.path(), rig.path("d")).unwrap();
    assert!(rig.chunk(root_of(b"hello"), 0, 5).is_err());
    rig.until(BTreeMap::is_empty);
}

#[test]
fn a_payload_comes_back_with_its_digests() {
    let rig = Rig::empty();
    let bytes = content(8, 1000);
    rig.disk.as_ref().unwrap().submit(Job::Digest {
        conn: CONN,
        req: 3,
        bytes: bytes.clone(),
        plan: HashPlan::Content,
        verify: Verify::Both,
    });
    match rig.reports.recv_timeout(GUARD).unwrap() {
        Report::Digested { conn: CONN, req: 3, bytes: back, digests } => {
            assert_eq!(back, bytes);
            assert_eq!(digests.blake3, Some(root_of(&bytes).0));
            assert_eq!(digests.md5, Some(hash::md5_of(&bytes)));
        }
        other => panic!("{other:?}"),
    }
}

// ---- downloads -------------------------------------------------------------------------------------------------------

#[test]
fn a_download_is_published_and_offered_at_once() {
    let bytes = content(9, 2 * MIB + 7);
    let mut rig = Rig::empty();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
    rig.work(DiskWork::StoreManifest { download: GET, cvs: cvs_of(&bytes) });
    for piece in [2, 0, 1] {
        assert!(!rig.path("big").exists());
        rig.write(&bytes, piece).unwrap();
    }
    assert_eq!(rig.publish(), Ok(rig.share.path().canonicalize().unwrap().join("big")));
    assert_eq!(rig.root("big"), Some(root_of(&bytes)), "offered before the download is over");
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
    assert_eq!(names(rig.share.path()), ["big"]);
    // The watcher tells of the rename; a later file proves that this withdrew nothing.
    fs::write(rig.path("later"), "x").unwrap();
    rig.until(|offered| offered.contains_key("later"));
    assert_eq!(rig.ever.iter().filter(|(path, _)| path == "big").count(), 1);
    assert_eq!(rig.manifest(root_of(&bytes), 0).unwrap().1.len(), 96);
}

#[test]
fn an_incomplete_download_is_not_published() {
    let bytes = content(9, 2 * MIB);
    let mut rig = Rig::empty();
    rig.resumed(&bytes);
    rig.write(&bytes, 1).unwrap();
    assert_eq!(rig.publish(), Err(DiskFailureKind::Io));
    assert!(!rig.path("big").exists());
}

#[test]
fn small_and_empty_contents_are_published() {
    let mut rig = Rig::empty();
    rig.open(in_share("../small"), b"tiny").unwrap();
    rig.write(b"tiny", 0).unwrap();
    assert!(rig.publish().unwrap().ends_with("_._small"));
    rig.open(in_share("void"), b"").unwrap();
    rig.publish().unwrap();
    assert_eq!(rig.root("void"), Some(root_of(b"")));
    assert_eq!(fs::read(rig.path("_._small")).unwrap(), b"tiny");
}

#[test]
fn a_resume_finds_what_is_right() {
    let bytes = content(10, 4 * MIB + 9);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[4, 0, 2, 3]);
    rig = rig.restart();
    assert_eq!(rig.resumed(&bytes), (Some(cvs_of(&bytes)), vec![0, 2, 3, 4]));
    rig.write(&bytes, 1).unwrap();
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
    assert_eq!(rig.root("big"), Some(root_of(&bytes)));
}

#[test]
fn a_claim_over_wrong_bytes_is_not_believed() {
    let bytes = content(11, 3 * MIB);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[0, 1, 2]);
    let part = File::options().write(true).open(rig.path(".big.part")).unwrap();
    part.write_all_at(b"wrong", MIB as u64 + 3).unwrap();
    part.set_len(3 * MIB as u64 - 1).unwrap();
    assert_eq!(rig.resumed(&bytes).1, [0]);
    rig.write(&bytes, 1).unwrap();
    rig.write(&bytes, 2).unwrap();
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
}

#[test]
fn a_torn_map_costs_only_what_was_torn() {
    let bytes = content(12, 3 * MIB);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[0, 1, 2]);
    let map = rig.path(".big.part.map");
    let whole = fs::read(&map).unwrap();
    fs::write(&map, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(rig.resumed(&bytes), (Some(cvs_of(&bytes)), vec![0, 1]));
    rig.write(&bytes, 2).unwrap();
    rig.work(DiskWork::Abandon { download: GET });
    assert_eq!(rig.resumed(&bytes).1, [0, 1, 2]);
    rig.work(DiskWork::Abandon { download: GET });
    fs::write(&map, &whole[..70]).unwrap();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
    rig.work(DiskWork::Abandon { download: GET });
    fs::write(&map, b"garbage").unwrap();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
}

#[test]
fn the_part_of_another_content_is_begun_anew() {
    let (old, new) = (content(13, 3 * MIB), content(14, 2 * MIB + 1));
    let mut rig = Rig::empty();
    rig.begin(&old, &[0, 1]);
    assert_eq!(rig.resumed(&new), (None, vec![]));
    assert_eq!(fs::metadata(rig.path(".big.part")).unwrap().len(), 0);
    (0..3).for_each(|piece| rig.write(&new, piece).unwrap());
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == new);
}

#[test]
fn a_part_that_is_in_use_is_locked() {
    let bytes = content(15, 2 * MIB);
    let mut rig = Rig::empty();
    rig.resumed(&bytes);
    rig.write(&bytes, 0).unwrap();
    let refused = rig.open_as(DownloadId(2), in_share("big"), b"another");
    assert_eq!(refused, Err(DiskFailureKind::Locked));
    rig.write(&bytes, 1).unwrap();
    rig.publish().unwrap();
}

#[test]
fn an_abandoned_part_without_a_piece_leaves_nothing() {
    let mut rig = Rig::empty();
    rig.resumed(&content(16, 2 * MIB));
    rig.work(DiskWork::Abandon { download: GET });
    rig.work(DiskWork::ReadManifest { conn: CONN, req: 8, root: Root([0; 32]), first: 0 });
    rig.next();
    assert_eq!(names(rig.share.path()), [""; 0]);
}

#[test]
fn what_is_at_the_destination_is_never_touched() {
    let bytes = content(17, MIB + 1);
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let to = |name: &str| Destination::Path { path: elsewhere.path().join(name), name: "x".to_owned() };
    fs::write(elsewhere.path().join("same"), &bytes).unwrap();
    fs::write(elsewhere.path().join("other"), content(18, MIB + 1)).unwrap();
    fs::write(elsewhere.path().join("longer"), content(18, MIB + 2)).unwrap();
    symlink(elsewhere.path().join("same"), elsewhere.path().join("link")).unwrap();
    fs::create_dir_all(elsewhere.path().join("folder/x")).unwrap();
    let there = PartState::AlreadyThere { path: elsewhere.path().join("same") };
    assert_eq!(rig.open(to("same"), &bytes), Ok(there));
    for name in ["other", "longer", "link", "folder"] {
        assert_eq!(rig.open(to(name), &bytes), Err(DiskFailureKind::Taken), "{name}");
    }
    assert_eq!(rig.open(to("missing/x"), &bytes), Err(DiskFailureKind::Io));
    assert_eq!(names(elsewhere.path()), ["folder", "link", "longer", "other", "same"]);
}

#[test]
fn a_destination_that_appears_meanwhile_is_not_replaced() {
    let bytes = content(19, MIB + 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut rig = Rig::empty();
    let path = elsewhere.path().join("x");
    for (theirs, expected) in [(&bytes, Ok(path.clone())), (&content(20, MIB + 1), Err(DiskFailureKind::Taken))] {
        let to = Destination::Path { path: elsewhere.path().to_owned(), name: "x".to_owned() };
        rig.open(to, &bytes).unwrap();
        rig.write(&bytes, 0).unwrap();
        rig.write(&bytes, 1).unwrap();
        fs::write(&path, theirs).unwrap();
        assert_eq!(rig.publish(), expected);
        assert!(fs::read(&path).unwrap() == *theirs);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(elsewhere.path()), [".x.part", ".x.part.map"], "what was fetched is not lost");
}

#[test]
fn without_a_share_only_paths_work() {
    let (disk, reports) = Disk::start(DiskOptions::default(), Box::new(|| {})).unwrap();
    let work = |destination| DiskWork::OpenPart { download: GET, destination, root: root_of(b"x"), size: 1 };
    let folder = tempfile::tempdir().unwrap();
    let path = Destination::Path { path: folder.path().join("x"), name: String::new() };
    disk.submit(Job::Work { work: work(in_share("x")), bytes: None });
    disk.submit(Job::Work { work: work(path), bytes: None });
    let result = |report| match report {
        Report::Done { done: DiskDone::PartOpened { result, .. }, .. } => result,
        other => panic!("{other:?}"),
    };
    assert!(result(reports.recv_timeout(GUARD).unwrap()).is_err());
    assert!(result(reports.recv_timeout(GUARD).unwrap()).is_ok());
}

#[test]
fn a_full_disk_is_told_and_can_be_gone_on_with() {
    // /dev/full answers every write with ENOSPC.
    let failure = {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let error = file.write_all_at(b"x", 0).unwrap_err();
        let folder = tempfile::tempdir().unwrap();
        let to = Destination::Path { path: folder.path().join("x"), name: String::new() };
        part::Place::find(&to, &root_of(b"x"), None).unwrap().io_failure(error)
    };
    assert_eq!(failure.kind, DiskFailureKind::Full);
    assert!(failure.message.contains("/x: "), "{}", failure.message);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
