//! All downloads of a weak peer: the few that run, the line of those that wait, and which connection belongs to which. Owns
//! no piece and no socket; a [`Transfer`] does the work of one.

mod fetch;
pub mod manifest;
pub mod picker;
mod proof;
mod source;
mod transfer;
mod verdict;

use std::collections::{BTreeMap, VecDeque};

use super::context::{Desk, Owner};
use crate::config::{DOWNLOADS_MAX, DOWNLOADS_WAITING_MAX, SOURCES_KNOWN_MAX};
use crate::error::{Exit, Failure};
use crate::proto::disk::{Destination, DiskFailure, PartState};
use crate::proto::event::Outcome;
use crate::proto::{ClientId, ConnId, DialId, Digests, DownloadId, Output, PayloadId, Verify};
use crate::time::Time;
use crate::wire::{HostPort, Message, Root};
use transfer::Transfer;

/// A source of one download, by its place in that download's list.
pub(super) type SourceIndex = usize;

/// A download to be made: its content is chosen.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: DownloadId,
    pub(super) client: ClientId,
    /// When the client asked.
    pub(super) asked_at: Time,
    pub(super) root: Root,
    pub(super) size: u64,
    /// As a source calls it.
    pub(super) name: String,
    pub(super) verify: Verify,
    pub(super) destination: Destination,
    pub(super) sources: Vec<HostPort>,
    /// Sources that tell another size for the same root: only one size can be true, and nobody knows which before the proof.
    pub(super) others: Vec<(HostPort, u64)>,
    /// Sizes that were tried before this one.
    pub(super) tried: Vec<u64>,
    /// Whether no other source may be used.
    pub(super) only: bool,
    /// Whether there may be sources that the search could not find: it was by name, and they have another.
    pub(super) widen: bool,
    /// Whether the search still runs and may bring more sources.
    pub(super) searching: bool,
}

impl Order {
    /// Keeps the sources that tell another size for later; answers those that tell ours.
    fn keep_others(&mut self, sources: Vec<(HostPort, u64)>) -> Vec<HostPort> {
        let (ours, others): (Vec<_>, Vec<_>) = sources.into_iter().partition(|(_, size)| *size == self.size);
        for other in others {
            let new = !self.tried.contains(&other.1) && !self.others.contains(&other);
            if new && self.others.len() < SOURCES_KNOWN_MAX {
                self.others.push(other);
            }
        }
        ours.into_iter().map(|(addr, _)| addr).collect()
    }
}

/// See the module's words.
#[derive(Default)]
pub(super) struct Downloads {
    running: BTreeMap<DownloadId, Transfer>,
    line: VecDeque<Order>,
    pub(super) bytes_received: u64,
    pub(super) finished: u64,
}

impl Downloads {
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Starts the download, or puts it in line.
    pub(super) fn start(&mut self, desk: &mut Desk, order: Order) {
        let same = |other: &Order| other.root == order.root && other.destination == order.destination;
        if self.running.values().map(|transfer| &transfer.order).chain(&self.line).any(same) {
            let failure = Failure::new(
                Exit::Disk,
                format!("{:?} is being downloaded to the same place already; wait for that", order.name),
            );
            desk.done(order.client, Outcome::failed(&failure));
        } else if self.line.len() < DOWNLOADS_WAITING_MAX {
            self.line.push_back(order);
            self.advance(desk);
        } else {
            let failure = Failure::new(
                Exit::Internal,
                format!("{DOWNLOADS_WAITING_MAX} downloads are waiting in line; try again when some are over"),
            );
            desk.done(order.client, Outcome::failed(&failure));
        }
    }

    /// Runs what is first in line, as long as there is room.
    fn advance(&mut self, desk: &mut Desk) {
        while self.running.len() < DOWNLOADS_MAX
            && let Some(order) = self.line.pop_front()
        {
            let id = order.id;
            let mut transfer = Transfer::new(desk.now, order);
            transfer.begin(desk);
            self.running.insert(id, transfer);
            self.sweep(desk, id);
        }
    }

    /// Does something with a running download, and tells its end if that was it.
    fn with(&mut self, desk: &mut Desk, id: DownloadId, act: impl FnOnce(&mut Transfer, &mut Desk)) {
        if let Some(transfer) = self.running.get_mut(&id) {
            act(transfer, desk);
            self.sweep(desk, id);
            self.advance(desk);
        }
    }

    /// Takes the download out if it is over, and tells how it ended.
    fn sweep(&mut self, desk: &mut Desk, id: DownloadId) {
        let Some(outcome) = self.running.get_mut(&id).and_then(Transfer::take_outcome) else { return };
        if let Some(mut transfer) = self.running.remove(&id) {
            self.bytes_received += transfer.bytes_received();
            if let Some(order) = transfer.with_other_size(desk, &outcome) {
                return self.line.push_front(order);
            }
            self.finished += u64::from(outcome.ok);
            desk.done(transfer.order.client, outcome);
        }
    }

    // ---- sources -------------------------------------------------------------------------------------------------

