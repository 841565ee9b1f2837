//! A collection: the files of a folder as one content (PROTOCOL.md, "Collections"). The writer and
//! the reader hold only one record at a time, for any number of files. They do no I/O.
//!
//! A list of files has only one form, and so one root. A reader accepts no other order, no longer
//! form of a value, and no two paths that cannot both exist.

use std::cmp::Ordering;
use std::fmt;

use rmp::encode::{write_array_len, write_bin, write_bool, write_str, write_uint};

use super::ids::Root;
use super::record::SharePath;
use crate::config::PATH_BYTES_MAX;

/// The first value: `{"sprat": "collection", "v": 1}`.
pub const HEAD: &[u8] = b"\x82\xa5sprat\xaacollection\xa1v\x01";
/// The bytes of [`HEAD`] before the version.
const HEAD_UNVERSIONED: usize = HEAD.len() - 1;
/// Longest record: an array with a path and its length, a size, a root and a flag.
pub const RECORD_BYTES_MAX: usize = 1 + 3 + PATH_BYTES_MAX + 9 + 2 + Root::LEN + 1;

const TAKEN: &str = "writing to a Vec cannot fail";

/// One file of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its path below the folder.
    pub path: SharePath,
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3-256 of the content.
    pub root: Root,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Why bytes are not a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionError {
    /// The first value is not the head of a collection.
    Head,
    /// This program does not know the version.
    Version,
    /// A record is not `[path, size, root, executable]`, or a value is not in its shortest form.
    Record,
    /// A path is not one that a file can have.
    Path,
    /// A path is not greater than the path before it.
    Order,
    /// A path is that of a file and of a folder.
    Folder,
    /// The bytes end within a value.
    End,
}

impl CollectionError {
    /// One word for the reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            CollectionError::Head => "head",
            CollectionError::Version => "version",
            CollectionError::Record => "record",
            CollectionError::Path => "path",
            CollectionError::Order => "order",
            CollectionError::Folder => "folder",
            CollectionError::End => "end",
        }
    }
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CollectionError::Head => "it does not begin as a collection does",
            CollectionError::Version => "its version is not known; a newer sprat may read it",
            CollectionError::Record => "a record is not a path, a size, a root and a flag in their shortest forms",
            CollectionError::Path => "a path is not allowed",
            CollectionError::Order => "its paths are not sorted",
            CollectionError::Folder => "a path is a file and a folder",
            CollectionError::End => "it ends within a record",
        })
    }
}

impl std::error::Error for CollectionError {}

/// Checks the order of paths, one after the other. It holds the last path, and knows which earlier
/// paths it begins with.
#[derive(Clone, Debug, Default)]
struct Ladder {
    last: String,
    /// The lengths of the earlier paths with which `last` begins, and its own length, in ascending
    /// order.
    rungs: Vec<u16>,
}

impl Ladder {
    fn climb(&mut self, path: &str) -> Result<(), CollectionError> {
        let (old, new) = (self.last.as_bytes(), path.as_bytes());
        if !self.rungs.is_empty() && old.cmp(new) != Ordering::Less {
            return Err(CollectionError::Order);
        }
        let shared = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        self.rungs.retain(|rung| usize::from(*rung) <= shared);
        // Between a file and a path below it, all paths begin with the path of the file.
        if self.rungs.iter().any(|rung| new.get(usize::from(*rung)) == Some(&b'/')) {
            return Err(CollectionError::Folder);
        }
        let length = u16::try_from(new.len()).map_err(|_| CollectionError::Path)?;
        self.rungs.push(length);
        path.clone_into(&mut self.last);
        Ok(())
    }
}

/// Writes a collection.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    ladder: Ladder,
    begun: bool,
}

impl Writer {
    /// Appends a file. Before the first file, it appends the head.
    ///
    /// # Errors
    /// If the path is not greater than the last one, or lies below a file.
    pub fn add(&mut self, item: &Item, out: &mut Vec<u8>) -> Result<(), CollectionError> {
        let Item { path, size, root, executable } = item;
        self.ladder.climb(path.as_str())?;
        self.begin(out);
        write_array_len(out, 4).expect(TAKEN);
        write_str(out, path.as_str()).expect(TAKEN);
        write_uint(out, *size).expect(TAKEN);
        write_bin(out, &root.0).expect(TAKEN);
        write_bool(out, *executable).expect(TAKEN);
        Ok(())
    }

    /// Appends the head, unless it was appended before.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(HEAD);
        }
    }
}

/// Reads a collection that arrives in parts of any length.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    ladder: Ladder,
    begun: bool,
    held: Vec<u8>,
    /// How many bytes at the front of `held` were read.
    read: usize,
}

