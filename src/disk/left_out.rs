//! The files and folders below a share that are not shared, each with its reason, so that `status`
//! can count them. It does no I/O.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::config::LEFT_OUT_MAX;

/// Why a file or folder is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its name begins with a dot.
    Hidden,
    /// An incomplete download, or its map.
    Part,
    /// A rule of `.spratignore`.
    Ignored,
    Symlink,
    /// A FIFO, socket or device.
    Special,
    Unreadable,
    /// It is longer than a content may be.
    TooLarge,
    /// Its path does not fit in a record.
    TooLong,
    NotUtf8,
    /// It lies in the share without a name, and another share has its name.
    Covered,
}

impl Reason {
    const ALL: [Reason; 10] = [
        Reason::Hidden,
        Reason::Part,
        Reason::Ignored,
        Reason::Symlink,
        Reason::Special,
        Reason::Unreadable,
        Reason::TooLarge,
        Reason::TooLong,
        Reason::NotUtf8,
        Reason::Covered,
    ];

    /// The reason, for a person who asks.
    pub(super) fn why(self) -> &'static str {
        match self {
            Reason::Hidden => "its path has a name that begins with a dot",
            Reason::Part => "it is a download that is not complete",
            Reason::Ignored => "a rule of .spratignore leaves it out",
            Reason::Symlink => "it is a symbolic link",
            Reason::Special => "it is no regular file",
            Reason::Unreadable => "it cannot be read",
            Reason::TooLarge => "it is longer than a content may be",
            Reason::TooLong => "its path is too long",
            Reason::NotUtf8 => "its path is not UTF-8",
            Reason::Covered => "another share has its name",
        }
    }

    /// The name of its counter in `status`.
    fn counter(self) -> &'static str {
        match self {
            Reason::Hidden => "left_out_hidden",
            Reason::Part => "left_out_parts",
            Reason::Ignored => "left_out_ignored",
            Reason::Symlink => "left_out_symlinks",
            Reason::Special => "left_out_special",
            Reason::Unreadable => "left_out_unreadable",
            Reason::TooLarge => "left_out_too_large",
            Reason::TooLong => "left_out_long_paths",
            Reason::NotUtf8 => "left_out_not_utf8",
            Reason::Covered => "left_out_covered",
        }
    }

    /// The name of the counter in words.
    fn words(self) -> &'static str {
        match self {
            Reason::Hidden => "hidden",
            Reason::Part => "parts of downloads",
            Reason::Ignored => "ignored by .spratignore",
            Reason::Symlink => "symbolic links",
            Reason::Special => "FIFOs, sockets and devices",
            Reason::Unreadable => "unreadable",
            Reason::TooLarge => "larger than 1 TiB",
            Reason::TooLong => "paths of more than 700 bytes",
            Reason::NotUtf8 => "names that are not UTF-8",
            Reason::Covered => "covered by the name of another share",
        }
    }

    /// Whether a user should learn of it without asking.
    fn is_surprising(self) -> bool {
        matches!(self, Reason::Unreadable | Reason::TooLarge | Reason::TooLong | Reason::NotUtf8 | Reason::Covered)
    }
}

/// How many files and folders are not shared, by reason. Files below a folder that is not shared do
/// not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([u64; Reason::ALL.len()]);

impl Counts {
    /// Each counter with its name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason.counter(), self.of(reason)))
    }

    pub(super) fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Adds the counts of another share.
    pub(super) fn add(&mut self, other: &Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }

    /// The counts in words: those that a user should learn of, and the others. A text is empty if
    /// there are none.
    pub(super) fn words(&self) -> [String; 2] {
        [true, false].map(|surprising| {
            let here = Reason::ALL.into_iter().filter(|r| r.is_surprising() == surprising && self.of(*r) > 0);
            here.map(|reason| format!("{}: {}", reason.words(), self.of(reason))).collect::<Vec<_>>().join(", ")
        })
    }
}

/// The paths below one share that are not shared.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    paths: BTreeMap<Vec<u8>, (Reason, u32)>,
    counts: Counts,
    /// Number of the latest scan.
    scan: u32,
}

