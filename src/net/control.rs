//! The control socket: a Unix listener and its clients, lines in and lines out. What a line means is not known here.
//!
//! Every line that goes up must be answered by exactly one line marked as its last; a client that sends no more is kept until
//! all of its lines are answered and written.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};

use super::listener::is_exhaustion;
use crate::config::{CONTROL_LINE_BYTES_MAX, CONTROL_QUEUE_BYTES_MAX};
use crate::error::{Exit, Failure};

/// The listening socket; its file is removed with it.
#[derive(Debug)]
pub(super) struct ControlListener {
    pub(super) socket: UnixListener,
    /// Latched: clients may be waiting.
    pub(super) ready: bool,
    path: PathBuf,
}

impl ControlListener {
    /// Binds to the path. A socket file that nobody answers at is left over from a dead process and replaced.
    ///
    /// # Errors
    /// Exit 5 if somebody serves it, 9 if no socket can be made there, with a sentence that names the path.
    pub(super) fn bind(path: &Path) -> Result<ControlListener, Failure> {
        let socket = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_if_dead(path)?;
                UnixListener::bind(path)
            }
            result => result,
        };
        let socket = socket.map_err(|error| {
            let message = format!(
                "cannot make the control socket {}: {error}; choose another path with --control",
                path.display()
            );
            Failure::new(Exit::Disk, message)
        })?;
        Ok(ControlListener { socket, ready: true, path: path.to_owned() })
    }

    /// The next client, if one waits.
    pub(super) fn accept(&mut self) -> Option<UnixStream> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready = false;
                    return None;
                }
                // Left waiting: it is tried again when something else wakes the loop.
                Err(error) if is_exhaustion(&error) => return None,
                Err(error) => log::debug!("accepting on the control socket: {error}"),
            }
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::debug!("cannot remove the control socket {}: {error}", self.path.display());
        }
    }
}

fn remove_if_dead(path: &Path) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(Exit::Unreachable, why));
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return refuse(format!(
            "{} is there already and is no socket; remove it or choose another name",
            path.display()
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                refuse(format!("cannot remove the left-over control socket {}: {error}", path.display()))
            }
            _ => Ok(()),
        },
        Ok(_) => refuse(format!(
            "another process serves the control socket {}; stop it or choose another --name",
            path.display()
        )),
        Err(error) => refuse(format!("cannot tell who serves the control socket {}: {error}", path.display())),
    }
}

/// One client: the line it has begun, the lines it has not read yet.
#[derive(Debug)]
pub(super) struct ControlClient {
    pub(super) stream: UnixStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) queued: bool,
    pub(super) dirty: bool,
    /// Both ways are closed, or the socket failed.
    pub(super) dead: bool,
    /// Lines whose last answer has not been queued yet.
    pub(super) running: usize,
    held: Vec<u8>,
    /// Bytes of `held` that hold no line end.
    searched: usize,
    eof: bool,
    out: Vec<u8>,
    written: usize,
}

/// What reading from a client found.
#[derive(Debug)]
pub(super) enum Line {
    /// A line without its end.
    Whole(String),
    /// A line too long or not UTF-8; reading goes on behind it only in the second case.
    Bad(&'static str),
    /// Nothing more for now.
    Rest,
    /// The socket failed.
    Gone,
}

impl ControlClient {
    pub(super) fn new(stream: UnixStream) -> ControlClient {
        ControlClient {
            stream,
            readable: true,
            writable: true,
            queued: false,
            dirty: false,
            dead: false,
            running: 0,
            held: Vec::new(),
            searched: 0,
            eof: false,
            out: Vec::new(),
            written: 0,
        }
    }

    /// The next line.
    pub(super) fn read_line(&mut self) -> Line {
        loop {
            if let Some(at) = self.held[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=self.searched + at).collect();
                self.searched = 0;
                return match String::from_utf8(line) {
                    Ok(line) => Line::Whole(line.trim_end().to_owned()),
                    Err(_) => Line::Bad("the line is no UTF-8"),
                };
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

    /// A last line without its end counts as a line.
    fn rest(&mut self) -> Line {
        if self.held.is_empty() {
            self.held = Vec::new();
            return Line::Rest;
        }
        if !self.eof {
            return Line::Rest;
        }
        self.searched = 0;
        match String::from_utf8(std::mem::take(&mut self.held)) {
            Ok(line) => Line::Whole(line.trim_end().to_owned()),
            Err(_) => Line::Bad("the line is no UTF-8"),
        }
    }

    /// Queues a line (its end is added). `false`: the client lets its queue fill up.
    pub(super) fn queue(&mut self, line: &str) -> bool {
        if self.out.len() - self.written + line.len() > CONTROL_QUEUE_BYTES_MAX {
            return false;
        }
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        true
    }

    /// Writes what the socket takes. `false`: it is over, by an error or because all is said.
    pub(super) fn flush(&mut self) -> bool {
        while self.writable && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return false,
                Ok(count) => self.written += count,
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

    /// Everything is answered and written.
    pub(super) fn is_quiet(&self) -> bool {
        self.running == 0 && self.out.is_empty()
    }
}
