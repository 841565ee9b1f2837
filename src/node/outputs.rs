//! Performs the outputs of the machine: the net performs some of them unchanged; each other one has
//! its `on_<output>` here.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::driver::Driver;
use super::host::Flow;
use super::http::Http;
use super::requests::{Asked, Requests};
use crate::control;
use crate::disk::Job;
use crate::memory;
use crate::proto::disk::CollectionStep;
use crate::proto::{ClientEvent, ClientId, ConnId, DiskWork, Event, Input, Limit, Output, PayloadId};
use crate::trust::Accounts;
use crate::wire::Message;

impl Driver<'_> {
    /// Performs outputs until there is none.
    pub(super) fn drain(&mut self) {
        loop {
            // It is matched where it was returned, and not moved first: most outputs are messages,
            // which are large.
            match self.role.poll_output() {
                None => break,
                Some(Output::Send { conn, ref mut message }) => self.on_send(conn, message),
                Some(Output::Dial { dial, to, key }) => self.net.dial(dial, to, key),
                Some(Output::SendTo { from, to, key, boot, message }) => {
                    self.net.send_to((from, to), key, boot, &message);
                }
                Some(Output::Resolve { id, name }) => self.net.resolve(id, name),
                Some(Output::SendPayload { conn, req, offset, length }) => {
                    self.on_send_payload(conn, req, offset, length);
                }
                Some(Output::ReceivePayload { conn, req, length, plan, verify }) => {
                    self.net.receive(conn, req, length, plan, verify);
                }
                Some(Output::DropPayload { payload }) => self.on_drop_payload(payload),
                Some(Output::DropChunk { conn, req }) => drop(self.chunks.prepared.remove(&(conn, req))),
                Some(Output::FrameCap { conn, bytes }) => self.net.set_frame_cap(conn, bytes),
                Some(Output::Hold { conn, hold }) => self.net.hold(conn, hold),
                Some(Output::Close { conn }) => self.net.close(conn),
                Some(Output::Abort { conn }) => self.net.abort(conn),
                Some(Output::Limit(Limit::All(limits))) => self.net.set_limits(limits),
                Some(Output::Limit(Limit::Account { conn, account, upload })) => {
                    self.net.limit_account(conn, account, upload);
                }
                Some(Output::Disk(work)) => self.on_disk(work),
                Some(Output::SaveAccounts { accounts }) => self.on_save_accounts(&accounts),
                Some(Output::Event(event)) => self.on_event(*event),
            }
        }
        if let Some(disk) = &mut self.disk {
            disk.hand_over_many();
        }
    }

    /// Passes the jobs that have been submitted to the disk on to its worker.
    pub(super) fn hand_over(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.hand_over();
        }
    }

    fn on_send(&mut self, conn: ConnId, message: &mut Message) {
        if let Message::Info(info) = message {
            self.add_counts(&mut info.counts);
        }
        self.net.send(conn, message);
    }

    /// Adds what only the loop can count to the counts of the machine.
    fn add_counts(&self, counts: &mut BTreeMap<String, u64>) {
        counts.insert("uptime_s".to_owned(), self.now.as_micros() / 1_000_000);
        counts.extend(
            self.turns
                .named()
                .chain(self.net.counters().named())
                .chain(self.net.envelope_counts().filter(|(_, n)| *n > 0)),
        );
        counts.extend(self.memory.named(memory::held()).chain(self.net.memory()));
        counts.extend(self.disk_counts.iter().map(|(name, n)| ((*name).to_owned(), *n)));
    }

    fn on_send_payload(&mut self, conn: ConnId, req: u32, offset: u64, length: u32) {
        match self.chunks.prepared.remove(&(conn, req)) {
            Some((_, Some(lent))) => self.net.send_bytes(conn, req, Box::new(lent)),
            Some((file, None)) => self.net.send_file(conn, req, file, offset, length),
            // Its CHUNK is queued already, so closing is the only way to signal the failure.
            None => self.net.abort(conn),
        }
    }

    fn on_drop_payload(&mut self, payload: PayloadId) {
        if let Some(bytes) = self.chunks.payloads.remove(&payload) {
            self.net.release(Some(bytes));
        }
    }

    fn on_disk(&mut self, work: DiskWork) {
        let bytes = match &work {
            DiskWork::WritePiece { payload, .. }
            | DiskWork::Collection { step: CollectionStep::Place { payload, .. }, .. } => {
                let bytes = self.chunks.payloads.remove(payload);
                debug_assert!(bytes.is_some(), "a payload is written or dropped once");
                bytes
            }
            DiskWork::ForgetConn { conn } => {
                self.chunks.forget(*conn);
                None
            }
            DiskWork::PrepareChunk { .. }
            | DiskWork::ReadManifest { .. }
            | DiskWork::Describe { .. }
            | DiskWork::CheckRoom { .. }
            | DiskWork::Collection { .. }
            | DiskWork::OpenPart { .. }
            | DiskWork::PreparePart { .. }
            | DiskWork::Publish { .. }
            | DiskWork::Release { .. }
            | DiskWork::Abandon { .. }
            | DiskWork::LookForParts { .. }
            | DiskWork::SaveQueue { .. } => None,
        };
        match &mut self.disk {
            Some(disk) => disk.submit(Job::Work { work, bytes }),
            None => log::error!("a node without a disk was asked for disk work: {work:?}"),
        }
    }

    /// The host writes them while the loop waits: they change only when an operator or a new user
    /// does something, and the answer must not be sent before.
    fn on_save_accounts(&mut self, accounts: &Accounts) {
        let result = self.host.save_accounts(accounts);
        self.role.handle_input(self.now, Input::AccountsSaved { result });
    }

    fn on_event(&mut self, mut event: Event) {
        if let Event::Client { client, event } = &mut event {
            if let Some(status) = event.own_status() {
                self.host.name().clone_into(&mut status.name);
            }
            if let Some(counts) = event.own_counts() {
                self.add_counts(counts);
            }
            if Http::owns(*client) {
                return self.on_http_event(*client, event);
            }
            if Requests::is_control(*client) {
                return self.on_control_event(*client, event);
            }
        }
        let fatal = match &event {
            Event::Fatal(failure) => Some(failure.clone()),
            Event::Client { .. }
            | Event::Welcomed { .. }
            | Event::SessionLost { .. }
            | Event::Link { .. }
            | Event::Sharing { .. }
            | Event::Lingers(_)
            | Event::Enrolled { .. }
            | Event::SuperKey { .. }
            | Event::Peer(_)
            | Event::MorePeers { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Share { .. }
            | Event::Download(_)
            | Event::Source { .. }
            | Event::Log { .. } => None,
        };
        self.http.note(&event);
        if self.events.note(&event) {
            self.send_to_followers();
        }
        let flow = self.host.on_event(event);
        match (fatal, flow) {
            (Some(failure), _) => self.end = Some(Err(failure)),
            (None, Flow::Stop(exit)) => self.stop = self.stop.or(Some(exit)),
            (None, Flow::Continue) => {}
        }
    }

    fn on_control_event(&mut self, client: ClientId, event: &ClientEvent) {
        let Some(Asked { control, req }) = self.control_requests.asked(client) else { return };
        let last = matches!(event, ClientEvent::Done(_));
        if last {
            self.control_requests.leave(client);
        }
        self.net.reply(control, &control::answer_line(req, event, SystemTime::now()), last);
    }
}
