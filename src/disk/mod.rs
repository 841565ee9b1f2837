//! Everything that touches files: the share, its digests, part files and their publishing. One worker thread does it all.
//!
//! The loop hands [`Job`]s over and finds [`Report`]s in a channel; `wake` tells it to look. The two share no state. Jobs of
//! transfers (chunks, digests, pieces) go before background work (scanning and hashing the share, re-hashing a part file),
//! which is done in slices. Nothing here knows a socket, and no error of a file ends the thread.

mod cache;
mod catalog;
mod hash;
pub mod md5_lanes;
mod open;
mod part;
mod publish;
mod scan;
mod serve;
mod share;
mod watch;
mod worker;

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use worker::Letter;

use crate::error::{Exit, Failure};
use crate::proto::disk::{DiskDone, DiskWork};
use crate::proto::{ConnId, Digests, HashPlan, Verify};

/// Where the files are.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The folder to share; without one only downloads to a path work.
    pub share: Option<PathBuf>,
    /// The file of the digest cache; without one digests are kept in memory only. Its folder is made if it is missing.
    pub cache: Option<PathBuf>,
}

/// What the loop wants done.
#[derive(Debug)]
pub enum Job {
    /// What a machine ordered.
    Work {
        /// The order.
        work: DiskWork,
        /// The bytes of a [`DiskWork::WritePiece`].
        bytes: Option<Vec<u8>>,
    },
    /// Hash a payload that has arrived.
    Digest {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The payload; comes back with the report.
        bytes: Vec<u8>,
        /// Which BLAKE3 value.
        plan: HashPlan,
        /// Which digests.
        verify: Verify,
    },
}

/// What the worker has done.
#[derive(Debug)]
pub enum Report {
    /// For the machine.
    Done {
        /// What it is told.
        done: DiskDone,
        /// The open file of a successful [`DiskDone::ChunkReady`].
        file: Option<Arc<File>>,
        /// The buffer of a [`DiskDone::PieceWritten`], to be used again.
        spare: Option<Vec<u8>>,
    },
    /// A payload is hashed.
    Digested {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The payload.
        bytes: Vec<u8>,
        /// What it hashed to.
        digests: Digests,
    },
}

/// The loop's end of the worker. Dropping it ends the worker, once the jobs handed over so far are done, and waits for it.
#[derive(Debug)]
pub struct Disk {
    inbox: mpsc::Sender<Letter>,
    /// Jobs to be handed over together.
    jobs: Vec<Job>,
    worker: Option<thread::JoinHandle<()>>,
}

impl Disk {
    /// Opens the share, arms the watcher and starts the worker. `wake` is called after every batch of reports.
    ///
    /// # Errors
    ///
    /// [`Exit::Disk`] if the share is missing, is no folder or cannot be read; [`Exit::Internal`] if no thread can be started.
    pub fn start(options: DiskOptions, wake: Box<dyn Fn() + Send>) -> Result<(Disk, mpsc::Receiver<Report>), Failure> {
        let (inbox, letters) = mpsc::channel();
        let (out, reports) = mpsc::channel();
        let sightings = inbox.clone();
        let tell: share::Tell = Box::new(move || {
            let sightings = sightings.clone();
            Box::new(move |sighting| {
                // A worker that is gone needs no news.
                let _ = sightings.send(Letter::Sighting(sighting));
            })
        });
        let share = match &options.share {
            Some(path) => Some(share::Share::open(path, cache::Cache::default(), tell)?),
            None => None,
        };
        let worker = worker::Worker::new(share, options.cache, letters, inbox.clone(), out, wake);
        let worker = thread::Builder::new().name("sprat-disk".to_owned()).spawn(move || worker.run());
        let worker = worker.map_err(|error| Failure::new(Exit::Internal, format!("cannot start a thread: {error}")))?;
        Ok((Disk { inbox, jobs: Vec::new(), worker: Some(worker) }, reports))
    }

    /// Takes a job; [`Disk::hand_over`] gives it to the worker.
    pub fn submit(&mut self, job: Job) {
        self.jobs.push(job);
    }

    /// Hands over what was submitted, all at once, for the worker does together what comes together. Never blocks.
    pub fn hand_over(&mut self) {
        if !self.jobs.is_empty() {
            // The worker ends only after `self`; a panic of it ends the whole program.
            let _ = self.inbox.send(Letter::Jobs(std::mem::take(&mut self.jobs)));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.hand_over();
        let _ = self.inbox.send(Letter::Stop);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
