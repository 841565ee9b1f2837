//! All downloads of a weak peer: those that run, and those that wait. This module passes each input
//! to the `Transfer` that it belongs to, and reports the end of a download. It fetches nothing
//! itself.

mod check;
mod fetch;
mod followed;
pub mod manifest;
mod order;
mod part;
pub mod picker;
mod pieces;
mod pool;
mod proof;
mod proving;
mod source;
mod sources;
mod swarming;
mod transfer;
mod verdict;
mod wanting;

use std::collections::{BTreeMap, VecDeque};

use super::contact::Contact;
use super::context::{Context, Owner, SourceIndex};
use crate::config::{DOWNLOADS_MAX, DOWNLOADS_WAITING_MAX, SMALL_DOWNLOADS_MAX};
use crate::error::{Exit, Failure};
use crate::proto::disk::{DiskFailure, PartState};
use crate::proto::event::{Outcome, SourceState};
use crate::proto::{ClientId, ConnId, Digests, DownloadId, PayloadId};
use crate::wire::swarm::Peers;
use crate::wire::{Message, NodeId, Root};
use transfer::Transfer;

pub(super) use order::Order;
pub(super) use pool::{Pool, is_possible};
pub(super) use sources::Ask;

/// A download that was a part of something larger and has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The list of a collection, and peers that have it.
    List { order: Box<Order>, holders: Vec<Contact> },
    /// A file of a collection.
    File { collection: DownloadId, file: DownloadId, outcome: Box<Outcome> },
}

/// How far a download or a collection is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes of the content that this peer has.
    pub(super) bytes: u64,
    /// Bytes that this peer already had when the download started, and so did not fetch.
    pub(super) resumed: u64,
    /// The size of all files of a collection that are listed; none for a download.
    pub(super) size: Option<u64>,
}

impl Progress {
    /// The sum of both. Its `size` is that of `self`.
    pub(super) fn plus(self, other: Progress) -> Progress {
        let (bytes, resumed) = (self.bytes.saturating_add(other.bytes), self.resumed.saturating_add(other.resumed));
        Progress { bytes, resumed, ..self }
    }
}

/// All downloads of a weak peer.
#[derive(Default)]
pub(super) struct Downloads {
    running: BTreeMap<DownloadId, Transfer>,
    line: VecDeque<Order>,
    /// Downloads that are parts of commands and have ended.
    parts_done: VecDeque<(DownloadId, Outcome)>,
    ended: VecDeque<Ended>,
    /// Bytes that ended downloads have received.
    bytes_ended: u64,
    pub(super) finished: u64,
}

impl Downloads {
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Checks the invariants of each running download. It looks at every piece.
    pub(super) fn check_invariants(&self) {
        self.running.values().for_each(Transfer::check_invariants);
    }

    /// Bytes that all downloads have received, including those that were discarded.
    pub(super) fn bytes_received(&self) -> u64 {
        self.bytes_ended + self.running.values().map(Transfer::bytes_received).sum::<u64>()
    }

    pub(super) fn running_small(&self) -> usize {
        self.running.values().filter(|transfer| transfer.order.is_small).count()
    }