impl LeftOut {
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// This path is not shared. If there are [`LEFT_OUT_MAX`] such paths already, it is not
    /// counted.
    pub(super) fn insert(&mut self, path: &[u8], reason: Reason) {
        self.remove(path);
        if self.paths.len() < LEFT_OUT_MAX {
            self.paths.insert(path.to_owned(), (reason, self.scan));
            self.counts.0[reason as usize] += 1;
        }
    }

    /// The reason why this path is not shared, if it is one of these paths.
    pub(super) fn reason(&self, path: &[u8]) -> Option<Reason> {
        self.paths.get(path).map(|(reason, _)| *reason)
    }

    /// A scan has seen this path, and nothing has changed. The path may be shared or not.
    pub(super) fn find_again(&mut self, path: &[u8]) {
        if let Some((_, scan)) = self.paths.get_mut(path) {
            *scan = self.scan;
        }
    }

    /// This path is shared, or is gone.
    pub(super) fn remove(&mut self, path: &[u8]) {
        if let Some((reason, _)) = self.paths.remove(path) {
            self.counts.0[reason as usize] -= 1;
        }
    }

    /// There is no folder at this path.
    pub(super) fn remove_below(&mut self, folder: &[u8]) {
        self.retain_below(folder, |_| false);
    }

    /// A scan begins. Returns its number, for [`LeftOut::end_scan`]. Other scans may run at the
    /// same time.
    pub(super) fn begin_scan(&mut self) -> u32 {
        self.scan = self.scan.wrapping_add(1);
        self.scan
    }

    /// Forgets the paths below a folder that were not seen since the scan with this number began.
    pub(super) fn end_scan(&mut self, folder: &[u8], number: u32) {
        let now = self.scan;
        self.retain_below(folder, |scan| is_since(scan, number, now));
    }

    fn retain_below(&mut self, folder: &[u8], keep: impl Fn(u32) -> bool) {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let below = self.paths.range::<[u8], _>((Bound::Included(prefix.as_slice()), Bound::Unbounded));
        let below = below.take_while(|(path, _)| path.starts_with(&prefix));
        let gone: Vec<Vec<u8>> = below.filter(|(_, (_, scan))| !keep(*scan)).map(|(path, _)| path.clone()).collect();
        gone.iter().for_each(|path| self.remove(path));
    }
}

/// Whether a scan began together with another scan or after it. `now` is the number of the latest
/// scan.
pub(super) fn is_since(scan: u32, other: u32, now: u32) -> bool {
    now.wrapping_sub(scan) <= now.wrapping_sub(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_counts_once_under_its_latest_reason() {
        let mut left_out = LeftOut::default();
        left_out.insert(b"a/x", Reason::Symlink);
        left_out.insert(b"a/x", Reason::Unreadable);
        left_out.insert(b"a/.y", Reason::Hidden);
        left_out.insert(b"ab", Reason::Special);
        assert_eq!(left_out.counts().named().map(|(_, n)| n).sum::<u64>(), 3);
        assert_eq!(left_out.counts().of(Reason::Symlink), 0);
        left_out.remove_below(b"a");
        assert_eq!(left_out.counts().words(), ["", "FIFOs, sockets and devices: 1"]);
        left_out.remove(b"ab");
        left_out.remove(b"ab");
        assert_eq!(left_out.counts(), &Counts::default());
    }

    #[test]
    fn what_a_scan_does_not_see_is_forgotten() {
        let mut left_out = LeftOut::default();
        for path in [&b"a/1"[..], b"a/2", b"b"] {
            left_out.insert(path, Reason::Hidden);
        }
        let slow = left_out.begin_scan();
        left_out.insert(b"a/1", Reason::Hidden);
        let other = left_out.begin_scan();
        left_out.end_scan(b"c", other);
        left_out.end_scan(b"a", slow);
        assert_eq!(left_out.counts().of(Reason::Hidden), 2);
        left_out.end_scan(b"", slow);
        assert_eq!(left_out.counts().of(Reason::Hidden), 1);
    }
}
