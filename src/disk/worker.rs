//! The worker: one thread that takes letters, does urgent jobs first and background work in slices between them.
//!
//! It sleeps in a blocking receive while there is nothing to do, and wakes for a letter or for the next deadline of the share.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::hash::{FileHash, digests_of};
use super::md5_lanes::Width;
use super::open::Found;
use super::part::{Part, Place, failed};
use super::publish::{Published, Publishing};
use super::serve::{Serve, Wanted};
use super::share::Share;
use super::watch::Sighting;
use super::{Job, Report};
use crate::config::PIECE_BYTES;
use crate::proto::disk::{Destination, DiskDone, DiskFailure, DiskWork, PartState, ServeFailure};
use crate::proto::{ConnId, DownloadId, HashPlan, Verify};
use crate::wire::ids::Root;

/// Background work gets a slice at least this often, however many urgent jobs there are.
const BACKGROUND_EVERY: Duration = Duration::from_millis(20);
/// Shortest time between two tellings of news: many small files make few reports.
const NEWS_EVERY: Duration = Duration::from_millis(50);
/// Records and removals in one report.
const NEWS_MAX: usize = 1000;
/// An idle worker gives its read buffer back after this time.
const BUFFER_KEPT: Duration = Duration::from_secs(1);
/// MD5s wait for more pieces to fill the lanes as long as pieces come at such intervals, …
const LANES_GAP: Duration = Duration::from_millis(3);
/// … but no piece waits longer than this.
const LANES_WAIT: Duration = Duration::from_millis(24);
/// Pieces of a part file that are hashed again per slice.
const CLAIMS_PER_SLICE: usize = 4;

/// What the worker is sent.
#[derive(Debug)]
pub(super) enum Letter {
    Jobs(Vec<Job>),
    Sighting(Sighting),
    /// From the thread that published.
    Published {
        download: DownloadId,
        published: Box<Published>,
    },
    /// End once all jobs before this are done.
    Stop,
}

/// A received chunk to be hashed.
struct Chunk {
    conn: ConnId,
    req: u32,
    bytes: Vec<u8>,
    plan: HashPlan,
    verify: Verify,
}

/// A part file that is being opened: what is at its destination is compared, or its claims are checked.
struct Opening {
    download: DownloadId,
    place: Arc<Place>,
    root: Root,
    size: u64,
    stage: Stage,
}

enum Stage {
    Look,
    Compare { file: File, hash: FileHash },
    Check(Box<Part>),
}

/// See the module.
pub(super) struct Worker {
    letters: mpsc::Receiver<Letter>,
    own_inbox: mpsc::Sender<Letter>,
    out: mpsc::Sender<Report>,
    wake: Box<dyn Fn() + Send>,
    /// What makes verified pieces last; done before `urgent`, so that a crash costs as few of them as can be.
    writes: VecDeque<Job>,
    urgent: VecDeque<Job>,
    /// Received chunks whose MD5 is wanted, gathered to be hashed together.
    gathered: VecDeque<Chunk>,
    /// When the first of them came, and the last of all that ever were.
    gathered_first: Instant,
    gathered_last: Option<Instant>,
    stopping: bool,
    /// Something was reported and the loop was not woken for it yet.
    reported: bool,
    share: Option<Share>,
    /// Where the digest cache is read from, once, before anything else is done.
    cache: Option<PathBuf>,
    serve: Serve,
    parts: HashMap<DownloadId, Part>,
    openings: VecDeque<Opening>,
    /// Read into by everything that reads; a piece long.
    buffer: Vec<u8>,
    background_at: Instant,
    news_at: Instant,
}

impl Worker {
    pub(super) fn new(
        share: Option<Share>,
        cache: Option<PathBuf>,
        letters: mpsc::Receiver<Letter>,
        own_inbox: mpsc::Sender<Letter>,
        out: mpsc::Sender<Report>,
        wake: Box<dyn Fn() + Send>,
    ) -> Worker {
        let now = Instant::now();
        Worker {
            letters,
            own_inbox,
            out,
            wake,
            writes: VecDeque::new(),
            urgent: VecDeque::new(),
            gathered: VecDeque::new(),
            gathered_first: now,
            gathered_last: None,
            stopping: false,
            reported: false,
            share,
            cache,
            serve: Serve::default(),
            parts: HashMap::new(),
            openings: VecDeque::new(),
            buffer: Vec::new(),
            background_at: now,
            news_at: now,
        }
    }

