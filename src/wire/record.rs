//! The file record and the cuts of a search: what sessions and datagrams have in common.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ids::Root;
use crate::config::{ACCOUNT_NAME_BYTES_MAX, PATH_BYTES_MAX, RANGE_BYTES_MAX};

/// The path of a file below its share: 1 to 700 bytes of UTF-8 in components separated by `/`, none
/// of which is empty, `.` or `..` (PROTOCOL.md §3.1).
///
/// It comes from strangers and may hold anything else (NUL, escapes): it is a label to search and
/// to show through an escaping formatter, never a path to open.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePath(Box<str>);

impl SharePath {
    /// The path, if its length and its components are allowed.
    #[must_use]
    pub fn new(path: &str) -> Option<SharePath> {
        let mut parts = path.split('/');
        let allowed = path.len() <= PATH_BYTES_MAX && parts.all(|part| !matches!(part, "" | "." | ".."));
        allowed.then(|| SharePath(path.into()))
    }

    /// The path of a file in a folder of a path, which both come from a `SharePath`; at the top if
    /// the folder is empty.
    #[must_use]
    #[inline]
    pub(crate) fn joined(folder: &str, name: &str) -> SharePath {
        let path: Box<str> = if folder.is_empty() { name.into() } else { [folder, "/", name].concat().into() };
        debug_assert!(SharePath::new(&path).is_some());
        SharePath(path)
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component, by which files are searched.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.0)
    }
}

/// The last component of a path.
#[must_use]
pub fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Whether a path is `name`, or ends in it as its last components.
#[must_use]
pub fn is_named(path: &str, name: &str) -> bool {
    match path.strip_suffix(name) {
        Some("") => true,
        Some(folder) => folder.ends_with('/'),
        None => false,
    }
}

