//! The worker as the loop sees it: jobs in, reports out, real folders. A timeout only guards
//! against a hang.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::proto::disk::{Destination, DiskDone, DiskFailureKind, DiskWork, Page, PartState, ServeFailure};
use crate::proto::{ConnId, DownloadId, HashPlan, PayloadId, Verify};
use crate::wire::FileRecord;
use crate::wire::ids::{Cv, Md5, Root};

mod describing;
mod download;
mod held;
mod places;
mod sharing;
mod small;
mod transfer;

const MIB: usize = 1 << 20;
const GUARD: Duration = Duration::from_secs(30);
const CONN: ConnId = ConnId { index: 1, generation: 1 };
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
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
        let cache = Some(state.path().join("cache/digests"));
        let collections = Some(state.path().join("collections"));
        let options = DiskOptions { collections, ..options(share.path(), cache) };
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

    fn work(&mut self, work: DiskWork) {
        self.work_with(work, None);
    }

    fn work_with(&mut self, work: DiskWork, bytes: Option<Vec<u8>>) {
        self.submit([Job::Work { work, bytes }]);
    }

    fn submit(&mut self, jobs: impl IntoIterator<Item = Job>) {
        let disk = self.disk.as_mut().unwrap();
        jobs.into_iter().for_each(|job| disk.submit(job));
        disk.hand_over();
    }

    /// The next report that is no news of the share.
    fn next(&mut self) -> (DiskDone, Option<Arc<File>>) {
        loop {
            match report(&self.reports) {
                Report::Done { done: DiskDone::Share { added, removed }, .. } => self.news(added, removed),
                Report::Done { done, file, .. } => return (done, file),
                Report::Counts(_) => unreachable!("it is left out"),
                Report::Digested { .. } => panic!("nothing was to be digested"),
                Report::Http(done) => panic!("HTTP asked for nothing: {done:?}"),
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
            match report(&self.reports) {
                Report::Done { done: DiskDone::Share { added, removed }, .. } => self.news(added, removed),
                other => panic!("{other:?} came, and offered is {:?}", self.offered),
            }
        }
    }

    fn root(&self, path: &str) -> Option<Root> {
        self.offered.get(path).map(|record| record.root)
    }

    fn chunk(&mut self, root: Root, offset: u64, length: u32) -> Result<(Md5, Arc<File>), ServeFailure> {
        self.work(DiskWork::PrepareChunk { conn: CONN, from: FROM, req: 7, root, offset, length, bare: false });
        match self.next() {
            (DiskDone::ChunkReady { conn: CONN, req: 7, result: Ok(Some(md5)) }, Some(file)) => Ok((md5, file)),
            (DiskDone::ChunkReady { conn: CONN, req: 7, result: Err(failure) }, None) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    fn manifest(&mut self, root: Root, first: u32) -> Result<(u64, Vec<u8>), ServeFailure> {
        self.page(root, first).map(|page| (page.size, page.cvs))
    }

    fn page(&mut self, root: Root, first: u32) -> Result<Page, ServeFailure> {
        self.work(DiskWork::ReadManifest { conn: CONN, from: FROM, req: 8, root, first });
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
        let size = bytes.len() as u64;
        self.work(DiskWork::OpenPart { download, destination, root: root_of(bytes), sizes: vec![size] });
        let opened = match self.next().0 {
            DiskDone::PartOpened { result, .. } => result.map_err(|failure| failure.kind),
            other => panic!("{other:?}"),
        };
        if let Ok(PartState::Open { size: None, .. }) = &opened {
            self.prepare(download, size, Vec::new());
        }
        opened
    }

    fn prepare(&mut self, download: DownloadId, size: u64, cvs: Vec<Cv>) {
        self.work(DiskWork::PreparePart { download, size, cvs, edge: None });
        // The worker does all work in order, so that its next answer follows this.
        assert!(self.manifest(Root([0; 32]), 0).is_err());
    }

    fn write(&mut self, bytes: &[u8], piece: u32) -> Result<(), DiskFailureKind> {
        let start = piece as usize * MIB;
        let bytes = bytes[start..bytes.len().min(start + MIB)].to_vec();
        self.write_as(GET, piece, true, bytes)
    }

    fn write_as(
        &mut self,
        download: DownloadId,
        piece: u32,
        proven: bool,
        bytes: Vec<u8>,
    ) -> Result<(), DiskFailureKind> {
        let work = DiskWork::WritePiece { download, piece, payload: PayloadId(0), md5: None, proven };
        self.work_with(work, Some(bytes));
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
        self.prepare(GET, bytes.len() as u64, cvs_of(bytes));
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

/// The next report that is not about gauges.
fn report(reports: &Receiver<Report>) -> Report {
    loop {
        match reports.recv_timeout(GUARD).expect("the disk answers") {
            Report::Counts(_) => {}
            other => return other,
        }
    }
}

/// One share without a name.
fn options(share: &Path, cache: Option<PathBuf>) -> DiskOptions {
    let queue = cache.as_ref().map(|cache| cache.with_file_name("downloads.jsonl"));
    DiskOptions {
        shares: vec![ShareFolder { name: None, path: share.to_owned() }],
        downloads: None,
        cache,
        collections: None,
        rescan: None,
        queue,
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

/// A file with an mtime long ago.
fn write_old(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