    pub(super) fn running_large(&self) -> usize {
        self.running.len() - self.running_small()
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Starts the download, or lets it wait.
    pub(super) fn start(&mut self, cx: &mut Context, order: Order) {
        let same = |other: &Order| other.root == order.root && other.destination == order.destination;
        if self.running.values().map(|transfer| &transfer.order).chain(&self.line).any(same) {
            let failure = Failure::new(
                Exit::Disk,
                format!("{:?} is already being downloaded to the same destination", order.name),
            );
            self.finish(cx, &order, Outcome::failed(&failure));
        } else if self.line.len() < DOWNLOADS_WAITING_MAX {
            self.line.push_back(order);
            self.advance(cx);
        } else {
            let failure = Failure::new(
                Exit::Internal,
                format!("{DOWNLOADS_WAITING_MAX} downloads are waiting in line; try again when some are over"),
            );
            self.finish(cx, &order, Outcome::failed(&failure));
        }
    }

    /// Starts waiting downloads, up to the limit on running ones.
    fn advance(&mut self, cx: &mut Context) {
        while let Some(order) = self.next_in_line() {
            let id = order.id;
            let mut transfer = Transfer::new(cx.now, order);
            transfer.begin(cx);
            self.running.insert(id, transfer);
            self.sweep(cx, id);
        }
    }

    /// The first waiting order for which there is room. Small parts of commands have a limit of
    /// their own.
    fn next_in_line(&mut self) -> Option<Order> {
        if self.line.is_empty() {
            return None;
        }
        let (small, large) = (self.running_small(), self.running_large());
        let has_room = |order: &Order| match order.is_small {
            true => small < SMALL_DOWNLOADS_MAX,
            false => large < DOWNLOADS_MAX,
        };
        let place = self.line.iter().position(has_room)?;
        self.line.remove(place)
    }

    /// Reports the end of a download to its client, or to the command or collection that it is a
    /// part of.
    fn finish(&mut self, cx: &mut Context, order: &Order, outcome: Outcome) {
        if let Some(collection) = order.parent {
            let (file, outcome) = (order.id, Box::new(outcome));
            self.ended.push_back(Ended::File { collection, file, outcome });
        } else if order.is_part {
            self.parts_done.push_back((order.id, outcome));
        } else {
            cx.done(order.client, outcome);
        }
    }

    /// A download that is a part of a command and has ended.
    pub(super) fn poll_part_done(&mut self) -> Option<(DownloadId, Outcome)> {
        self.parts_done.pop_front()
    }

    /// Applies an action to a running download, and reports the end of the download if the action
    /// ended it.
    fn with(&mut self, cx: &mut Context, id: DownloadId, act: impl FnOnce(&mut Transfer, &mut Context)) {
        if let Some(transfer) = self.running.get_mut(&id) {
            act(transfer, cx);
            self.sweep(cx, id);
            self.advance(cx);
        }
    }

    /// Removes the download if it has ended, and reports how.
    fn sweep(&mut self, cx: &mut Context, id: DownloadId) {
        let Some(outcome) = self.running.get_mut(&id).and_then(|transfer| transfer.outcome.take()) else { return };
        if let Some(transfer) = self.running.remove(&id) {
            self.bytes_ended += transfer.bytes_received();
            self.finished += u64::from(outcome.ok);
            if outcome.ok && transfer.order.collection {
                let holders = transfer.contacts();
                self.ended.push_back(Ended::List { order: Box::new(transfer.order), holders });
            } else {
                self.finish(cx, &transfer.order, outcome);
            }
        }
    }

    pub(super) fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// How far a download is.
    pub(super) fn progress_of(&self, id: DownloadId) -> Progress {
        let of = |transfer: &Transfer| Progress {
            bytes: transfer.bytes,
            resumed: transfer.resumed.min(transfer.bytes),
            ..Progress::default()
        };
        self.running.get(&id).map(of).unwrap_or_default()
    }

    /// Makes the downloads of this content fetch first the missing pieces from this byte on.
    pub(super) fn aim(&mut self, root: Root, offset: u64) {
        let of_root = |transfer: &&mut Transfer| transfer.order.root == root;
        self.running.values_mut().filter(of_root).for_each(|transfer| transfer.aim(offset));
    }

    // ---- sources --------------------------------------------------------------------------------

    /// Sources that were found, each with the size that its hit claims; none for a member of a
    /// swarm.
    pub(super) fn add_sources(&mut self, cx: &mut Context, id: DownloadId, sources: Vec<(Contact, Option<u64>)>) {
        if let Some(order) = self.line.iter_mut().find(|order| order.id == id) {
            sources.into_iter().for_each(|(at, size)| order.pool.offer(cx, at, size));
        } else {
            self.with(cx, id, |transfer, cx| transfer.add_sources(cx, sources));
        }
    }

    pub(super) fn on_search_done(&mut self, cx: &mut Context, id: DownloadId) {
        if let Some(order) = self.line.iter_mut().find(|order| order.id == id) {
            order.searching = false;
        }
        self.with(cx, id, |transfer, _| transfer.searching = false);
    }

    /// The next search for more sources that a download needs. A download runs one search at a
    /// time.
    pub(super) fn poll_search(&mut self, cx: &mut Context, session_up: bool) -> Option<Ask> {
        let now = cx.now;
        let ids = self.running.iter().filter(|(_, transfer)| transfer.may_need_search(now));
        let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            let mut asks = None;
            self.with(cx, id, |transfer, cx| asks = transfer.should_search(cx, session_up));
            if asks.is_some() {
                return asks;
            }
        }
        None
    }

    /// The node of a source, as hits or its WELCOME say.
    pub(super) fn node_of(&self, id: DownloadId, source: SourceIndex) -> Option<NodeId> {
        self.running.get(&id)?.sources.get(source)?.node
    }

    /// Whether a source has sent WELCOME on its present connection.
    pub(super) fn is_welcomed(&self, id: DownloadId, source: SourceIndex) -> bool {
        let source = self.running.get(&id).and_then(|transfer| transfer.sources.get(source));
        source.is_some_and(|source| matches!(source.state, SourceState::Active | SourceState::Stalled))
    }

