//! The ids that a machine and its driver use for things that the driver holds.

/// A connection: its slot in the driver's table, and how often that slot was used before. A stale
/// id names nothing. The driver drops and counts whatever is sent to it.
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

/// A received chunk in a buffer of the driver, until the machine orders the driver to write or drop
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadId(pub u64);
