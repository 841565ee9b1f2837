//! Downloads of many files by one command. It owns the files of each such command until all of them
//! are there or have failed. Then it ends the command. It does not search: the contents and their
//! sources are known when it begins.
//!
//! It hands the small files to the part that fetches the files of collections. It hands all other
//! files, and the files that this part could not fetch, to the downloads, a few at a time. They
//! report how each file ended.

mod causes;
mod entry;
mod job;

use std::collections::BTreeMap;

use super::collecting::FileEnd;
use super::contact::Contact;
use super::context::{BatchId, Context};
use super::download::{Order, Progress};
use crate::proto::disk::DiskFailure;
use crate::proto::event::Outcome;
use crate::proto::{ClientId, DownloadId};
use crate::wire::collection::Item;
use job::Job;

pub(super) use entry::{Entry, Many, tell_apart};

/// All commands of many files.
#[derive(Default)]
pub(super) struct Batches {
    jobs: BTreeMap<BatchId, Job>,
    next: u64,
    /// The job of each file that is handed to the downloads.
    handed: BTreeMap<DownloadId, BatchId>,
    next_file: u64,
    /// The jobs whose files the disk compares with the free space.
    checks: BTreeMap<DownloadId, BatchId>,
}

/// The numbers of downloads that batches start begin here. The numbers of all other downloads are
/// lower.
const FILES_FROM: u64 = 1 << 63;

impl Batches {
    pub(super) fn start(&mut self, cx: &mut Context, many: Many) {
        let id = BatchId(self.next);
        self.next += 1;
        let job = Job::new(cx, id, many);
        let check = DownloadId(FILES_FROM + self.next_file);
        if let Some(work) = job.check(check) {
            self.next_file += 1;
            self.checks.insert(check, id);
            cx.disk(work);
        }
        self.jobs.insert(id, job);
    }

    /// The disk knows whether the files of a command fit.
    pub(super) fn on_room(&mut self, cx: &mut Context, check: DownloadId, result: Result<(), DiskFailure>) {
        let Some(id) = self.checks.remove(&check) else { return };
        match result {
            Ok(()) => self.jobs.get_mut(&id).into_iter().for_each(Job::begin),
            Err(failure) => {
                if let Some(job) = self.jobs.remove(&id) {
                    cx.timers.stop(super::context::Reason::Batch(id));
                    job.refuse(cx, failure);
                }
                if self.jobs.is_empty() {
                    close_idle(cx);
                }
            }
        }
    }

    /// The one order for the small files of a command.
    pub(super) fn poll_small(&mut self, cx: &Context) -> Option<Order> {
        let download = DownloadId(FILES_FROM + self.next_file);
        let (id, order) = self.jobs.iter_mut().find_map(|(id, job)| Some((*id, job.small_order(cx, download)?)))?;
        self.next_file += 1;
        self.handed.insert(download, id);
        Some(order)
    }

    /// The next small files of a command, each with its sources; empty if there are no more.
    pub(super) fn next_items(&mut self, small: DownloadId) -> Vec<(Item, Vec<Contact>)> {
        let job = self.handed.get(&small).and_then(|id| self.jobs.get_mut(id));
        job.map_or_else(Vec::new, Job::next_items)
    }

    /// A small file has ended.
    pub(super) fn on_file_end(&mut self, cx: &mut Context, small: DownloadId, number: u64, end: FileEnd) {
        if let Some(job) = self.handed.get(&small).and_then(|id| self.jobs.get_mut(id)) {
            job.on_file_end(cx, number, end);
        }
    }

    /// The next file that a download is to be started for.
    pub(super) fn poll_order(&mut self, cx: &mut Context) -> Option<Order> {
        for (id, job) in &mut self.jobs {
            let download = DownloadId(FILES_FROM + self.next_file);
            if let Some(order) = job.next_order(cx, download) {
                self.next_file += 1;
                self.handed.insert(download, *id);
                return Some(order);
            }
        }
        let over: Vec<_> = self.jobs.iter().filter(|(_, job)| job.is_over()).map(|(id, _)| *id).collect();
        for id in over {
            if let Some(job) = self.jobs.remove(&id) {
                cx.timers.stop(super::context::Reason::Batch(id));
                job.end(cx);
            }
            if self.jobs.is_empty() {
                close_idle(cx);
            }
        }
        None
    }

    /// A download of one file has ended.
    pub(super) fn on_download_done(&mut self, cx: &mut Context, download: DownloadId, outcome: &Outcome) {
        let job = self.handed.remove(&download).and_then(|id| self.jobs.get_mut(&id));
        if let Some(job) = job {
            job.on_done(cx, download, outcome);
        }
    }

    /// `progress_of` returns how far a file is that was handed over.
    pub(super) fn on_tick(&mut self, cx: &mut Context, id: BatchId, progress_of: impl Fn(DownloadId) -> Progress) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.on_tick(cx, progress_of);
        }
    }

    /// A client is gone: its commands end without an answer. The downloads end the files
    /// themselves.
    pub(super) fn on_client_gone(&mut self, cx: &mut Context, client: ClientId) {
        let of_client = |(_, job): &(&BatchId, &Job)| job.client() == client;
        let ids: Vec<_> = self.jobs.iter().filter(of_client).map(|(id, _)| *id).collect();
        for id in ids {
            cx.timers.stop(super::context::Reason::Batch(id));
            self.jobs.remove(&id);
        }
        self.handed.retain(|_, id| self.jobs.contains_key(id));
        self.checks.retain(|_, id| self.jobs.contains_key(id));
        if self.jobs.is_empty() {
            close_idle(cx);
        }
    }

    /// The peer shuts down: all commands end.
    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        for (_, mut job) in std::mem::take(&mut self.jobs) {
            job.abandon("the peer ends; repeat the command to get the rest");
            job.end(cx);
        }
        close_idle(cx);
    }
}

/// Closes idle connections if no command is left that could use them.
fn close_idle(cx: &mut Context) {
    let conns: Vec<_> = cx.idle.drain().collect();
    conns.into_iter().for_each(|conn| cx.bye(conn, "done"));
}
