//! Which names below the share may be shared.

use crate::config::PATH_BYTES_MAX;

/// Why a file or folder below the share is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// Hidden, or a part file.
    Hidden,
    NotUtf8,
    TooLong,
}

/// How many files and folders cannot be shared, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SkippedCount {
    pub(super) not_utf8: usize,
    pub(super) too_long: usize,
}

impl SkippedCount {
    pub(super) fn count(&mut self, skipped: Skipped) {
        match skipped {
            Skipped::Hidden => {}
            Skipped::NotUtf8 => self.not_utf8 += 1,
            Skipped::TooLong => self.too_long += 1,
        }
    }

    /// Logs one line per reason.
    pub(super) fn warn(self, which: &str) {
        if self.not_utf8 > 0 {
            log::warn!("{} {which}files or folders are not shared: their names are not UTF-8", self.not_utf8);
        }
        if self.too_long > 0 {
            let max = PATH_BYTES_MAX;
            log::warn!("{} {which}files or folders are not shared: paths of more than {max} bytes", self.too_long);
        }
    }
}

/// The name of one entry of a folder of the share, if it may be shared.
pub(super) fn visible(name: &[u8]) -> Result<&str, Skipped> {
    if name.starts_with(b".") || name.ends_with(b".part") || name.ends_with(b".part.map") {
        return Err(Skipped::Hidden);
    }
    std::str::from_utf8(name).map_err(|_| Skipped::NotUtf8)
}

/// The path of an entry of a folder.
pub(super) fn join(folder: &str, name: &str) -> Result<String, Skipped> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if path.len() > PATH_BYTES_MAX { Err(Skipped::TooLong) } else { Ok(path) }
}

/// A relative path as the path of a shared file, if each of its names may be shared.
pub(super) fn share_path(relative: &[u8]) -> Result<String, Skipped> {
    relative.split(|byte| *byte == b'/').try_fold(String::new(), |folder, name| join(&folder, visible(name)?))
}
