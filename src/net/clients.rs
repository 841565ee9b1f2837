//! The clients of the control socket, in the loop: accepting them, handing their lines up, writing the answers.

use mio::event::Event;

use super::control::{ControlClient, Line};
use super::deadlines::Due;
use super::reactor::Net;
use super::token::{self, Slot};
use super::{Arrival, ControlId};
use crate::config::{ACCEPT_RETRY, CONTROL_CLIENTS_MAX};

impl Net {
    /// Queues a line for a client; the last one of those that answer a line of his is marked.
    pub fn reply(&mut self, id: ControlId, line: &str, last: bool) {
        let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
            self.counters.stale_ids += 1;
            return;
        };
        if last {
            client.running = client.running.saturating_sub(1);
        }
        let queued = client.queue(line) || client.flush() && client.queue(line);
        if !queued {
            self.counters.control_refused += 1;
            self.client_gone(id);
            return;
        }
        self.mark_client_dirty(id);
    }

    /// Lines of this client that are not answered yet.
    #[must_use]
    pub fn running(&self, id: ControlId) -> usize {
        self.clients.get(id.0).map_or(0, |client| client.running)
    }

    /// Whether every client has all of his answers.
    #[must_use]
    pub fn clients_are_quiet(&self) -> bool {
        self.clients.ids().into_iter().filter_map(|id| self.clients.get(id)).all(ControlClient::is_quiet)
    }

    pub(super) fn latch_client(&mut self, slot: Slot, event: &Event) {
        let Some(id) = self.clients.id_at(slot.index, slot.generation_bits, token::GENERATION_MASK) else {
            self.counters.stale_ids += 1;
            return;
        };
        let client = self.clients.get_mut(id).expect("the id was just made from the slot");
        client.readable |= event.is_readable() || event.is_read_closed();
        client.writable |= event.is_writable();
        if event.is_write_closed() || event.is_error() {
            self.client_gone(ControlId(id));
            return;
        }
        self.queue_client(ControlId(id));
        self.mark_client_dirty(ControlId(id));
    }

    /// The next line of any client.
    pub(super) fn next_line(&mut self) -> Option<Arrival> {
        self.accept_clients();
        while self.lines_left > 0
            && let Some(id) = self.client_run.front().copied()
        {
            let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
                self.client_run.pop_front();
                continue;
            };
            let line = match client.read_line() {
                Line::Whole(line) if line.is_empty() => continue,
                Line::Whole(line) => Ok(line),
                Line::Bad(why) => Err(why),
                Line::Rest => {
                    client.queued = false;
                    self.client_run.pop_front();
                    self.mark_client_dirty(id);
                    continue;
                }
                Line::Gone => {
                    self.client_run.pop_front();
                    self.client_gone(id);
                    continue;
                }
            };
            client.running += 1;
            self.lines_left -= 1;
            self.client_run.rotate_left(1);
            return Some(Arrival::ControlLine { client: id, line });
        }
        None
    }

    fn accept_clients(&mut self) {
        loop {
            let Some(control) = self.control.as_mut().filter(|control| control.ready) else {
                return;
            };
            let Some(stream) = control.accept() else {
                if control.ready {
                    control.ready = false;
                    self.deadlines.push(self.now + ACCEPT_RETRY, Due::Accept);
                }
                return;
            };
            if self.clients.len() >= CONTROL_CLIENTS_MAX {
                self.counters.control_refused += 1;
                continue;
            }
            self.enter_client(ControlClient::new(stream));
        }
    }

    fn enter_client(&mut self, client: ControlClient) {
        let id = self.clients.insert(client);
        if let Err(error) = self.register_client(id) {
            log::warn!("a client of the control socket cannot be watched and is dropped: {error}");
            self.clients.remove(id);
            return;
        }
        self.counters.control_clients += 1;
        self.queue_client(ControlId(id));
    }

    fn queue_client(&mut self, id: ControlId) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.queued
            && !client.dead
        {
            client.queued = true;
            self.client_run.push_back(id);
        }
    }

    fn mark_client_dirty(&mut self, id: ControlId) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.dirty
            && !client.dead
        {
            client.dirty = true;
            self.client_dirty.push(id);
        }
    }

    pub(super) fn flush_clients(&mut self) {
        for id in std::mem::take(&mut self.client_dirty) {
            let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
                continue;
            };
            client.dirty = false;
            if !client.flush() {
                self.client_gone(id);
            }
        }
    }

    fn client_gone(&mut self, id: ControlId) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.dead
        {
            client.dead = true;
            self.client_graves.push(id);
            self.arrivals.push_back(Arrival::ControlGone { client: id });
        }
    }
}
