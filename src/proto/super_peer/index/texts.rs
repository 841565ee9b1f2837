//! The bytes of all paths, by the chunk of their entry.
//!
//! A path is appended to the text of its chunk. Bytes of paths that are gone stay until they are
//! more than a quarter of it, then the rest is moved together: a chunk is small, so that takes a
//! small part of a turn.

use super::slots::chunk_of;
use crate::config::PATH_BYTES_MAX;

/// Below this no text is worth moving, in bytes.
const GARBAGE_MIN: usize = 4096;
/// Bits of a length.
const LENGTH_BITS: u32 = 10;

const _: () = assert!(PATH_BYTES_MAX < 1 << LENGTH_BITS);

/// Where a path lies in the text of its chunk: 22 bits of offset, 10 of length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u32);

/// All paths.
#[derive(Debug, Default)]
pub(super) struct Texts {
    chunks: Vec<Text>,
}

#[derive(Debug, Default)]
struct Text {
    /// A text, so that what is taken out of it need not be checked to be one each time.
    bytes: String,
    garbage: usize,
}

impl Texts {
    #[inline]
    pub(super) fn text(&self, id: u32, place: Place) -> &str {
        &self.chunks[chunk_of(id)].bytes[place.offset()..place.offset() + place.length()]
    }

    /// Bytes of all paths, those that are gone among them.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(|text| text.bytes.capacity()).sum()
    }

    /// Adds the path of an entry.
    pub(super) fn add(&mut self, id: u32, path: &str) -> Place {
        let chunk = chunk_of(id);
        if self.chunks.len() <= chunk {
            // The chunk before it is full.
            if let Some(Text { bytes, .. }) = self.chunks.last_mut() {
                bytes.shrink_to_fit();
            }
            self.chunks.resize_with(chunk + 1, Text::default);
        }
        self.chunks[chunk].push(path)
    }

    /// The path is gone.
    pub(super) fn remove(&mut self, id: u32, place: Place) {
        self.chunks[chunk_of(id)].garbage += place.length();
    }

    /// Whether the paths of this chunk are to be moved together by [`Texts::compact`].
    pub(super) fn is_wasteful(&self, chunk: usize) -> bool {
        let Text { bytes, garbage } = &self.chunks[chunk];
        *garbage > GARBAGE_MIN && *garbage > bytes.len() / 4
    }

    /// Moves together what lies at these places, which are all that are in use, and notes where it
    /// is now.
    pub(super) fn compact<'a>(&mut self, chunk: usize, places: impl Iterator<Item = &'a mut Place>) {
        let Text { bytes, garbage } = std::mem::take(&mut self.chunks[chunk]);
        let text = &mut self.chunks[chunk];
        text.bytes.reserve_exact(bytes.len() - garbage);
        for place in places {
            *place = text.push(&bytes[place.offset()..place.offset() + place.length()]);
        }
    }

    /// The chunk is empty.
    pub(super) fn forget(&mut self, chunk: usize) {
        self.chunks[chunk] = Text::default();
    }
}

impl Text {
    fn push(&mut self, path: &str) -> Place {
        assert!(path.len() <= PATH_BYTES_MAX, "a SharePath is at most 700 bytes");
        let offset = u32::try_from(self.bytes.len()).expect("a chunk is small");
        assert!(offset < 1 << (u32::BITS - LENGTH_BITS), "three quarters of it are in use, by at most 4096 paths");
        self.bytes.push_str(path);
        Place(offset << LENGTH_BITS | path.len() as u32)
    }
}

impl Place {
    fn offset(self) -> usize {
        (self.0 >> LENGTH_BITS) as usize
    }

    fn length(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }
}
