//! The bytes of all paths, one after the other; a freed place is reused by the next path of the
//! same length.
//!
//! Nothing is ever moved, so no operation has to pay for a compaction. What it never gives back is
//! bounded by what was there at once, per length.

use crate::config::PATH_BYTES_MAX;

/// Where a path lies: 48 bits of offset, 15 of length; the one bit left is the entry's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    low: u32,
    high: u16,
    length: u16,
}

/// The arena.
#[derive(Debug)]
pub(super) struct Arena {
    /// A text, so that what is taken out of it need not be checked to be one each time.
    texts: String,
    /// Freed offsets by length.
    free: Vec<Vec<u64>>,
}

impl Arena {
    pub(super) fn new() -> Arena {
        Arena { texts: String::new(), free: Vec::new() }
    }

    pub(super) fn add(&mut self, text: &str) -> Place {
        let length = text.len();
        assert!(length <= PATH_BYTES_MAX, "a SharePath is at most 700 bytes");
        let offset = match self.free.get_mut(length).and_then(Vec::pop) {
            Some(offset) => {
                let start = usize::try_from(offset).expect("an offset of this process");
                self.texts.replace_range(start..start + length, text);
                offset
            }
            None => {
                let offset = self.texts.len() as u64;
                self.texts.push_str(text);
                offset
            }
        };
        let [h, g, f, e, d, c, b, a] = offset.to_le_bytes();
        assert!(a == 0 && b == 0, "memory ends long before 2^48 bytes of paths");
        Place {
            low: u32::from_le_bytes([h, g, f, e]),
            high: u16::from_le_bytes([d, c]),
            length: u16::try_from(length).expect("at most 700"),
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let length = usize::from(place.length);
        if self.free.len() <= length {
            self.free.resize_with(length + 1, Vec::new);
        }
        self.free[length].push(place.offset());
    }

    pub(super) fn text(&self, place: Place) -> &str {
        let start = usize::try_from(place.offset()).expect("an offset of this process");
        &self.texts[start..start + usize::from(place.length)]
    }
}

impl Place {
    fn offset(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}