/// The folder of a path, empty at the top, and its last component.
#[must_use]
#[inline]
pub fn split_path(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl fmt::Debug for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for SharePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SharePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharePath, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = SharePath;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a path of 1 to {PATH_BYTES_MAX} bytes without an empty, `.` or `..` component")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SharePath, E> {
                // Without the text: it is a stranger's, and may be long.
                SharePath::new(text).ok_or_else(|| E::invalid_value(de::Unexpected::Other("another text"), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A file that a weak peer offers. The name is the last component of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where the file lies below the share.
    #[serde(rename = "p")]
    pub path: SharePath,
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// BLAKE3-256 of the content.
    #[serde(rename = "r")]
    pub root: Root,
    /// The content is a collection: the list of the files of a folder.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub collection: bool,
}

/// Why parts of the network were not searched, counted by reason: links, or hits for `cap`. All
/// zero: complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Links not followed because no hop was left.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u32,
    /// Links that answered, but whose answer was incomplete when the budget ended; also cuts for a
    /// reason that this version does not know, so that no incomplete answer is taken for complete.
    #[serde(skip_serializing_if = "is_zero")]
    pub loss: u32,
    /// Links that gave no answer before the budget ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub budget: u32,
    /// Links known to be down.
    #[serde(skip_serializing_if = "is_zero")]
    pub down: u32,
    /// Places where a cap on hits or on scanned entries was reached.
    #[serde(skip_serializing_if = "is_zero")]
    pub cap: u32,
    /// Links that refused the query because of load or a full table.
    #[serde(skip_serializing_if = "is_zero")]
    pub shed: u32,
    /// Links whose tree was stale (policy `tree`).
    #[serde(skip_serializing_if = "is_zero")]
    pub stale: u32,
    /// Super peers that were restarted and still wait for their peers.
    #[serde(skip_serializing_if = "is_zero")]
    pub starting: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
pub(crate) fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Cut {
    /// Nothing was cut.
    pub const NONE: Cut = Cut { ttl: 0, loss: 0, budget: 0, down: 0, cap: 0, shed: 0, stale: 0, starting: 0 };

    /// Whether nothing was cut for any reason.
    #[must_use]
    #[inline]
    pub fn is_none(&self) -> bool {
        *self == Cut::NONE
    }

    /// Adds the other's counts, each saturating.
    pub fn add(&mut self, other: Cut) {
        let Cut { ttl, loss, budget, down, cap, shed, stale, starting } = other;
        for (mine, theirs) in [
            (&mut self.ttl, ttl),
            (&mut self.loss, loss),
            (&mut self.budget, budget),
            (&mut self.down, down),
            (&mut self.cap, cap),
            (&mut self.shed, shed),
            (&mut self.stale, stale),
            (&mut self.starting, starting),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }
}

impl<'de> Deserialize<'de> for Cut {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cut, D::Error> {
        struct Reasons;
        impl<'de> de::Visitor<'de> for Reasons {
            type Value = Cut;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cuts by reason")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Cut, A::Error> {
                let mut cut = Cut::NONE;
                while let Some((reason, count)) = map.next_entry::<String, u32>()? {
                    let sum = match reason.as_str() {
                        "ttl" => &mut cut.ttl,
                        "budget" => &mut cut.budget,
                        "down" => &mut cut.down,
                        "cap" => &mut cut.cap,
                        "shed" => &mut cut.shed,
                        "stale" => &mut cut.stale,
                        "starting" => &mut cut.starting,
                        _ => &mut cut.loss,
                    };
                    *sum = sum.saturating_add(count);
                }
                Ok(cut)
            }
        }
        deserializer.deserialize_struct("Cut", &[], Reasons)
    }
}

/// What a pattern is matched against, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryKind {
    /// All words of the pattern are words of the path, in any order, folded. The path that is the
    /// pattern or ends in it comes first, then those that have all words in their name.
    Words,
    /// The name, byte for byte.
    Exact,
    /// The path that is the pattern or ends in it, folded; then the complete name, or the path if
    /// the pattern has a `/`, matches the pattern with `*`, `?` and `[…]`, folded.
    Glob,
    /// The content with this root, written as 64 hex digits; then the name that is equal to it.
    Root,
    /// Everything between two positions, written `LOW-HIGH` in hex digits: a page of the list of
    /// all files.
    Range,
    /// The path is the pattern, or ends in `/` and the pattern, folded; byte for byte first.
    Path,
    /// The path begins with the pattern and `/`, folded: what is below a folder.
    Below,
    /// A kind that this version does not know; never sent, made by the decoder.
    #[serde(other)]
    Unknown,
}

impl QueryKind {
    /// The kind that a bare pattern means: 64 hex digits are a root, `*?[` make a glob, anything
    /// else is words.
    #[must_use]
    pub fn of(pattern: &str) -> QueryKind {
        if Root::from_hex(pattern).is_some() {
            QueryKind::Root
        } else if pattern.contains(['*', '?', '[']) {
            QueryKind::Glob
        } else {
            QueryKind::Words
        }
    }
}

/// How a query spreads over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// A copy over every link: the reference for the others.
    Flood,
    /// As flood, but the last hop leaves out neighbors whose digest rules out a match.
    Digest,
    /// As digest, again and again with a higher ttl, until the limit on hits is reached.
    Ring,
    /// Over the spanning tree. If there is none, or if it turns out to be broken, as digest.
    Tree,
    /// A policy that this version does not know; never sent, made by the decoder, answered by an
    /// ERROR.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        match text {
            "flood" => Ok(Policy::Flood),
            "digest" => Ok(Policy::Digest),
            "ring" => Ok(Policy::Ring),
            "tree" => Ok(Policy::Tree),
            other => Err(format!("{other:?} is none of flood, digest, ring and tree")),
        }
    }
}

/// A policy in a field that is present. The field may be absent, but it is never `nil`.
pub(crate) fn some_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    Policy::deserialize(deserializer).map(Some)
}

/// The name of an account in a [`Search`]. Few searches have one, so it takes only a pointer in the
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(Box<Text>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(String);

impl UserName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl From<String> for UserName {
    fn from(name: String) -> UserName {
        UserName(Box::new(Text(name)))
    }
}

impl Serialize for UserName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is looked for: the same fields in a session's QUERY and in a datagram's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The pattern, 1 to 256 bytes.
    #[serde(rename = "q", deserialize_with = "pattern")]
    pub pattern: String,
    /// How the pattern is matched.
    #[serde(rename = "k")]
    pub kind: QueryKind,
    /// Smallest size that counts, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// Largest size that counts, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Most hits wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only hits whose position is in this range, written `LOW-HIGH` in hex digits: a page.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none", deserialize_with = "some_range")]
    pub within: Option<Box<str>>,
    /// Members of swarms count as sources too, even if they have only a part of the content.
    #[serde(rename = "part", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// In login mode: only files that the account of this name shares, of 1 to
    /// [`ACCOUNT_NAME_BYTES_MAX`] bytes.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none", deserialize_with = "some_user")]
    pub user: Option<UserName>,
}

