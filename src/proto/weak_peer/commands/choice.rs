//! Which content the hits of a `get` mean. Contents are told apart by root and size, never by name.

use std::collections::BTreeMap;

use crate::wire::message::SourceRecord;
use crate::wire::{QueryKind, Root};

/// What a `get` found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing.
    None,
    /// One content.
    One {
        /// Its identity.
        root: Root,
        /// Its length in bytes.
        size: u64,
        /// What to call it.
        name: String,
    },
    /// So many different contents.
    Many(usize),
}

/// Of the hits of a name those count whose name is exactly this, or all if none is. For a root, whose length nobody can have
/// right but those who have it, the length that most sources tell is believed; the transfer proves it.
pub(super) fn choose(what: &str, hits: &[SourceRecord]) -> Choice {
    let exact = |record: &&SourceRecord| record.path.name() == what;
    let only_exact = hits.iter().any(|record| exact(&record));
    let mut contents: BTreeMap<(Root, u64), (usize, &SourceRecord)> = BTreeMap::new();
    for record in hits.iter().filter(|record| !only_exact || exact(record)) {
        contents.entry((record.root, record.size)).or_insert((0, record)).0 += 1;
    }
    let many = contents.len();
    let by_root = QueryKind::of(what) == QueryKind::Root;
    let most = contents.into_iter().max_by_key(|(_, (sources, _))| *sources);
    match most {
        None => Choice::None,
        Some(_) if many > 1 && !by_root => Choice::Many(many),
        Some(((root, size), (_, record))) => Choice::One { root, size, name: record.path.name().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SharePath;

    fn hit(path: &str, root: u8, size: u64, port: u16) -> SourceRecord {
        let addr = crate::wire::HostPort::new("192.0.2.1", port).unwrap();
        SourceRecord { path: SharePath::new(path).unwrap(), size, root: Root([root; 32]), addr }
    }

    #[test]
    fn an_exact_name_goes_before_others() {
        let hits = [hit("a/train two.mp3", 1, 5, 1), hit("b/train.mp3", 2, 6, 2), hit("train.mp3", 2, 6, 3)];
        let one = Choice::One { root: Root([2; 32]), size: 6, name: "train.mp3".into() };
        assert_eq!(choose("train.mp3", &hits), one);
        assert_eq!(choose("train", &hits), Choice::Many(2));
    }

    #[test]
    fn one_name_of_two_contents_is_two_results() {
        assert_eq!(choose("x", &[hit("x", 1, 5, 1), hit("y/x", 2, 5, 2)]), Choice::Many(2));
        assert_eq!(choose("x", &[hit("x", 1, 5, 1), hit("x", 1, 6, 2)]), Choice::Many(2));
        assert_eq!(choose("x", &[]), Choice::None);
    }

    #[test]
    fn a_root_is_one_content_of_the_length_that_most_tell() {
        let root = Root([1; 32]).to_string();
        let hits = [hit("x", 1, 9, 1), hit("x", 1, 5, 2), hit("y", 1, 5, 3)];
        assert_eq!(choose(&root, &hits), Choice::One { root: Root([1; 32]), size: 5, name: "x".into() });
    }
}
