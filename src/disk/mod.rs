//! Everything that uses files: the share, its digests, part files, and publishing. One worker
//! thread does most of it. To publish files, save the queue, look for part files, or check whether
//! files fit on the disk, short-lived threads are started, because each of these may take seconds.
//! The watchers have threads, too.
//!
//! The loop passes [`Job`]s to the worker and receives [`Report`]s through a channel. `wake` is
//! called when there are reports. The loop and the worker share no state. Jobs of transfers
//! (chunks, digests, pieces) come before background work (scanning and hashing the share, hashing a
//! part file again), which is done in slices. Nothing here uses a socket, and no error of a file
//! ends the worker.

mod above;
mod below;
mod cache;
mod catalog;
mod collections;
mod describing;
mod durable;
mod folder;
mod folder_root;
mod hash;
mod hasher;
mod held;
mod holes;
mod hot;
mod http;
mod job;
mod left_out;
mod lent;
pub mod md5_lanes;
mod names;
mod opening;
mod options;
mod part;
mod part_map;
mod parts;
mod placing;
mod publish;
mod queue;
mod remedy;
mod room;
mod rules;
mod saving;
mod scan;
mod serve;
mod share;
mod slow;
mod space;
mod target;
mod tree;
mod unpacking;
mod watch;
mod worker;
mod writers;

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]
mod tests;

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use self::http::{AtPath, HttpDone, HttpWork};
pub use folder_root::{FolderContent, collection_of};
pub use hot::Small;
pub use job::{Job, ReceivedChunk, Report};
pub use lent::Lent;
pub(crate) use names::is_share_name;
pub use options::{DiskOptions, ShareFolder};
use rustix::fs::{Access, access};
use worker::ToWorker;

use crate::error::{Exit, Failure};
use crate::time::Time;
use crate::wire::name::printable;

/// When this many jobs were submitted, the loop passes them to the worker without waiting for more.
const JOBS_AT_ONCE: usize = 16;

/// The worker, as the loop sees it. When it is dropped, it waits until the worker has done its jobs
/// and has ended.
#[derive(Debug)]
pub struct Disk {
    inbox: mpsc::Sender<ToWorker>,
    /// Jobs that will be passed to the worker together.
    jobs: Vec<Job>,
    hot: hot::Hot,
    worker: Option<thread::JoinHandle<()>>,
}

impl Disk {
    /// Opens the shares, starts their watchers and starts the worker. `wake` is called after every
    /// batch of reports.
    ///
    /// # Errors
    ///
    /// [`Exit::Disk`] if a share is missing, is no folder or cannot be read, or if the folder for
    /// downloads cannot be created; [`Exit::Internal`] if no thread can be started.
    pub fn start(options: DiskOptions, wake: Box<dyn Fn() + Send>) -> Result<(Disk, mpsc::Receiver<Report>), Failure> {
        let (inbox, messages) = mpsc::channel();
        let (out, reports) = mpsc::channel();
        let events = inbox.clone();
        let callback: share::MakeCallback = Box::new(move |number| {
            let events = events.clone();
            Box::new(move |event| {
                // If the worker is gone, its watcher ends too.
                let _ = events.send(ToWorker::Watch(number, event));
            })
        });
        let downloads = options.downloads.as_deref().map(folder_for_downloads).transpose()?;
        let share = share::Share::open(&options, callback)?;
        let downloads = downloads.or_else(|| share.as_ref()?.first_folder());
        if let Some(share) = &share {
            share.trees.report_read_only(downloads.as_deref());
        }
        let worker = worker::Worker::new(
            share,
            (downloads, options.cache, options.collections, options.queue),
            messages,
            inbox.clone(),
            out,
            wake,
        );
        let worker = thread::Builder::new().name("sprat-disk".to_owned()).spawn(move || worker.run());
        let worker = worker.map_err(|error| Failure::new(Exit::Internal, format!("cannot start a thread: {error}")))?;
        Ok((Disk { inbox, jobs: Vec::new(), hot: hot::Hot::default(), worker: Some(worker) }, reports))
    }

