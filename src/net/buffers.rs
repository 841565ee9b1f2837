//! Buffers that connections borrow while they need them, so that an idle one owns none and a busy one allocates none.

use crate::config::{CHUNK_BUFFERS_KEPT, CHUNK_BYTES_MAX, FRAME_BUFFER_BYTES_KEPT, FRAME_BUFFERS_KEPT};

/// Two small pools: of frame buffers, empty, and of chunk buffers, as long as they were (so that they need not be zeroed).
#[derive(Debug, Default)]
pub(super) struct Buffers {
    frames: Vec<Vec<u8>>,
    chunks: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn frame(&mut self) -> Vec<u8> {
        self.frames.pop().unwrap_or_default()
    }

    /// Takes a buffer back; long ones and those too many are freed.
    pub(super) fn put_frame(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=FRAME_BUFFER_BYTES_KEPT).contains(&buffer.capacity());
        if fits && self.frames.len() < FRAME_BUFFERS_KEPT {
            buffer.clear();
            self.frames.push(buffer);
        }
    }

    /// A buffer of exactly `length` bytes with anything in it.
    pub(super) fn chunk(&mut self, length: usize) -> Vec<u8> {
        match self.chunks.pop() {
            Some(mut buffer) => {
                buffer.resize(length, 0);
                buffer
            }
            None => vec![0; length],
        }
    }

    /// Takes a buffer back; one of an odd size is freed. The others are kept as long as some are `in_use`, for new memory costs
    /// as much as hashing it; after that only a few are.
    pub(super) fn put_chunk(&mut self, buffer: Vec<u8>, in_use: usize) {
        if buffer.capacity() == CHUNK_BYTES_MAX as usize {
            self.chunks.push(buffer);
        }
        if in_use == 0 {
            self.chunks.truncate(CHUNK_BUFFERS_KEPT);
        }
    }
}