impl Search {
    /// A search without any limit.
    #[must_use]
    pub fn new(pattern: impl Into<String>, kind: QueryKind) -> Search {
        let pattern = pattern.into();
        Search { pattern, kind, min: None, max: None, limit: None, within: None, partial: false, user: None }
    }

    /// Whether only a page of all positions is asked for.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.kind == QueryKind::Range || self.within.is_some()
    }
}

/// The pattern of a [`Search`]: 1 to 256 bytes.
pub(crate) fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use crate::config::PATTERN_BYTES_MAX;
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a pattern of 1 to {PATTERN_BYTES_MAX} bytes")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            if (1..=PATTERN_BYTES_MAX).contains(&text.len()) {
                Ok(text.to_owned())
            } else {
                Err(E::invalid_length(text.len(), &self))
            }
        }
    }
    deserializer.deserialize_string(Text)
}

/// A text of at most [`RANGE_BYTES_MAX`] bytes; the machine reads what is in it.
fn some_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > RANGE_BYTES_MAX {
        return Err(de::Error::invalid_length(text.len(), &"a range of two positions"));
    }
    Ok(Some(text.into()))
}

/// The name of an account.
fn some_user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UserName>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if !(1..=ACCOUNT_NAME_BYTES_MAX).contains(&name.len()) {
        return Err(de::Error::invalid_length(name.len(), &"the name of an account"));
    }
    Ok(Some(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_last_component() {
        for (path, name) in [("a/b.txt", "b.txt"), ("b.txt", "b.txt"), ("a/..b", "..b"), ("...", "...")] {
            assert_eq!(SharePath::new(path).unwrap().name(), name);
        }
    }

    #[test]
    fn a_path_is_named_by_its_last_components() {
        for name in ["c.txt", "b/c.txt", "a/b/c.txt"] {
            assert!(is_named("a/b/c.txt", name), "{name}");
        }
        for name in [".txt", "/c.txt", "a/b", "x/a/b/c.txt", "C.txt"] {
            assert!(!is_named("a/b/c.txt", name), "{name}");
        }
    }

    #[test]
    fn a_path_has_a_length() {
        assert!(SharePath::new("").is_none());
        assert!(SharePath::new(&"x".repeat(701)).is_none());
        assert!(SharePath::new(&"x".repeat(700)).is_some());
    }

    #[test]
    fn a_path_goes_down_from_the_share_and_nowhere_else() {
        for path in ["/", "a/", "/a", "a//b", ".", "..", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b", "//"] {
            assert!(SharePath::new(path).is_none(), "{path}");
            let json = serde_json::to_string(path).unwrap();
            let error = serde_json::from_str::<SharePath>(&json).unwrap_err().to_string();
            assert!(error.contains("component"), "{error}");
        }
    }

    #[test]
    fn what_a_later_version_may_add_is_read() {
        let cut: Cut = serde_json::from_str(r#"{"ttl": 2, "moon": 3, "loss": 1}"#).unwrap();
        assert_eq!(cut, Cut { ttl: 2, loss: 4, ..Cut::NONE });
        let search: Search = serde_json::from_str(r#"{"q": "x", "k": "fuzzy"}"#).unwrap();
        assert_eq!(search.kind, QueryKind::Unknown);
        assert_eq!(serde_json::from_str::<Policy>("\"gossip\"").unwrap(), Policy::Unknown);
        assert!(serde_json::from_str::<Policy>("3").is_err());
    }

    #[test]
    fn a_bare_pattern_selects_its_kind() {
        assert_eq!(QueryKind::of(&"0f".repeat(32)), QueryKind::Root);
        assert_eq!(QueryKind::of("*.flac"), QueryKind::Glob);
        assert_eq!(QueryKind::of("blue train"), QueryKind::Words);
    }
}
