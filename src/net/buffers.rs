//! Buffers that connections borrow while they use them. So an idle connection owns none, and a busy
//! one allocates none.

use crate::config::{CHUNK_BUFFERS_KEPT, CHUNK_BYTES_MAX, FRAME_BUFFER_BYTES_KEPT, FRAME_BUFFERS_KEPT};

/// Two pools, and two buffers that every write uses. Frame buffers are empty; chunk buffers keep
/// their length, so that they need not be zeroed again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    frames: Vec<Vec<u8>>,
    chunks: Vec<Vec<u8>>,
    /// Chunk buffers in use, in connections and in the loop above.
    pub(super) chunks_out: usize,
    /// For one step of a write with TLS: the records, and the bytes of a file before they are
    /// sealed. Both are empty until the first such step.
    pub(super) sealed: Vec<u8>,
    pub(super) plain: Vec<u8>,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn frame(&mut self) -> Vec<u8> {
        self.frames.pop().unwrap_or_default()
    }

    /// Takes a buffer back. It is freed if it is too long, or if there are enough.
    pub(super) fn put_frame(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=FRAME_BUFFER_BYTES_KEPT).contains(&buffer.capacity());
        if fits && self.frames.len() < FRAME_BUFFERS_KEPT {
            buffer.clear();
            self.frames.push(buffer);
        }
    }

    /// A buffer of exactly `length` bytes, with any content.
    pub(super) fn chunk(&mut self, length: usize) -> Vec<u8> {
        self.chunks_out += 1;
        match self.chunks.pop() {
            Some(mut buffer) => {
                buffer.resize(length, 0);
                buffer
            }
            None => vec![0; length],
        }
    }

    /// Takes a buffer back, if it still exists. While some buffers are in use, all buffers of the
    /// usual size are kept, because new memory must be mapped and zeroed. Once no buffer is in use,
    /// only a few are kept.
    pub(super) fn put_chunk(&mut self, buffer: Option<Vec<u8>>) {
        self.chunks_out = self.chunks_out.saturating_sub(1);
        self.chunks.extend(buffer.filter(|buffer| buffer.capacity() == CHUNK_BYTES_MAX as usize));
        if self.chunks_out == 0 {
            self.chunks.truncate(CHUNK_BUFFERS_KEPT);
        }
    }
}
