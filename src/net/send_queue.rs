//! The send queue of one connection: bytes of frames, and between them the bodies of chunks, in
//! order. A body is an extent of a file or, if it is short, bytes in memory.
//!
//! The frames of a turn are in one buffer. So one write sends them, together with the short bodies
//! between them. An empty queue owns no memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::buffers::Buffers;
use super::transport::Transport;

/// Written bytes are removed from the front of the buffer once there are this many of them and they
/// are at least half of the buffer.
const COMPACT_BYTES: usize = 64 * 1024;
/// The most bodies that one write sends. Each is one slice, and the frames before it are another:
/// together a quarter of the slices that the kernel accepts (UIO_MAXIOV).
const BODIES_PER_WRITE: usize = 128;

/// The queue of one connection.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// Frame bytes. Those before `head` are written.
    bytes: Vec<u8>,
    head: usize,
    /// Frame bytes written since the connection began. The position of an extent
    /// (`Extent::after`) is counted in the same way.
    written: u64,
    #[expect(clippy::box_collection, reason = "most connections never send a file: 8 bytes instead of 32")]
    files: Option<Box<VecDeque<Extent>>>,
}

/// A body that comes after this many frame bytes of the connection.
#[derive(Debug)]
struct Extent {
    after: u64,
    req: u32,
    body: Body,
    offset: u64,
    left: u32,
}

/// Where a body is.
enum Body {
    File(Arc<File>),
    Memory(Bytes),
}

/// A body in memory.
pub(super) type Bytes = Box<dyn AsRef<[u8]> + Send>;

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::File(file) => file.fmt(f),
            Body::Memory(bytes) => write!(f, "{} bytes", (**bytes).as_ref().len()),
        }
    }
}

impl Extent {
    /// The bytes of the body that are left, if the body is in memory.
    fn in_memory(&self) -> Option<&[u8]> {
        let Body::Memory(bytes) = &self.body else { return None };
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        (**bytes).as_ref().get(offset..)
    }
}

/// How a call of `flush` ended.
#[derive(Debug)]
pub(super) enum Flushed {
    /// The queue is empty.
    Empty,
    /// The socket accepts no more.
    Blocked,
    /// The budget of this turn is used up.
    Budget,
    /// The connection has failed.
    Failed(io::Error),
}

