//! Which names below a share may be shared, and their paths.

use super::left_out::Reason;
use crate::config::PATH_BYTES_MAX;

/// The name of the files with rules about what is not shared.
pub(super) const RULES_NAME: &str = ".spratignore";

/// The names of one share.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The start of each path: empty, or the name of the share.
    prefix: String,
    /// Names at the top of the share without a name that are names of other shares.
    covered: Vec<String>,
}

impl Names {
    pub(super) fn new(prefix: String, covered: Vec<String>) -> Names {
        Names { prefix, covered }
    }

    /// The path below the share of an entry in one of its folders.
    pub(super) fn entry(&self, folder: &str, name: &[u8]) -> Result<String, Reason> {
        let name = visible(name)?;
        if folder.is_empty() && self.covered.iter().any(|covered| covered == name) {
            return Err(Reason::Covered);
        }
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let prefix_bytes = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        if prefix_bytes + path.len() > PATH_BYTES_MAX { Err(Reason::TooLong) } else { Ok(path) }
    }

    /// A path below the share, if each of its names may be shared.
    pub(super) fn path(&self, below: &[u8]) -> Result<String, Reason> {
        below.split(|byte| *byte == b'/').try_fold(String::new(), |folder, name| self.entry(&folder, name))
    }

    /// The path of a record, from a path below the share. For the top, it is the prefix.
    pub(super) fn full(&self, below: &str) -> String {
        match (self.prefix.is_empty(), below.is_empty()) {
            (true, _) => below.to_owned(),
            (false, true) => self.prefix.clone(),
            (false, false) => format!("{}/{below}", self.prefix),
        }
    }

    /// The path below this share, from the path of a record. None if the path belongs to another
    /// share.
    pub(super) fn below<'p>(&self, full: &'p str) -> Option<&'p str> {
        let (first, rest) = full.split_once('/').unwrap_or((full, ""));
        if self.prefix.is_empty() {
            (!self.covered.iter().any(|covered| covered == first)).then_some(full)
        } else {
            (first == self.prefix).then_some(rest)
        }
    }
}

/// The name of one entry of a folder of the share, if it may be shared.
fn visible(name: &[u8]) -> Result<&str, Reason> {
    if name.ends_with(b".part") || name.ends_with(b".part.map") {
        return Err(Reason::Part);
    }
    if name.starts_with(b".") {
        return Err(Reason::Hidden);
    }
    std::str::from_utf8(name).map_err(|_| Reason::NotUtf8)
}

/// Whether a share may have this name. It must be one visible component of a path.
pub(crate) fn is_share_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains('/') && visible(name.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_share_goes_before_its_paths() {
        let music = Names::new("music".to_owned(), Vec::new());
        assert_eq!(music.full("a/b"), "music/a/b");
        assert_eq!(music.full(""), "music");
        assert_eq!(music.below("music/a/b"), Some("a/b"));
        assert_eq!(music.below("music"), Some(""));
        assert_eq!(music.below("musical/a"), None);
        let plain = Names::new(String::new(), vec!["music".to_owned()]);
        assert_eq!(plain.below("a/music"), Some("a/music"));
        assert_eq!(plain.below("music/a"), None);
        assert_eq!(plain.entry("", b"music"), Err(Reason::Covered));
        assert_eq!(plain.entry("a", b"music"), Ok("a/music".to_owned()));
    }

    #[test]
    fn the_prefix_counts_in_the_length_of_a_path() {
        let fits = "x".repeat(PATH_BYTES_MAX - "music/".len());
        let music = Names::new("music".to_owned(), Vec::new());
        assert!(music.path(fits.as_bytes()).is_ok());
        assert_eq!(music.path(format!("{fits}x").as_bytes()), Err(Reason::TooLong));
        assert!(Names::default().path(format!("{fits}x").as_bytes()).is_ok());
    }

    #[test]
    fn a_path_with_a_hidden_name_is_hidden() {
        for (path, reason) in [
            (&b"a/.git/x"[..], Reason::Hidden),
            (b".x.part", Reason::Part),
            (b"x.part", Reason::Part),
            (b".x.part.map", Reason::Part),
            (b"a/\xff", Reason::NotUtf8),
        ] {
            assert_eq!(Names::default().path(path), Err(reason));
        }
        assert!(is_share_name("music") && !is_share_name("") && !is_share_name("a/b") && !is_share_name(".."));
    }
}