impl Reader {
    /// Adds the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.held.drain(..self.read);
            self.read = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next file; none if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are not a collection. Then nothing more can be read.
    pub fn item(&mut self) -> Result<Option<Item>, CollectionError> {
        if !self.begun {
            if !self.head()? {
                return Ok(None);
            }
            self.begun = true;
        }
        let mut rest = Rest(&self.held[self.read..]);
        let Some((item, length)) = rest.item()?.map(|item| (item, self.held.len() - self.read - rest.0.len())) else {
            return Ok(None);
        };
        self.ladder.climb(item.path.as_str())?;
        self.read += length;
        Ok(Some(item))
    }

    /// Checks the end, after all bytes were added and read.
    ///
    /// # Errors
    /// If the bytes end within a value.
    pub fn finish(&self) -> Result<(), CollectionError> {
        if self.begun && self.read == self.held.len() { Ok(()) } else { Err(CollectionError::End) }
    }

    /// Reads the head. Returns false if more bytes are needed.
    fn head(&mut self) -> Result<bool, CollectionError> {
        let known = self.held.len().min(HEAD_UNVERSIONED);
        if self.held[..known] != HEAD[..known] {
            return Err(CollectionError::Head);
        }
        match self.held.get(HEAD_UNVERSIONED) {
            None => Ok(false),
            Some(version) if *version == HEAD[HEAD_UNVERSIONED] => {
                self.read = HEAD.len();
                Ok(true)
            }
            // This is the number of another version.
            Some(0x00..=0x7f | 0xcc..=0xcf) => Err(CollectionError::Version),
            Some(_) => Err(CollectionError::Head),
        }
    }
}

/// The bytes that were not read. Each method returns none if more bytes are needed.
struct Rest<'b>(&'b [u8]);

type Part<T> = Result<Option<T>, CollectionError>;

impl<'b> Rest<'b> {
    fn item(&mut self) -> Part<Item> {
        let Some(array) = self.byte() else { return Ok(None) };
        if array != 0x94 {
            return Err(CollectionError::Record);
        }
        let Some(path) = self.path()? else { return Ok(None) };
        let Some(size) = self.number()? else { return Ok(None) };
        let Some(root) = self.root()? else { return Ok(None) };
        let executable = match self.byte() {
            None => return Ok(None),
            Some(0xc2) => false,
            Some(0xc3) => true,
            Some(_) => return Err(CollectionError::Record),
        };
        Ok(Some(Item { path, size, root, executable }))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of this many bytes. It must be at least `least`, so that no shorter form is
    /// possible.
    fn wide(&mut self, bytes: usize, least: u64) -> Part<u64> {
        let Some(taken) = self.take(bytes) else { return Ok(None) };
        let number = taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        if number < least { Err(CollectionError::Record) } else { Ok(Some(number)) }
    }

    fn number(&mut self) -> Part<u64> {
        match self.byte() {
            None => Ok(None),
            Some(small @ 0x00..=0x7f) => Ok(Some(u64::from(small))),
            Some(0xcc) => self.wide(1, 0x80),
            Some(0xcd) => self.wide(2, 0x100),
            Some(0xce) => self.wide(4, 0x1_0000),
            Some(0xcf) => self.wide(8, 0x1_0000_0000),
            Some(_) => Err(CollectionError::Record),
        }
    }

    fn path(&mut self) -> Part<SharePath> {
        let length = match self.byte() {
            None => None,
            Some(short @ 0xa0..=0xbf) => Some(u64::from(short & 0x1f)),
            Some(0xd9) => self.wide(1, 0x20)?,
            Some(0xda) => self.wide(2, 0x100)?,
            // A path is never that long.
            Some(0xdb) => return Err(CollectionError::Path),
            Some(_) => return Err(CollectionError::Record),
        };
        let Some(length) = length else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| CollectionError::Path)?;
        if length > PATH_BYTES_MAX {
            return Err(CollectionError::Path);
        }
        let Some(bytes) = self.take(length) else { return Ok(None) };
        let path = std::str::from_utf8(bytes).ok().and_then(SharePath::new);
        path.map(Some).ok_or(CollectionError::Path)
    }

    fn root(&mut self) -> Part<Root> {
        let Some(head) = self.take(2) else { return Ok(None) };
        if head != [0xc4, 0x20] {
            return Err(CollectionError::Record);
        }
        Ok(self.take(Root::LEN).and_then(|bytes| bytes.try_into().ok()).map(Root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str, size: u64) -> Item {
        Item { path: SharePath::new(path).unwrap(), size, root: Root([7; 32]), executable: size % 2 == 1 }
    }

    fn written(items: &[Item]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::default();
        items.iter().for_each(|item| writer.add(item, &mut out).unwrap());
        writer.begin(&mut out);
        out
    }

    /// Reads these bytes in parts of this length.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Item>, CollectionError> {
        let mut reader = Reader::default();
        let mut items = Vec::new();
        for part in bytes.chunks(step) {
            reader.feed(part);
            while let Some(item) = reader.item()? {
                items.push(item);
            }
            assert!(reader.held.len() <= RECORD_BYTES_MAX + step, "held {} bytes", reader.held.len());
        }
        reader.finish()?;
        Ok(items)
    }

    fn items() -> Vec<Item> {
        let sizes = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX];
        let mut paths: Vec<String> = [1, 31, 32, 255, 256, 700].map(|length| "p".repeat(length)).into_iter().collect();
        paths.extend(["a/b", "a-b", "ab/c", "é/x"].map(str::to_owned));
        paths.sort_unstable();
        paths.iter().zip(sizes.into_iter().cycle()).map(|(path, size)| item(path, size)).collect()
    }