impl SendQueue {
    /// Frame bytes that wait. Bodies do not count: those of files cost no memory, and the disk
    /// limits the number of those in memory (`SHORT_CHUNKS_MAX`).
    pub(super) fn frame_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frame_bytes() == 0 && self.files.is_none()
    }

    /// Whether a body waits, in a file or in memory.
    pub(super) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Bytes of bodies that wait, for tests.
    #[cfg(test)]
    pub(super) fn file_bytes(&self) -> usize {
        self.files.iter().flat_map(|files| files.iter()).map(|extent| extent.left as usize).sum()
    }

    /// Bytes of its buffer.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer that the next frame is encoded into.
    #[inline(always)]
    pub(super) fn tail(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.frame();
        }
        &mut self.bytes
    }

    /// Queues bytes of a file after everything that is queued now.
    pub(super) fn push_file(&mut self, req: u32, file: Arc<File>, offset: u64, length: u32) {
        self.push(req, Body::File(file), offset, length);
    }

    /// Queues a short body after everything that is queued now.
    pub(super) fn push_bytes(&mut self, req: u32, bytes: Bytes) {
        let length = u32::try_from((*bytes).as_ref().len()).expect("a body is not longer than a chunk");
        self.push(req, Body::Memory(bytes), 0, length);
    }

    fn push(&mut self, req: u32, body: Body, offset: u64, left: u32) {
        let after = self.written + self.frame_bytes() as u64;
        self.files.get_or_insert_default().push_back(Extent { after, req, body, offset, left });
    }

    /// Writes frames and bodies in their order, but at most `left` bytes of bodies, which it
    /// subtracts from `left`. Bytes of frames do not count, because the cap of the queue bounds
    /// them. If what is left of `left` would cut a body, the body waits for the next turn, unless
    /// this call has written no body before it. Calls `sent` with each request whose body is
    /// written. Returns how the call ended, and how many bytes were written.
    pub(super) fn flush(
        &mut self,
        transport: &mut Transport,
        left: &mut usize,
        buffers: &mut Buffers,
        mut sent: impl FnMut(u32),
    ) -> (Flushed, usize) {
        let budget = *left;
        let mut written = 0;
        let end = loop {
            if self.is_empty() {
                buffers.put_frame(std::mem::take(&mut self.bytes));
                self.head = 0;
                break match transport.push() {
                    Ok(()) => Flushed::Empty,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Flushed::Blocked,
                    Err(error) => Flushed::Failed(error),
                };
            }
            let due = self.frames_due();
            let spent = *left == 0 || *left < budget && self.extent_left() > *left;
            let result = if !spent && self.is_gathered(transport) {
                self.write_gathered(transport, *left, &mut sent)
            } else if due > 0 {
                self.write_frames(transport, due, buffers).map(|count| (count, 0))
            } else if spent {
                break Flushed::Budget;
            } else {
                self.write_file(transport, *left, buffers, &mut sent).map(|count| (count, count))
            };
            match result {
                Ok((count, of_file)) => {
                    written += count;
                    *left = left.saturating_sub(of_file);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Flushed::Blocked,
                Err(error) => break Flushed::Failed(error),
            }
        };
        self.compact();
        (end, written)
    }

    /// Frame bytes before the next extent.
    fn frames_due(&self) -> usize {
        match self.files.as_ref().and_then(|files| files.front()) {
            Some(extent) => usize::try_from(extent.after - self.written).unwrap_or(usize::MAX),
            None => self.frame_bytes(),
        }
    }

    /// Bytes that are left of the first extent.
    fn extent_left(&self) -> usize {
        self.files.as_ref().and_then(|files| files.front()).map_or(0, |extent| extent.left as usize)
    }

    fn write_frames(&mut self, transport: &mut Transport, count: usize, buffers: &mut Buffers) -> io::Result<usize> {
        let count = transport.write(&self.bytes[self.head..self.head + count], self.files.is_some(), buffers)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.head += count;
        self.written += count as u64;
        Ok(count)
    }

    /// Whether the next body is sent together with the frames around it.
    fn is_gathered(&self, transport: &Transport) -> bool {
        let first = self.files.as_ref().and_then(|files| files.front());
        transport.tls().is_none() && first.is_some_and(|extent| extent.in_memory().is_some())
    }

    /// Writes the short bodies at the front, up to `most` bytes of them, and the frames before
    /// them. Returns how many bytes were written, and how many of them belong to bodies.
    fn write_gathered(
        &mut self,
        transport: &mut Transport,
        most: usize,
        sent: &mut dyn FnMut(u32),
    ) -> io::Result<(usize, usize)> {
        let Some(files) = &mut self.files else { return Ok((0, 0)) };
        let (mut slices, mut room, mut at) = (Vec::new(), most, self.head);
        for extent in files.iter().take(BODIES_PER_WRITE) {
            let Some(body) = extent.in_memory() else { break };
            if body.len() > room && room < most {
                break;
            }
            let frames_end = self.head + usize::try_from(extent.after - self.written).unwrap_or(usize::MAX);
            slices.push(IoSlice::new(&self.bytes[at..frames_end]));
            slices.push(IoSlice::new(&body[..body.len().min(room)]));
            (at, room) = (frames_end, room.saturating_sub(body.len()));
        }
        let count = transport.write_gathered(&slices)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let (mut left, mut of_bodies) = (count, 0);
        while left > 0 {
            let extent = files.front_mut().expect("no more is written than there is");
            let frames = left.min(usize::try_from(extent.after - self.written).unwrap_or(usize::MAX));
            self.head += frames;
            self.written += frames as u64;
            let body = (left - frames).min(extent.left as usize);
            extent.offset += body as u64;
            extent.left -= u32::try_from(body).expect("no more than is left");
            (left, of_bodies) = (left - frames - body, of_bodies + body);
            if extent.left == 0 {
                sent(extent.req);
                files.pop_front();
            }
        }
        if files.is_empty() {
            self.files = None;
        }
        Ok((count, of_bodies))
    }

    fn write_file(
        &mut self,
        transport: &mut Transport,
        most: usize,
        buffers: &mut Buffers,
        sent: &mut dyn FnMut(u32),
    ) -> io::Result<usize> {
        let files = self.files.as_mut().expect("a queue without frame bytes that is not empty has an extent");
        let extent = files.front_mut().expect("an extent list is dropped with its last extent");
        let mut count = 0;
        if extent.left > 0 {
            let most = most.min(extent.left as usize);
            count = match &extent.body {
                Body::File(file) => transport.send_file(file, extent.offset, most, buffers)?,
                Body::Memory(_) => {
                    let body = extent.in_memory().unwrap_or_default();
                    transport.write(&body[..body.len().min(most)], false, buffers)?
                }
            };
            if count == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent"));
            }
            extent.offset += count as u64;
            extent.left -= u32::try_from(count).expect("no more than was asked for");
        }
        if extent.left == 0 {
            sent(extent.req);
            files.pop_front();
            if files.is_empty() {
                self.files = None;
            }
        }
        Ok(count)
    }

    fn compact(&mut self) {
        if self.head >= COMPACT_BYTES && self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}
