//! What the process uses of the system's resources. It is read only when somebody asks for it.

use rustix::process::{Resource, getrlimit};

/// Bytes of memory that are resident; 0 if the system does not report them.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Open descriptors. If the system does not report their number, it is that of the connections,
/// which are most of them. The folder of the descriptors is not listed: with 19,000 of them this
/// takes 14 ms, and stops the loop for that time.
pub(super) fn descriptors_open(connections: usize) -> u64 {
    // Linux reports their number as the size of the folder, since 6.2.
    let counted = std::fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
    if counted > 0 { counted } else { connections as u64 }
}

/// Most descriptors that may be open; 0 without a limit.
pub(super) fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(0)
}
