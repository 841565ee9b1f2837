//! One client of the control socket. It reads and writes lines.

use std::io::{ErrorKind, Read, Write};

use mio::net::UnixStream;

use crate::config::{CONTROL_LINE_BYTES_MAX, CONTROL_QUEUE_BYTES_MAX, WRITE_STALL_MAX};
use crate::time::Time;

/// One client, with the incomplete line that it has sent, and the answers that it has not read yet.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) queued: bool,
    pub(super) dirty: bool,
    /// Whether both directions are closed or the socket has failed.
    pub(super) dead: bool,
    /// Lines whose last answer has not been queued yet.
    pub(super) running: usize,
    /// When the client last sent a complete line or read a part of an answer.
    active: Time,
    held: Vec<u8>,
    /// Bytes at the front of `held` that are known to contain no line end.
    searched: usize,
    eof: bool,
    out: Vec<u8>,
    written: usize,
}

/// What reading from a client found.
#[derive(Debug)]
pub(super) enum Line {
    /// A line, without its line end.
    Complete(String),
    /// A line that is too long or not UTF-8. More lines are read only if it is not UTF-8.
    Bad(&'static str),
    /// The client has sent nothing more so far.
    Rest,
    /// The socket failed.
    Gone,
}

impl Client {
    pub(super) fn new(stream: UnixStream, now: Time) -> Client {
        Client {
            stream,
            readable: true,
            writable: true,
            queued: false,
            dirty: false,
            dead: false,
            running: 0,
            active: now,
            held: Vec::new(),
            searched: 0,
            eof: false,
            out: Vec::new(),
            written: 0,
        }
    }

    /// The next line of the client.
    pub(super) fn read_line(&mut self) -> Line {
        loop {
            if let Some(at) = self.held[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=self.searched + at).collect();
                self.searched = 0;
                return line_of(line);
            }
            self.searched = self.held.len();
            if self.held.len() > CONTROL_LINE_BYTES_MAX {
                self.held = Vec::new();
                self.searched = 0;
                (self.eof, self.readable) = (true, false);
                return Line::Bad("the line is longer than 64 KiB");
            }
            if !self.readable || self.eof {
                return self.rest();
            }
            let mut step = [0; 4096];
            match self.stream.read(&mut step) {
                Ok(0) => self.eof = true,
                Ok(count) => self.held.extend_from_slice(&step[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Line::Gone,
            }
        }
    }

    /// The last line counts even if it has no line end.
    fn rest(&mut self) -> Line {
        if self.held.is_empty() {
            self.held = Vec::new();
            return Line::Rest;
        }
        if !self.eof {
            return Line::Rest;
        }
        self.searched = 0;
        line_of(std::mem::take(&mut self.held))
    }

    /// The client has sent a complete line. An incomplete line does not count as activity.
    pub(super) fn on_line(&mut self, now: Time) {
        self.running += 1;
        self.active = now;
    }

    /// Since when the client has been idle. It is idle if it waits for no answer, or if it does not
    /// read the queued answers.
    pub(super) fn idle_since(&self, now: Time) -> Option<Time> {
        let waits = self.running > 0 || !self.out.is_empty();
        let unread = !self.out.is_empty() && now.since(self.active) >= WRITE_STALL_MAX;
        (!self.dead && self.active < now && (!waits || unread)).then_some(self.active)
    }

    /// Queues a line, which comes without a line end. Returns `false` if the queue is full.
    pub(super) fn queue(&mut self, line: &str, now: Time) -> bool {
        if self.out.is_empty() {
            self.active = now;
        }
        if self.out.len() - self.written + line.len() > CONTROL_QUEUE_BYTES_MAX {
            return false;
        }
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        true
    }

    /// Writes what the socket accepts. Returns `false` if the client must be closed: the socket has
    /// failed, or the client sends no more and has got all its answers.
    pub(super) fn flush(&mut self, now: Time) -> bool {
        while self.writable && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.written += count;
                    self.active = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if self.written == self.out.len() {
            (self.out, self.written) = (Vec::new(), 0);
        } else if self.written > CONTROL_QUEUE_BYTES_MAX / 4 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        !(self.eof && self.running == 0 && self.out.is_empty() && self.held.is_empty())
    }

    /// Whether all lines are answered and the answers are written.
    pub(super) fn is_quiet(&self) -> bool {
        self.running == 0 && self.out.is_empty()
    }
}

fn line_of(bytes: Vec<u8>) -> Line {
    match String::from_utf8(bytes) {
        Ok(line) => Line::Complete(line.trim_end().to_owned()),
        Err(_) => Line::Bad("the line is not UTF-8"),
    }
}