    /// Until [`Letter::Stop`].
    pub(super) fn run(mut self) {
        if let Some(share) = &mut self.share {
            share.cache = Cache::open(self.cache.take().as_deref());
        }
        loop {
            while let Ok(letter) = self.letters.try_recv() {
                self.on_letter(letter);
            }
            let mut was_urgent = true;
            if let Some(job) = self.writes.pop_front() {
                self.on_job(job);
            } else if self.gathered_is_due() {
                self.digest_gathered();
            } else if let Some(job) = self.urgent.pop_front() {
                self.on_job(job);
            } else if self.stopping {
                break;
            } else {
                was_urgent = false;
            }
            self.wake_loop();
            let now = Instant::now();
            if was_urgent && now < self.background_at {
                continue;
            }
            self.background_at = now + BACKGROUND_EVERY;
            let worked = self.background(now);
            self.wake_loop();
            if !worked && !was_urgent {
                self.sleep();
            }
        }
        if let Some(share) = &mut self.share {
            share.cache.flush();
        }
    }

    /// Does what is due and one slice of what there is to do; false if there was nothing.
    fn background(&mut self, now: Instant) -> bool {
        if let Some(share) = &mut self.share {
            share.on_time(now);
        }
        let mut worked = false;
        if let Some(opening) = self.openings.pop_front() {
            self.on_opening(opening);
            worked = true;
        }
        if let Some(share) = &mut self.share
            && share.has_work()
        {
            share.slice(&mut self.buffer);
            worked = true;
        } else if let Some(share) = &mut self.share {
            share.rest();
        }
        if now >= self.news_at {
            self.tell_news(now);
        }
        worked
    }

    fn deadline(&self) -> Option<Instant> {
        let gathered = self.gathered_until();
        let Some(share) = &self.share else { return gathered };
        let news = share.index.has_news().then_some(self.news_at);
        [share.deadline(), news, gathered].into_iter().flatten().min()
    }

    fn sleep(&mut self) {
        let now = Instant::now();
        let due = self.deadline().map(|due| due.saturating_duration_since(now));
        let kept = (self.buffer.capacity() > 0).then_some(BUFFER_KEPT);
        let letter = match [due, kept].into_iter().flatten().min() {
            Some(wait) => self.letters.recv_timeout(wait),
            None => self.letters.recv().map_err(RecvTimeoutError::from),
        };
        match letter {
            Ok(letter) => self.on_letter(letter),
            Err(RecvTimeoutError::Timeout) if kept.is_some_and(|kept| due.is_none_or(|due| kept <= due)) => {
                self.buffer = Vec::new();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
    }

    fn on_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Jobs(jobs) => jobs.into_iter().for_each(|job| self.queue(job)),
            Letter::Sighting(sighting) => {
                if let Some(share) = &mut self.share {
                    share.on_sighting(sighting);
                }
            }
            Letter::Published { download, published } => self.on_published(download, *published),
            Letter::Stop => self.stopping = true,
        }
    }

    fn queue(&mut self, job: Job) {
        if is_write(&job) {
            return self.writes.push_back(job);
        }
        match job {
            Job::Digest { conn, req, bytes, plan, verify } if verify != Verify::Blake3 => {
                self.gather(Chunk { conn, req, bytes, plan, verify });
            }
            job @ (Job::Work { .. } | Job::Digest { .. }) => self.urgent.push_back(job),
        }
    }

    // ---- reports ---------------------------------------------------------------------------------------------------

    fn report(&mut self, report: Report) {
        // The loop is gone: the worker is about to be told to stop.
        let _ = self.out.send(report);
        self.reported = true;
    }

    /// Once for all that was reported together.
    fn wake_loop(&mut self) {
        if std::mem::take(&mut self.reported) {
            (self.wake)();
        }
    }

    fn done(&mut self, done: DiskDone) {
        self.report(Report::Done { done, file: None, spare: None });
    }

