//! The control socket: a Unix listener and its clients. It reads and writes lines, and does not
//! know what they mean.
//!
//! Every reported line must be answered by lines; exactly one of them is marked as the last. A
//! client that sends no more is kept until all of its lines are answered and the answers are
//! written.

mod client;

use std::collections::VecDeque;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use self::client::{Client, Line};
use super::arrival::{Arrival, ControlId};
use super::context::Context;
use super::deadlines::Due;
use super::socket::{is_exhaustion, is_of_own_user};
use super::table::Table;
use super::token::{self, Slot};
use crate::config::{ACCEPT_RETRY, CONTROL_ACCEPTS_PER_TURN, CONTROL_LINES_PER_TURN, LISTEN_BACKLOG};
use crate::error::{Exit, Failure};

/// The mode of the socket's file: its user reads and writes.
const PRIVATE: u32 = 0o600;

/// The listener, if there is one, and the clients.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: Option<Listener>,
    clients: Table<Client>,
    /// Clients with something to read; each at most once.
    run: VecDeque<ControlId>,
    /// Clients with something to write; each at most once.
    dirty: Vec<ControlId>,
    /// Clients whose slots are freed at the end of the turn.
    graves: Vec<ControlId>,
    /// Lines that may be reported in this turn.
    lines_left: usize,
    /// Clients that may be accepted in this turn.
    accepts_left: usize,
    /// The most clients that may be connected at once.
    clients_max: usize,
}

impl ControlSocket {
    /// Binds to the path, if there is one.
    ///
    /// # Errors
    /// Exit 5 if another process serves the socket, 9 if no socket can be made there. The sentence
    /// names the path.
    pub(super) fn bind(path: Option<&Path>, clients_max: usize, ctx: &Context) -> Result<ControlSocket, Failure> {
        let mut listener = path.map(Listener::bind).transpose()?;
        if let Some(listener) = &mut listener {
            ctx.watch_reads(&mut listener.socket, token::CONTROL_LISTENER, "the control socket")?;
        }
        Ok(ControlSocket {
            listener,
            clients: Table::new(),
            run: VecDeque::new(),
            dirty: Vec::new(),
            graves: Vec::new(),
            lines_left: 0,
            accepts_left: 0,
            clients_max,
        })
    }

