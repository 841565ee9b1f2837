//! The names by which a machine and its driver speak of what the driver holds.

/// A connection: its slot in the driver's table, and how often that slot was used before. A stale
/// id names nothing: the driver drops and counts whatever is addressed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Slot in the connection table.
    pub index: u32,
    /// Uses of that slot before this one.
    pub generation: u32,
}

/// A dial in progress, numbered by the machine that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// A host name that is being resolved, numbered by the machine that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolveId(pub u64);

/// A received chunk in a buffer of the driver, until the machine orders it written or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadId(pub u64);
