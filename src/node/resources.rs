//! How much the process uses of the resources of the system. This is measured only on request.

use rustix::process::{Resource, getrlimit};

/// Bytes of memory that are resident; 0 if the system does not report them.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Open descriptors. If the system does not report their number, the number of connections is
/// returned, because most descriptors are connections. The folder of the descriptors is not listed:
/// with 19,000 of them this takes 14 ms and stops the loop for that time.
pub(super) fn descriptors_open(connections: usize) -> u64 {
    // Since version 6.2, Linux reports this number as the size of the folder.
    let counted = std::fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
    if counted > 0 { counted } else { connections as u64 }
}

/// The most descriptors that may be open; 0 if there is no limit.
pub(super) fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(0)
}