    /// Clients may be waiting.
    pub(super) fn latch(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.ready = true;
        }
    }

    /// An event came for a client.
    pub(super) fn latch_client(&mut self, slot: Slot, event: &Event, ctx: &mut Context) {
        let Some(id) = self.clients.id_at(slot.index, slot.generation_bits, token::GENERATION_MASK) else {
            ctx.counters.stale_ids += 1;
            return;
        };
        let client = self.clients.get_mut(id).expect("the id was just made from the slot");
        client.readable |= event.is_readable() || event.is_read_closed();
        client.writable |= event.is_writable();
        if event.is_write_closed() || event.is_error() {
            self.end(ControlId(id), ctx);
            return;
        }
        self.queue(ControlId(id));
        self.mark_dirty(ControlId(id));
    }

    pub(super) fn begin_turn(&mut self) {
        self.lines_left = CONTROL_LINES_PER_TURN;
        self.accepts_left = CONTROL_ACCEPTS_PER_TURN.min(self.clients_max.div_ceil(2));
    }

    /// Whether work is left over from this turn.
    pub(super) fn is_busy(&self) -> bool {
        self.listener.as_ref().is_some_and(|listener| listener.ready) || !(self.run.is_empty() && self.dirty.is_empty())
    }

    /// Whether every client has got all of its answers.
    pub(super) fn is_quiet(&self) -> bool {
        self.clients.iter().all(Client::is_quiet)
    }

    /// Lines of this client that are not answered yet.
    pub(super) fn running(&self, id: ControlId) -> usize {
        self.clients.get(id.0).map_or(0, |client| client.running)
    }

    /// The next line of any client, within the bounds of the turn.
    pub(super) fn next(&mut self, ctx: &mut Context) -> Option<Arrival> {
        self.accept(ctx);
        while self.lines_left > 0
            && let Some(id) = self.run.front().copied()
        {
            let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
                self.run.pop_front();
                continue;
            };
            let line = match client.read_line() {
                // An empty line has no answer. It counts as a line, so that other clients get their
                // turn.
                Line::Complete(line) if line.is_empty() => {
                    self.lines_left -= 1;
                    self.run.rotate_left(1);
                    continue;
                }
                Line::Complete(line) => Ok(line),
                Line::Bad(why) => Err(why),
                Line::Rest => {
                    client.queued = false;
                    self.run.pop_front();
                    self.mark_dirty(id);
                    continue;
                }
                Line::Gone => {
                    self.run.pop_front();
                    self.end(id, ctx);
                    continue;
                }
            };
            client.on_line(ctx.now);
            self.lines_left -= 1;
            self.run.rotate_left(1);
            return Some(Arrival::ControlLine { client: id, line });
        }
        None
    }

    /// Queues a line for a client. `last` marks the last answer to a line of the client.
    pub(super) fn reply(&mut self, id: ControlId, line: &str, last: bool, ctx: &mut Context) {
        let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
            ctx.counters.stale_ids += 1;
            return;
        };
        if last {
            client.running = client.running.saturating_sub(1);
        }
        let queued = client.queue(line, ctx.now) || client.flush(ctx.now) && client.queue(line, ctx.now);
        if queued {
            self.mark_dirty(id);
        } else {
            ctx.counters.control_refused += 1;
            self.end(id, ctx);
        }
    }

    /// Writes what is queued.
    pub(super) fn flush(&mut self, ctx: &mut Context) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.dead) else {
                continue;
            };
            client.dirty = false;
            if !client.flush(ctx.now) {
                self.end(id, ctx);
            }
        }
    }

    /// Frees the slots of clients that are gone.
    pub(super) fn end_turn(&mut self) {
        for ControlId(id) in self.graves.drain(..) {
            self.clients.remove(id);
        }
    }

    /// From now on no client is accepted, and the file of the socket is removed. Connected clients
    /// still get their answers.
    pub(super) fn stop_listening(&mut self) {
        self.listener = None;
    }

    fn accept(&mut self, ctx: &mut Context) {
        while let Some(listener) = self.listener.as_mut().filter(|listener| listener.ready)
            && self.accepts_left > 0
        {
            self.accepts_left -= 1;
            match listener.socket.accept() {
                Ok((stream, _)) => self.admit(stream, ctx),
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) if is_exhaustion(&error) => {
                    listener.ready = false;
                    ctx.deadlines.push(ctx.now + ACCEPT_RETRY, Due::Control);
                    self.evict(ctx);
                }
                Err(error) => log::debug!("accepting on the control socket: {error}"),
            }
        }
    }

    /// Admits a client that has connected. If all places are used, it replaces the client that has
    /// been idle longest. The mode of the file keeps other users out. The check of the user does so
    /// too, for the case that the file system or the owner has changed the mode.
    fn admit(&mut self, stream: UnixStream, ctx: &mut Context) {
        if !is_of_own_user(&stream) {
            ctx.counters.control_strangers += 1;
        } else if self.clients.len() - self.graves.len() >= self.clients_max && !self.evict(ctx) {
            ctx.counters.control_refused += 1;
        } else if let Err(error) = self.enter(Client::new(stream, ctx.now), ctx) {
            log::warn!("a client of the control socket cannot be watched and is dropped: {error}");
        }
    }

    /// Closes the client that has been idle longest. Returns `false` if every client waits for an
    /// answer or has just connected.
    fn evict(&mut self, ctx: &mut Context) -> bool {
        let idle = self.clients.ids().filter_map(|(id, client)| Some((client.idle_since(ctx.now)?, id)));
        let Some((_, id)) = idle.min() else { return false };
        ctx.counters.control_evicted += 1;
        self.end(ControlId(id), ctx);
        true
    }

    fn enter(&mut self, client: Client, ctx: &mut Context) -> io::Result<()> {
        let id = self.clients.insert(client);
        let client = self.clients.get_mut(id).expect("just inserted");
        if let Err(error) = ctx.watch(&mut client.stream, token::of(id, true)) {
            self.clients.remove(id);
            return Err(error);
        }
        ctx.counters.control_clients += 1;
        self.queue(ControlId(id));
        Ok(())
    }

    fn queue(&mut self, id: ControlId) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.queued
            && !client.dead
        {
            client.queued = true;
            self.run.push_back(id);
        }
    }

    fn mark_dirty(&mut self, id: ControlId) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.dirty
            && !client.dead
        {
            client.dirty = true;
            self.dirty.push(id);
        }
    }

    fn end(&mut self, id: ControlId, ctx: &mut Context) {
        if let Some(client) = self.clients.get_mut(id.0)
            && !client.dead
        {
            client.dead = true;
            self.graves.push(id);
            ctx.arrivals.push_back(Arrival::ControlGone { client: id });
        }
    }
}