    /// Tells what is new in the share.
    fn tell_news(&mut self, now: Instant) {
        let Some(share) = self.share.as_mut().filter(|share| share.index.has_news()) else { return };
        self.news_at = now + NEWS_EVERY;
        self.serve.close_unshared(share);
        let mut told = Vec::new();
        while let Some((added, removed)) = share.index.take_news(NEWS_MAX) {
            told.push(DiskDone::Share { added, removed });
        }
        told.into_iter().for_each(|done| self.done(done));
    }

    // ---- jobs ------------------------------------------------------------------------------------------------------

    fn on_job(&mut self, job: Job) {
        match job {
            Job::Digest { conn, req, bytes, plan, verify } => {
                self.digest(vec![Chunk { conn, req, bytes, plan, verify }]);
            }
            Job::Work { work, bytes } => self.on_work(work, bytes),
        }
    }

    /// Keeps a chunk until there are as many as there are lanes, or until no more come soon.
    fn gather(&mut self, chunk: Chunk) {
        let now = Instant::now();
        if self.gathered.is_empty() {
            // One that comes alone is not held up.
            let alone = self.gathered_last.is_none_or(|last| now.saturating_duration_since(last) > LANES_GAP);
            self.gathered_first = if alone { now.checked_sub(LANES_WAIT).unwrap_or(now) } else { now };
        }
        self.gathered_last = Some(now);
        self.gathered.push_back(chunk);
    }

    /// Until when the chunks that are gathered may wait for more.
    fn gathered_until(&self) -> Option<Instant> {
        let last = self.gathered_last.filter(|_| !self.gathered.is_empty())?;
        Some((last + LANES_GAP).min(self.gathered_first + LANES_WAIT))
    }

    fn gathered_is_due(&self) -> bool {
        let full = self.gathered.len() >= Width::widest().lanes();
        full || self.gathered_until().is_some_and(|until| self.stopping || until <= Instant::now())
    }

    /// Hashes as many of the gathered chunks as there are lanes, those that are as long as the first.
    fn digest_gathered(&mut self) {
        let Some(first) = self.gathered.front() else { return };
        let (length, verify) = (first.bytes.len(), first.verify);
        let mut chunks = Vec::new();
        let mut at = 0;
        while chunks.len() < Width::widest().lanes() && at < self.gathered.len() {
            let alike = self.gathered[at].bytes.len() == length && self.gathered[at].verify == verify;
            match alike.then(|| self.gathered.remove(at)).flatten() {
                Some(chunk) => chunks.push(chunk),
                None => at += 1,
            }
        }
        self.digest(chunks);
    }

    fn digest(&mut self, chunks: Vec<Chunk>) {
        let messages: Vec<(&[u8], HashPlan)> = chunks.iter().map(|chunk| (&chunk.bytes[..], chunk.plan)).collect();
        let digests = digests_of(&messages, chunks[0].verify);
        for (Chunk { conn, req, bytes, .. }, digests) in chunks.into_iter().zip(digests) {
            self.report(Report::Digested { conn, req, bytes, digests });
        }
    }

    fn on_work(&mut self, work: DiskWork, bytes: Option<Vec<u8>>) {
        match work {
            DiskWork::PrepareChunk { conn, req, root, offset, length, bare } => {
                let mut asked = vec![(conn, req, Wanted { root, offset, length, bare })];
                self.take_wanted(&mut asked);
                self.prepare_chunks(&asked);
            }
            DiskWork::ReadManifest { conn, req, root, first } => {
                let result = match &mut self.share {
                    Some(share) => self.serve.manifest_page(share, root, first),
                    None => Err(ServeFailure::NotFound),
                };
                self.done(DiskDone::ManifestReady { conn, req, first, result });
            }
            DiskWork::ForgetConn { conn } => self.urgent.retain(|job| !is_for(job, conn)),
            DiskWork::OpenPart { download, destination, root, size } => {
                self.open_part(download, &destination, root, size);
            }
            DiskWork::StoreManifest { download, cvs } => {
                if let Some(part) = self.parts.get_mut(&download) {
                    part.store_manifest(cvs);
                }
            }
            DiskWork::WritePiece { download, piece, payload: _ } => self.write_piece(download, piece, bytes),
            DiskWork::Publish { download } => self.publish(download),
            DiskWork::Abandon { download } => {
                if let Some(part) = self.parts.remove(&download) {
                    part.remove_if_empty();
                }
                self.openings.retain(|opening| opening.download != download);
            }
        }
    }

