//! Names for links and queries, which several parts of a super peer refer to.

/// A link: its place in the list of neighbors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkId(pub(super) u16);

impl LinkId {
    /// The link at this place.
    pub(super) fn at(index: usize) -> LinkId {
        LinkId(u16::try_from(index).expect("links are few"))
    }

    /// Its place in the list.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A query that runs here: its place in the flood's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaveKey(pub(super) u32);

impl WaveKey {
    /// The query at this place.
    pub(super) fn at(index: usize) -> WaveKey {
        WaveKey(u32::try_from(index).expect("fewer queries than 2^32"))
    }

    /// Its place in the table.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
