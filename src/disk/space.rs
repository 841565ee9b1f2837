//! Whether a download fits on its disk. It only reads figures. A download that does not fit is
//! refused before one of its bytes is written.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::fstatvfs;

use super::part::Part;
use super::target::shown;
use crate::config::PIECE_BYTES;
use crate::proto::disk::{DiskFailure, DiskFailureKind};

/// Size of the blocks that `stat` counts. It does not depend on the file system.
const STAT_BLOCK_BYTES: u64 = 512;

/// How much space an open part file has, and how much it may still need.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// The device. It is 0 for a content of one piece: then its need is not compared with others.
    device: u64,
    /// Bytes that are not allocated yet.
    bytes: u64,
}

impl Need {
    /// The need of a part file whose content has this size. None if the disk does not report it.
    fn of(part: &Part, size: u64) -> Option<Need> {
        if part.is_new && size <= PIECE_BYTES {
            return Some(Need { device: 0, bytes: size });
        }
        let metadata = part.file.metadata().ok()?;
        let allocated = metadata.blocks() * STAT_BLOCK_BYTES;
        Some(Need { device: metadata.dev(), bytes: size.saturating_sub(allocated) })
    }
}

/// Refuses a content of this size if its missing part does not fit in the free space. The space
/// that other downloads on the same disk still need does not count as free. No space is reserved
/// for a content of one piece.
pub(super) fn check<'p>(part: &Part, size: u64, parts: impl IntoIterator<Item = &'p Part>) -> Result<(), DiskFailure> {
    // Small files come by the thousands, and each is checked twice: first with the size that hits
    // claim.
    if part.is_new && part.fitting == Some(size) {
        return Ok(());
    }
    let (Some(need), Ok(disk)) = (Need::of(part, size), fstatvfs(&part.file)) else { return Ok(()) };
    // Some file systems report no figures.
    if disk.f_blocks == 0 {
        return Ok(());
    }
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let others = parts.into_iter().filter(|other| size > PIECE_BYTES && !std::ptr::eq(*other, part));
    let others = others.filter_map(|other| Need::of(other, other.size?));
    let promised = others.filter(|other| other.device == need.device).map(|other| other.bytes);
    let promised = promised.fold(0, u64::saturating_add);
    if need.bytes <= free.saturating_sub(promised) {
        return Ok(());
    }
    let message = refusal(&format!("{} does", shown(&part.target.path)), need.bytes, free, promised);
    Err(DiskFailure { kind: DiskFailureKind::Full, message })
}

/// The sentence about something that does not fit. Other downloads still need `promised` bytes of
/// the free ones. `what` ends with its verb.
pub(super) fn refusal(what: &str, need: u64, free: u64, promised: u64) -> String {
    let [need, free, others] = in_one_unit([need, free, promised]);
    let for_others =
        if promised > 0 { format!(", {others} of them for other downloads that run") } else { String::new() };
    format!(
        "{what} not fit on the disk: {need} are needed and {free} are free{for_others}; make room, or choose \
         another place"
    )
}

/// Whether this many bytes are free on the file system of a file or folder. True if the file system
/// does not report it.
pub(super) fn has_room(at: impl AsFd, bytes: u64) -> bool {
    fstatvfs(at).map_or(true, |disk| disk.f_blocks == 0 || bytes <= disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Figures that can be compared: in MiB, or in bytes if the first two of them are small or would
/// look alike.
fn in_one_unit(figures: [u64; 3]) -> [String; 3] {
    let tenths = figures.map(|bytes| (u128::from(bytes) * 10) >> 20);
    if tenths[0] == tenths[1] || figures[0].max(figures[1]) < 10 << 20 {
        return figures.map(|bytes| format!("{bytes} bytes"));
    }
    tenths.map(|tenths| format!("{}.{} MiB", tenths / 10, tenths % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_refusal_have_one_unit_and_differ() {
        assert_eq!(in_one_unit([19 << 20, 8 << 20, 0]), ["19.0 MiB", "8.0 MiB", "0.0 MiB"]);
        assert_eq!(in_one_unit([5000, 4096, 0]), ["5000 bytes", "4096 bytes", "0 bytes"]);
        let [need, free, _] = in_one_unit([(19 << 20) + 1, 19 << 20, 0]);
        assert_eq!([need.as_str(), free.as_str()], ["19922945 bytes", "19922944 bytes"]);
    }
}