    #[test]
    fn what_is_written_is_read_in_parts_of_any_length() {
        let bytes = written(&items());
        for step in [1, 2, 7, 1000, bytes.len()] {
            assert_eq!(read(&bytes, step), Ok(items()), "{step}");
        }
        assert_eq!(read(HEAD, 3), Ok(Vec::new()), "a collection may be empty");
        let ends: Vec<usize> = (0..bytes.len()).filter(|end| read(&bytes[..*end], 64).is_ok()).collect();
        assert_eq!(ends.len(), items().len(), "it may end between two records only: {ends:?}");
    }

    #[test]
    fn paths_are_sorted_distinct_and_no_file_is_a_folder() {
        let order = |paths: &[&str]| {
            let mut writer = Writer::default();
            paths.iter().try_for_each(|path| writer.add(&item(path, 1), &mut Vec::new()))
        };
        assert_eq!(order(&["a", "a-b", "a.b", "a0", "ab", "b/c", "b/d"]), Ok(()));
        assert_eq!(order(&["b", "a"]), Err(CollectionError::Order));
        assert_eq!(order(&["a", "a"]), Err(CollectionError::Order));
        assert_eq!(order(&["a", "a/b"]), Err(CollectionError::Folder));
        assert_eq!(order(&["a", "a-b", "a-b-c", "a.c", "a/b"]), Err(CollectionError::Folder));
        assert_eq!(order(&["a", "a b", "a b c", "a b c/d"]), Err(CollectionError::Folder));
        assert_eq!(order(&["a-", "a-b", "a/b", "a0"]), Ok(()));
    }

    #[test]
    fn only_the_shortest_form_is_accepted() {
        let record = |bytes: &[u8]| read(&[HEAD, bytes].concat(), 50);
        let tail = |size: &[u8], flag: &[u8]| [b"\x94\xa1a", size, b"\xc4\x20", &[7; 32], flag].concat();
        assert!(record(&tail(b"\x05", b"\xc2")).is_ok());
        for size in [&b"\xcc\x05"[..], b"\xcd\x00\xff", b"\xce\x00\x00\xff\xff", b"\xcf\0\0\0\0\xff\xff\xff\xff"] {
            assert_eq!(record(&tail(size, b"\xc2")), Err(CollectionError::Record), "{size:?}");
        }
        for size in [&b"\xd0\x05"[..], b"\xff", b"\xc0", b"\xca\0\0\0\0"] {
            assert_eq!(record(&tail(size, b"\xc2")), Err(CollectionError::Record), "{size:?}");
        }
        assert_eq!(record(&tail(b"\x05", b"\x01")), Err(CollectionError::Record));
        assert_eq!(record(b"\x95"), Err(CollectionError::Record));
        assert_eq!(record(b"\xdc\x00\x04"), Err(CollectionError::Record));
        assert_eq!(record(b"\x94\xd9\x01a"), Err(CollectionError::Record));
        assert_eq!(record(b"\x94\xda\x00\x20"), Err(CollectionError::Record));
        assert_eq!(record(b"\x94\xdb\x00\x00\x00\x01a"), Err(CollectionError::Path));
        for path in [&b"\xa0"[..], b"\xa1.", b"\xa2..", b"\xa3a/.", b"\xa2a/", b"\xa2/a", b"\xa4a//b", b"\xa1\xff"] {
            assert_eq!(record(&[b"\x94", path].concat()), Err(CollectionError::Path), "{path:?}");
        }
        assert_eq!(record(b"\x94\xda\x02\xbd"), Err(CollectionError::Path), "701 bytes");
    }

    #[test]
    fn another_head_is_refused_as_soon_as_it_is_seen() {
        let mut other = HEAD.to_vec();
        other[HEAD_UNVERSIONED] = 2;
        assert_eq!(read(&other, 64), Err(CollectionError::Version));
        assert_eq!(read(b"\x82\xa5spray", 1), Err(CollectionError::Head));
        assert_eq!(read(b"hello", 1), Err(CollectionError::Head));
        assert_eq!(read(b"", 1), Err(CollectionError::End));
    }
}