/// The listening socket. Its file is removed when it is dropped.
#[derive(Debug)]
struct Listener {
    socket: UnixListener,
    /// Latched: clients may be waiting.
    ready: bool,
    path: PathBuf,
    /// Device and inode of the file.
    inode: (u64, u64),
}

impl Listener {
    /// Binds to the path. A socket file that no process serves is left over from a process that has
    /// died. It is replaced.
    fn bind(path: &Path) -> Result<Listener, Failure> {
        let socket = match listen_privately(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_if_dead(path)?;
                listen_privately(path)
            }
            result => result,
        };
        let made = socket.and_then(|socket| Ok((socket, inode(path)?)));
        let (socket, inode) = made.map_err(|error| {
            let path = path.display();
            let message = format!("cannot make the control socket {path}: {error}; choose another path with --control");
            Failure::new(Exit::Disk, message)
        })?;
        Ok(Listener { socket, ready: true, path: path.to_owned(), inode })
    }
}

/// A socket at the path. At no time can another user connect to it.
///
/// The umask is not used, because all threads of the process share it. On Linux the file gets the
/// mode of the socket, so it is private when it appears. On other systems the mode is set before
/// listen(2), and nobody can connect before that.
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR) {
        log::debug!("a socket has no mode here: {error}");
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let listening = (|| {
        if std::fs::symlink_metadata(path)?.permissions().mode() & 0o777 != PRIVATE {
            std::fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
        }
        socket.listen(LISTEN_BACKLOG)
    })();
    if let Err(error) = listening {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(UnixListener::from_std(socket.into()))
}

/// The device and inode. They distinguish the file from another file that is later made at this
/// path.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another process may have made its own socket at this path.
        if inode(&self.path).is_ok_and(|inode| inode != self.inode) {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::debug!("cannot remove the control socket {}: {error}", self.path.display());
        }
    }
}

fn remove_if_dead(path: &Path) -> Result<(), Failure> {
    let name = path.display();
    let refuse = |why: String| Err(Failure::new(Exit::Unreachable, why));
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return refuse(format!("{name} exists and is not a socket; remove it or choose another name"));
    }
    match connects(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                refuse(format!("cannot remove the left-over control socket {name}: {error}"))
            }
            _ => Ok(()),
        },
        Ok(()) => refuse(format!("another process serves the control socket {name}; stop it or choose another --name")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            refuse(format!("the control socket {name} is of another user; choose another --name or --control"))
        }
        Err(error) => refuse(format!("cannot find out which process serves the control socket {name}: {error}")),
    }
}

/// Whether a process serves the socket. It does not wait for an accept: a process that is stopped
/// (SIGSTOP) accepts no clients, but exists.
fn connects(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}