    // ---- inputs ---------------------------------------------------------------------------------

    pub(super) fn on_dialed(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, conn: ConnId) {
        cx.own(conn, Owner::Source(id, source));
        self.with(cx, id, |transfer, cx| transfer.on_dialed(cx, source, conn));
    }

    pub(super) fn on_dial_failed(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(cx, id, |transfer, cx| transfer.on_dial_failed(cx, source, why));
    }

    pub(super) fn on_message(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, message: Message) {
        self.with(cx, id, |transfer, cx| transfer.on_message(cx, source, message));
    }

    pub(super) fn on_fault(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(cx, id, |transfer, cx| transfer.drop_liar(cx, source, why));
    }

    /// The connection is closed because the source is not a peer that may be used. The source is
    /// not dialed again.
    pub(super) fn on_unwanted(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(cx, id, |transfer, cx| {
            transfer.sources[source].conn = None;
            transfer.drop_source(cx, source, why);
        });
    }

    pub(super) fn on_closed(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(cx, id, |transfer, cx| transfer.on_closed(cx, source, why));
    }

    pub(super) fn on_progress(&mut self, cx: &mut Context, id: DownloadId, source: SourceIndex, req: u32, got: u32) {
        self.with(cx, id, |transfer, cx| transfer.on_progress(cx, source, req, got));
    }

    pub(super) fn on_payload(
        &mut self,
        cx: &mut Context,
        (id, source): (DownloadId, SourceIndex),
        req: u32,
        payload: PayloadId,
        digests: Digests,
    ) {
        if self.running.contains_key(&id) {
            self.with(cx, id, |transfer, cx| transfer.on_payload(cx, source, req, payload, digests));
        } else {
            cx.drop_payload(payload);
        }
    }

    pub(super) fn on_part_opened(&mut self, cx: &mut Context, id: DownloadId, result: Result<PartState, DiskFailure>) {
        self.with(cx, id, |transfer, cx| transfer.on_part_opened(cx, result));
    }

    pub(super) fn on_written(&mut self, cx: &mut Context, id: DownloadId, piece: u32, result: Result<(), DiskFailure>) {
        self.with(cx, id, |transfer, cx| transfer.on_written(cx, piece, result));
    }

    pub(super) fn on_published(
        &mut self,
        cx: &mut Context,
        id: DownloadId,
        result: Result<std::path::PathBuf, DiskFailure>,
    ) {
        self.with(cx, id, |transfer, cx| transfer.on_published(cx, result));
    }

    pub(super) fn on_joined(&mut self, cx: &mut Context, id: DownloadId) {
        self.with(cx, id, |transfer, cx| transfer.on_joined(cx));
    }

    pub(super) fn on_join_refused(&mut self, cx: &mut Context, id: DownloadId) {
        self.with(cx, id, |transfer, cx| transfer.on_join_refused(cx));
    }

    pub(super) fn on_members(&mut self, cx: &mut Context, id: DownloadId, peers: &Peers, named: Vec<Contact>) {
        self.with(cx, id, |transfer, cx| transfer.on_members(cx, peers, named));
    }

    pub(super) fn on_swarm_tick(&mut self, cx: &mut Context, id: DownloadId) {
        self.with(cx, id, |transfer, cx| transfer.on_swarm_tick(cx));
    }

    pub(super) fn on_tick(&mut self, cx: &mut Context, id: DownloadId) {
        self.with(cx, id, |transfer, cx| transfer.on_tick(cx));
    }

    // ---- the end --------------------------------------------------------------------------------

    /// A client is gone: its downloads end, and their part files stay.
    pub(super) fn on_client_gone(&mut self, cx: &mut Context, client: ClientId) {
        self.line.retain(|order| order.client != client);
        let of_client = |transfer: &&Transfer| transfer.order.client == client;
        let ids: Vec<_> = self.running.values().filter(of_client).map(|transfer| transfer.order.id).collect();
        for id in ids {
            self.with(cx, id, |transfer, cx| transfer.fail(cx, Exit::Internal, "the client is gone"));
        }
    }

    /// The peer shuts down: all downloads end, and their part files stay.
    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        let why = "the peer ends; repeat the command to resume the download";
        for order in std::mem::take(&mut self.line) {
            self.finish(cx, &order, Outcome::failed(&Failure::new(Exit::Internal, why)));
        }
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.with(cx, id, |transfer, cx| transfer.fail(cx, Exit::Internal, why));
        }
    }
}