    /// Takes the chunks that wait to be prepared, as many as are hashed at once.
    fn take_wanted(&mut self, asked: &mut Vec<(ConnId, u32, Wanted)>) {
        let mut at = 0;
        while asked.len() < Width::widest().lanes() && at < self.urgent.len() {
            match self.urgent[at] {
                Job::Work { work: DiskWork::PrepareChunk { conn, req, root, offset, length, bare }, .. } => {
                    asked.push((conn, req, Wanted { root, offset, length, bare }));
                    self.urgent.remove(at);
                }
                Job::Work { .. } | Job::Digest { .. } => at += 1,
            }
        }
    }

    fn prepare_chunks(&mut self, asked: &[(ConnId, u32, Wanted)]) {
        let wanted: Vec<Wanted> = asked.iter().map(|(_, _, wanted)| *wanted).collect();
        let prepared = match &mut self.share {
            Some(share) => self.serve.prepare(share, &wanted, &mut self.buffer),
            None => wanted.iter().map(|_| Err(ServeFailure::NotFound)).collect(),
        };
        for ((conn, req, _), prepared) in asked.iter().zip(prepared) {
            let (result, file) = match prepared {
                Ok((md5, file)) => (Ok(md5), Some(file)),
                Err(failure) => (Err(failure), None),
            };
            let done = DiskDone::ChunkReady { conn: *conn, req: *req, result };
            self.report(Report::Done { done, file, spare: None });
        }
    }

    fn write_piece(&mut self, download: DownloadId, piece: u32, bytes: Option<Vec<u8>>) {
        let result = match (self.parts.get_mut(&download), &bytes) {
            (Some(part), Some(bytes)) => part.write_piece(piece, bytes),
            (Some(_), None) => Err(failed("a piece without bytes".to_owned())),
            (None, _) => Err(failed("the download is over".to_owned())),
        };
        let done = DiskDone::PieceWritten { download, piece, result };
        self.report(Report::Done { done, file: None, spare: bytes });
    }

    // ---- opening a part file ---------------------------------------------------------------------------------------

    fn open_part(&mut self, download: DownloadId, destination: &Destination, root: Root, size: u64) {
        match Place::find(destination, &root, self.share.as_ref()) {
            Ok(place) => {
                let place = Arc::new(place);
                self.on_opening(Opening { download, place, root, size, stage: Stage::Look });
            }
            Err(failure) => self.part_opened(download, Err(failure)),
        }
    }

    fn part_opened(&mut self, download: DownloadId, result: Result<PartState, DiskFailure>) {
        self.done(DiskDone::PartOpened { download, result });
    }

    /// Goes one step on with an opening; what is not over is put back in line.
    fn on_opening(&mut self, mut opening: Opening) {
        let download = opening.download;
        match opening.step(self.share.as_ref(), &mut self.buffer) {
            Ok(Step::Again) => self.openings.push_back(opening),
            Ok(Step::AlreadyThere) => {
                opening.place.remove_stale_map();
                self.part_opened(download, Ok(PartState::AlreadyThere { path: opening.place.path.clone() }));
            }
            Ok(Step::Open(part)) => {
                let path = part.place.path.clone();
                let state = PartState::Open { path, manifest: part.manifest.clone(), verified: part.verified() };
                self.parts.insert(download, *part);
                self.part_opened(download, Ok(state));
            }
            Err(failure) => self.part_opened(download, Err(failure)),
        }
    }

    // ---- publishing ------------------------------------------------------------------------------------------------

    fn publish(&mut self, download: DownloadId) {
        let publishing = match self.parts.remove(&download) {
            Some(part) => Publishing::new(part),
            None => Err(failed("the download is over".to_owned())),
        };
        let publishing = match publishing {
            Ok(publishing) => publishing,
            Err(failure) => return self.done(DiskDone::Published { download, result: Err(failure) }),
        };
        let inbox = self.own_inbox.clone();
        let spawned = thread::Builder::new().name("sprat-publish".to_owned()).spawn(move || {
            let published = Box::new(publishing.run());
            // Gone only when the process ends.
            let _ = inbox.send(Letter::Published { download, published });
        });
        if let Err(error) = spawned {
            let failure = failed(format!("cannot start a thread to publish: {error}; get the file again"));
            self.done(DiskDone::Published { download, result: Err(failure) });
        }
    }