    pub(super) fn add_sources(&mut self, desk: &mut Desk, id: DownloadId, sources: Vec<(HostPort, u64)>) {
        if let Some(order) = self.line.iter_mut().find(|order| order.id == id) {
            let sources = order.keep_others(sources);
            order.sources.extend(sources);
        } else {
            self.with(desk, id, |transfer, desk| {
                let sources = transfer.order.keep_others(sources);
                transfer.add_sources(desk, sources);
            });
        }
    }

    pub(super) fn on_sources_done(&mut self, desk: &mut Desk, id: DownloadId) {
        if let Some(order) = self.line.iter_mut().find(|order| order.id == id) {
            order.searching = false;
        }
        self.with(desk, id, |transfer, _| transfer.on_sources_done());
    }

    /// A download that wants to be told of sources of this content; each is named once until it is answered.
    pub(super) fn poll_requery(&mut self, desk: &mut Desk, session_up: bool) -> Option<(DownloadId, Root)> {
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            let mut asks = None;
            self.with(desk, id, |transfer, desk| {
                asks = transfer.wants_sources(desk, session_up).then_some((id, transfer.order.root));
            });
            if asks.is_some() {
                return asks;
            }
        }
        None
    }

    // ---- inputs --------------------------------------------------------------------------------------------------

    pub(super) fn on_dialed(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, conn: ConnId) {
        desk.own(conn, Owner::Source(id, source));
        self.with(desk, id, |transfer, desk| transfer.on_dialed(desk, source, conn));
    }

    pub(super) fn on_dial_failed(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(desk, id, |transfer, desk| transfer.on_dial_failed(desk, source, why));
    }

    pub(super) fn on_message(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, message: Message) {
        self.with(desk, id, |transfer, desk| transfer.on_message(desk, source, message));
    }

    pub(super) fn on_fault(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(desk, id, |transfer, desk| transfer.drop_source(desk, source, true, why));
    }

    pub(super) fn on_closed(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, why: &str) {
        self.with(desk, id, |transfer, desk| transfer.on_closed(desk, source, why));
    }

    pub(super) fn on_progress(&mut self, desk: &mut Desk, id: DownloadId, source: SourceIndex, req: u32, got: u32) {
        self.with(desk, id, |transfer, desk| transfer.on_progress(desk, source, req, got));
    }

    pub(super) fn on_payload(
        &mut self,
        desk: &mut Desk,
        (id, source): (DownloadId, SourceIndex),
        req: u32,
        payload: PayloadId,
        digests: &Digests,
    ) {
        if self.running.contains_key(&id) {
            self.with(desk, id, |transfer, desk| transfer.on_payload(desk, source, req, payload, digests));
        } else {
            desk.push(Output::DropPayload { payload });
        }
    }

    pub(super) fn on_part_opened(&mut self, desk: &mut Desk, id: DownloadId, result: Result<PartState, DiskFailure>) {
        self.with(desk, id, |transfer, desk| transfer.on_part_opened(desk, result));
    }

    pub(super) fn on_written(&mut self, desk: &mut Desk, id: DownloadId, piece: u32, result: Result<(), DiskFailure>) {
        self.with(desk, id, |transfer, desk| transfer.on_written(desk, piece, result));
    }

    pub(super) fn on_published(
        &mut self,
        desk: &mut Desk,
        id: DownloadId,
        result: Result<std::path::PathBuf, DiskFailure>,
    ) {
        self.with(desk, id, |transfer, desk| transfer.on_published(desk, result));
    }

    pub(super) fn on_tick(&mut self, desk: &mut Desk, id: DownloadId) {
        self.with(desk, id, |transfer, desk| transfer.on_tick(desk));
    }

    // ---- the end -------------------------------------------------------------------------------------------------

    /// A client has gone: its downloads end, their parts stay.
    pub(super) fn on_client_gone(&mut self, desk: &mut Desk, client: ClientId) {
        self.line.retain(|order| order.client != client);
        let of_client = |transfer: &&Transfer| transfer.order.client == client;
        let ids: Vec<_> = self.running.values().filter(of_client).map(|transfer| transfer.order.id).collect();
        for id in ids {
            self.with(desk, id, |transfer, desk| transfer.fail(desk, Exit::Internal, "the client has gone"));
        }
    }

    /// The peer ends: so do all downloads; their parts stay.
    pub(super) fn shut_down(&mut self, desk: &mut Desk) {
        let why = "the peer ends; ask again and the download goes on where it was";
        for order in std::mem::take(&mut self.line) {
            desk.done(order.client, Outcome::failed(&Failure::new(Exit::Internal, why)));
        }
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.with(desk, id, |transfer, desk| transfer.fail(desk, Exit::Internal, why));
        }
    }
}

/// A dial or connection that is given up, as far as it got.
fn give_up(desk: &mut Desk, dial: Option<DialId>, conn: Option<ConnId>, polite: bool) {
    if let Some(dial) = dial {
        desk.forget_dial(dial);
    }
    match conn {
        Some(conn) if polite => desk.bye(conn, "done"),
        Some(conn) => desk.close(conn),
        None => {}
    }
}