    /// Shares these folders from now on, and no others. With `take_downloads`, downloads without a
    /// destination go to the first of them.
    ///
    /// # Errors
    ///
    /// [`Exit::Disk`] if one is missing, is no folder or cannot be read. Then nothing changes.
    pub fn share(
        &mut self,
        shares: &[ShareFolder],
        rescan: Option<Duration>,
        take_downloads: bool,
    ) -> Result<(), Failure> {
        let trees = tree::Trees::open(shares)?;
        self.hot.clear();
        let _ = self.inbox.send(ToWorker::Shares { trees, rescan, take_downloads });
        Ok(())
    }

    /// Passes the jobs to the worker if there are many. Fewer jobs wait, because the worker may
    /// have to be woken each time.
    pub fn hand_over_many(&mut self) {
        if self.jobs.len() >= JOBS_AT_ONCE {
            self.hand_over();
        }
    }

    /// Adds a job. [`Disk::hand_over`] passes it to the worker.
    pub fn submit(&mut self, job: Job) {
        self.jobs.push(job);
    }

    /// Passes all submitted jobs to the worker. Chunks that are passed together are hashed
    /// together. Never blocks.
    pub fn hand_over(&mut self) {
        self.hot.close();
        if !self.jobs.is_empty() {
            // The worker ends only when `self` is dropped. If it panics, the process ends.
            let _ = self.inbox.send(ToWorker::Jobs(mem::take(&mut self.jobs)));
        }
    }
}

/// The small files in memory, which need no worker.
impl Disk {
    /// The small file at this path, if it is in memory and its path still leads to it in the same
    /// state. Never blocks.
    pub fn small_at(&mut self, path: &str, now: Time) -> Option<Arc<Small>> {
        self.hot.find(path, now)
    }

    /// Keeps a small file that the worker has found at this path.
    pub fn keep_small(&mut self, path: &str, small: Arc<Small>, now: Time) {
        self.hot.keep(path, small, now);
    }

    /// The worker has reported that these files have changed or are no longer shared.
    pub fn forget_smalls<'p>(&mut self, paths: impl Iterator<Item = &'p str>) {
        if self.hot.timeout().is_some() {
            paths.for_each(|path| self.hot.forget(path));
        }
    }

    /// When [`Disk::expire`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Time> {
        self.hot.timeout()
    }

    /// Frees the small files, if none was used for a while.
    pub fn expire(&mut self, now: Time) {
        self.hot.expire(now);
    }
}

/// Creates the folder if it is missing. Reports already at the start if nothing can be stored in
/// it.
fn folder_for_downloads(path: &Path) -> Result<PathBuf, Failure> {
    let shown = printable(&path.to_string_lossy());
    let fail = |why: std::io::Error| {
        Failure::new(
            Exit::Disk,
            format!("cannot use {shown} for downloads: {why}; name another folder with --downloads"),
        )
    };
    durable::make_folders(path, 0o777).map_err(fail)?;
    let path = std::fs::canonicalize(path).map_err(fail)?;
    if let Err(why) = access(&path, Access::WRITE_OK) {
        let why = std::io::Error::from(why);
        log::warn!("downloads cannot be stored in {shown}: {why}; name another folder with --downloads DIR");
    }
    Ok(path)
}

#[cfg(test)]
impl Disk {
    /// A disk without a worker, and a function. Each call of the function returns the number of
    /// jobs in each batch that was passed on since the call before.
    pub(crate) fn without_worker() -> (Disk, impl Fn() -> Vec<usize>) {
        let (inbox, messages) = mpsc::channel();
        let batches = move || {
            let jobs = |message| if let ToWorker::Jobs(jobs) = message { Some(jobs.len()) } else { None };
            messages.try_iter().filter_map(jobs).collect()
        };
        (Disk { inbox, jobs: Vec::new(), hot: hot::Hot::default(), worker: None }, batches)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.hand_over();
        let _ = self.inbox.send(ToWorker::Stop);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