    fn on_published(&mut self, download: DownloadId, published: Published) {
        if let (Some((path, stamp, digest)), Some(share)) = (published.offer, &mut self.share) {
            share.published(&path, stamp, &digest);
        }
        // The file is offered before the download is told to be over.
        self.tell_news(Instant::now());
        self.done(DiskDone::Published { download, result: published.result });
    }
}

enum Step {
    Again,
    AlreadyThere,
    Open(Box<Part>),
}

impl Opening {
    fn step(&mut self, share: Option<&Share>, buffer: &mut Vec<u8>) -> Result<Step, DiskFailure> {
        match &mut self.stage {
            Stage::Look => self.look(share),
            Stage::Compare { file, hash } => {
                for _ in 0..CLAIMS_PER_SLICE {
                    match hash.step(file, buffer, &mut 0) {
                        Ok(None) => {}
                        Ok(Some(digest)) if digest.root == self.root => return Ok(Step::AlreadyThere),
                        Ok(Some(_)) => return Err(self.place.taken()),
                        Err(error) => return Err(self.place.io_failure(error)),
                    }
                }
                Ok(Step::Again)
            }
            Stage::Check(part) => {
                for _ in 0..CLAIMS_PER_SLICE {
                    if !part.check_claim(buffer) {
                        return self.open_if_free();
                    }
                }
                Ok(Step::Again)
            }
        }
    }

    /// What is at the destination decides: nothing, the same content (to be found out), or another.
    fn look(&mut self, share: Option<&Share>) -> Result<Step, DiskFailure> {
        let stamp = match self.place.look()? {
            None => {
                let part = Part::open(self.place.clone(), self.root, self.size)?;
                self.stage = Stage::Check(Box::new(part));
                return Ok(Step::Again);
            }
            Some(Found::File(stamp)) if stamp.size == self.size => stamp,
            Some(Found::File(_) | Found::Folder | Found::Nothing | Found::Unknown) => return Err(self.place.taken()),
        };
        let known = self.place.share_path.as_ref().and_then(|path| share?.root_at(path));
        if let Some((root, offered)) = known
            && offered == stamp
        {
            return if root == self.root { Ok(Step::AlreadyThere) } else { Err(self.place.taken()) };
        }
        let (file, stamp) = self.place.open_existing().map_err(|error| self.place.io_failure(error))?;
        if stamp.size != self.size {
            return Err(self.place.taken());
        }
        self.stage = Stage::Compare { file, hash: FileHash::new(self.size) };
        Ok(Step::Again)
    }

    /// The part file is open and checked; should somebody have published meanwhile, that is looked at instead.
    fn open_if_free(&mut self) -> Result<Step, DiskFailure> {
        let free = self.place.look()?.is_none();
        match std::mem::replace(&mut self.stage, Stage::Look) {
            Stage::Check(part) if free => Ok(Step::Open(part)),
            Stage::Check(part) => {
                part.remove_if_empty();
                Ok(Step::Again)
            }
            Stage::Look | Stage::Compare { .. } => Ok(Step::Again),
        }
    }
}

/// Whether a job puts what is verified into a part file. One may overtake digests and chunks: a part file is open before the first
/// of its writes is sent, and is published only after the last was answered.
fn is_write(job: &Job) -> bool {
    matches!(job, Job::Work { work: DiskWork::WritePiece { .. } | DiskWork::StoreManifest { .. }, .. })
}

/// Whether a job only answers this connection, and holds nothing of the driver's.
fn is_for(job: &Job, gone: ConnId) -> bool {
    match job {
        Job::Work { work: DiskWork::PrepareChunk { conn, .. } | DiskWork::ReadManifest { conn, .. }, .. } => {
            *conn == gone
        }
        Job::Work { .. } | Job::Digest { .. } => false,
    }
}

const _: () = assert!(CLAIMS_PER_SLICE as u64 * PIECE_BYTES <= 4 << 20);
