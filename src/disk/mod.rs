//! Stands in for the disk's room until it is merged: the types of the seam, and a worker that refuses everything.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use crate::error::Failure;
use crate::proto::{ConnId, Digests, DiskDone, DiskWork, HashPlan, Verify};

/// What the disk is to look after.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The shared folder.
    pub share: Option<PathBuf>,
    /// The digest cache's file.
    pub cache: Option<PathBuf>,
}

/// An order to the worker.
#[derive(Debug)]
pub enum Job {
    /// What a machine ordered.
    Work {
        /// What.
        work: DiskWork,
        /// The bytes of a WritePiece.
        bytes: Option<Vec<u8>>,
    },
    /// Hash a received chunk.
    Digest {
        /// From which connection.
        conn: ConnId,
        /// For which request.
        req: u32,
        /// The chunk.
        bytes: Vec<u8>,
        /// How to hash it.
        plan: HashPlan,
        /// Which digests.
        verify: Verify,
    },
}

/// What the worker says.
#[derive(Debug)]
pub enum Report {
    /// Work is done.
    Done {
        /// For the machine.
        done: DiskDone,
        /// ChunkReady: the opened file.
        file: Option<Arc<File>>,
        /// A buffer that is not needed any more.
        spare: Option<Vec<u8>>,
    },
    /// A chunk is hashed.
    Digested {
        /// From which connection.
        conn: ConnId,
        /// For which request.
        req: u32,
        /// The chunk.
        bytes: Vec<u8>,
        /// What it hashed to.
        digests: Digests,
    },
}

/// Handle to the worker.
#[derive(Debug)]
pub struct Disk {
    jobs: mpsc::Sender<Job>,
}

impl Disk {
    /// Starts the worker.
    ///
    /// # Errors
    /// Never, here.
    pub fn start(_: DiskOptions, wake: Box<dyn Fn() + Send>) -> Result<(Disk, mpsc::Receiver<Report>), Failure> {
        let (jobs, orders) = mpsc::channel();
        let (reports, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for job in orders {
                if let Job::Digest { conn, req, bytes, .. } = job {
                    let blake3 = Some(*blake3::hash(&bytes).as_bytes());
                    let _ = reports.send(Report::Digested { conn, req, bytes, digests: Digests { md5: None, blake3 } });
                    wake();
                }
            }
        });
        Ok((Disk { jobs }, answers))
    }

    /// Orders something.
    pub fn submit(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}
