//! The send queue of one connection: bytes of frames, and extents of files between them, in order.
//!
//! The frames of a turn are in one buffer, so that one write sends them. An empty queue owns no
//! memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::buffers::Buffers;
use super::transport::Transport;

/// Written bytes are removed from the front of the buffer once there are this many of them.
const COMPACT_BYTES: usize = 64 * 1024;

/// The queue of one connection.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// Frame bytes; those before `head` are written.
    bytes: Vec<u8>,
    head: usize,
    /// Frame bytes written since the connection began. The position of an extent
    /// (`Extent::after`) is counted in the same way.
    written: u64,
    #[expect(clippy::box_collection, reason = "most connections never send a file: 8 bytes instead of 32")]
    files: Option<Box<VecDeque<Extent>>>,
}

/// Bytes of a file that follow after this many frame bytes of the connection.
#[derive(Debug)]
struct Extent {
    after: u64,
    req: u32,
    file: Arc<File>,
    offset: u64,
    left: u32,
}

/// How a flush ended.
#[derive(Debug)]
pub(super) enum Flushed {
    /// Nothing is left.
    Empty,
    /// The socket accepts no more.
    Blocked,
    /// The budget of this turn is used up.
    Budget,
    /// The connection has failed.
    Failed(io::Error),
}

impl SendQueue {
    /// Frame bytes that wait. Those of files are not counted: they cost no memory.
    pub(super) fn frame_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frame_bytes() == 0 && self.files.is_none()
    }

    /// Whether bytes of a file wait.
    pub(super) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Bytes of files that wait, for tests.
    #[cfg(test)]
    pub(super) fn file_bytes(&self) -> usize {
        self.files.iter().flat_map(|files| files.iter()).map(|extent| extent.left as usize).sum()
    }

    /// Bytes of its buffer.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer that the next frame is encoded into.
    pub(super) fn tail(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.frame();
        }
        &mut self.bytes
    }

    /// Queues bytes of a file after everything that is queued now.
    pub(super) fn push_file(&mut self, req: u32, file: Arc<File>, offset: u64, length: u32) {
        let after = self.written + self.frame_bytes() as u64;
        let extent = Extent { after, req, file, offset, left: length };
        self.files.get_or_insert_default().push_back(extent);
    }

    /// Writes all frames, whose bytes the cap of the queue bounds, and up to `left` bytes of files,
    /// which it subtracts from `left`. A chunk that this bound would cut waits for the next turn,
    /// unless it is the first one. Calls `sent` with each request whose file bytes are all written.
    /// Returns how it ended, and how many bytes were written.
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
            let result = if due > 0 {
                self.write_frames(transport, due, buffers).map(|count| (count, 0))
            } else if *left == 0 || *left < budget && self.extent_left() > *left {
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
            count = transport.send_file(&extent.file, extent.offset, most.min(extent.left as usize), buffers)?;
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
