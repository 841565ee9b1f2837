//! Datagrams between super peers, also those for other shards.

use crate::time::Time;
use crate::wire::link::Packer;

/// A datagram for another shard.
#[derive(Debug)]
pub struct Mail {
    pub(super) at: Time,
    pub(super) tie: u64,
    pub(super) datagram: Datagram,
}

#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) to: u32,
    pub(super) from: u32,
    /// How many messages of queries the datagram contains, and the hops of the last QUERY among
    /// them.
    pub(super) work: u16,
    pub(super) hops: u8,
    pub(super) bytes: Vec<u8>,
}

/// The messages of one datagram.
pub(super) struct Parcel {
    pub(super) packer: Packer,
    pub(super) length: usize,
    pub(super) work: u16,
    pub(super) hops: u8,
}
