//! Entries: what is registered, each once however many hold it, and the keys under which it is
//! found.

use super::folders::{Folders, TOP};
use super::slots::{Slots, chunk_of};
use super::texts::{Place, Texts};
use crate::config::INDEX_ENTRIES_MAX;
use crate::fold;
use crate::wire::record::split_path;
use crate::wire::{FileRecord, Root};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

#[derive(Debug)]
pub(super) struct Entries {
    list: Slots<Entry>,
    texts: Texts,
    pub(super) folders: Folders,
    hashes: Hashes,
}

/// 52 bytes; the bytes of the name are in the texts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) root: Root,
    size: [u32; 2],
    place: Place,
    /// One of these: a holder, which may be gone; `SHARED` with the number of a list of holders;
    /// `DEAD`; `FREE`.
    pub(super) holders: u32,
    /// The folder, and `COLLECTION`.
    folder: u32,
}

/// The entry has no holder. It stays in the postings until `tidy` removes it.
pub(super) const DEAD: u32 = u32::MAX;
/// The slot is not in use.
pub(super) const FREE: u32 = u32::MAX - 1;
/// More than one holder.
pub(super) const SHARED: u32 = 1 << 31;
/// The content is a collection.
const COLLECTION: u32 = 1 << 31;
/// The place of this key in the list of the keys of a record. The keys of the words follow these
/// two.
pub(super) const ROOT: usize = 0;
pub(super) const NAME: usize = 1;

const _: () = assert!(TOP & COLLECTION == 0 && INDEX_ENTRIES_MAX < TOP as usize);

/// What a key is the hash of.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// A name, byte for byte. Together with the number of the folder, it is the key of a path.
    Path = 0,
    /// A folded name.
    Name = 1,
    /// A word of a name or of a folder.
    Word = 2,
    Root = 3,
    /// Path, size and root together. Only an entry whose root has many entries has this key. An
    /// equal entry is then found by this key.
    Identity = 4,
    /// A folder.
    Folder = 5,
}

/// The hash of a key. rapidhash V3 with secrets from the seed. It is no cryptographic hash, but its
/// values and the order of a table are never shown, so that an attacker who does not know the seed
/// cannot choose names that collide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::proto) struct Key(pub(super) u64);

/// One seed for each [`Class`].
#[derive(Debug)]
struct Hashes([RapidSecrets; Class::COUNT]);

impl Class {
    const COUNT: usize = 6;
}

impl Hashes {
    #[inline]
    fn of(&self, class: Class, bytes: &[u8]) -> u64 {
        rapidhash_v3_seeded(bytes, &self.0[class as usize])
    }
}

impl Entries {
    pub(super) fn new(seed: u64) -> Entries {
        let hashes = Hashes(std::array::from_fn(|class| RapidSecrets::seed(seed ^ class as u64)));
        Entries { list: Slots::new(), texts: Texts::default(), folders: Folders::new(), hashes }
    }

    /// Entries that are in use, dead ones included.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of all entries and paths.
    pub(super) fn bytes(&self) -> usize {
        self.list.len() * size_of::<Entry>() + self.texts.bytes() + self.folders.bytes()
    }

    #[inline]
    pub(super) fn at(&self, id: u32) -> &Entry {
        self.list.at(id)
    }

    /// The holders of an entry; `FREE` if there is no such entry any more.
    #[inline]
    pub(super) fn holders(&self, id: u32) -> u32 {
        self.list.find(id).map_or(FREE, |entry| entry.holders)
    }

    /// The entry of this number, which may be gone.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<&Entry> {
        self.list.find(id)
    }

    pub(super) fn set_holders(&mut self, id: u32, holders: u32) {
        self.list.at_mut(id).holders = holders;
    }

    /// All entries, free ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.list.iter()
    }

    #[inline]
    pub(super) fn name(&self, id: u32) -> &str {
        self.name_of(id, self.at(id))
    }

    /// The name of an entry that was looked up.
    #[inline]
    pub(super) fn name_of(&self, id: u32, entry: &Entry) -> &str {
        self.texts.text(id, entry.place)
    }

    /// The text of the folder of an entry, not folded.
    #[inline]
    pub(super) fn folder_of(&self, entry: &Entry) -> &str {
        self.folders.text(entry.folder())
    }

    /// The folder of this text, if any entry is in it.
    pub(super) fn find_folder(&self, text: &str) -> Option<u32> {
        self.folders.find(text, || self.hashes.of(Class::Folder, text.as_bytes()))
    }

    #[inline]
    pub(super) fn path_key(&self, folder: u32, name: &str) -> Key {
        Key(self.hashes.of(Class::Path, name.as_bytes()) ^ mixed(folder))
    }

    #[inline]
    pub(super) fn path_key_of(&self, id: u32) -> Key {
        self.path_key(self.at(id).folder(), self.name(id))
    }

    /// Adds the entry of a record. Without a `folder`, it also makes the folder. Returns the entry,
    /// and the number of words of a folder that was made.
    pub(super) fn add(&mut self, record: &FileRecord, folder: Option<u32>, scratch: &mut String) -> (u32, usize) {
        let [high, low] =
            [record.size >> 32, record.size & 0xffff_ffff].map(|half| u32::try_from(half).expect("half of a u64"));
        assert!(self.list.len() < INDEX_ENTRIES_MAX, "a full index takes nothing new");
        let (text, name) = split_path(record.path.as_str());
        let (folder, words) = folder.map_or_else(|| self.add_folder(text, scratch), |folder| (folder, 0));
        let flags = if record.collection { COLLECTION } else { 0 };
        let (root, place) = (record.root, Place::default());
        let entry = Entry { root, size: [high, low], place, holders: DEAD, folder: folder | flags };
        let id = self.list.insert(entry);
        self.list.at_mut(id).place = self.texts.add(id, name);
        self.folders.insert(folder, id);
        (id, words)
    }

    fn add_folder(&mut self, text: &str, scratch: &mut String) -> (u32, usize) {
        let words = self.word_keys(text, scratch);
        let count = words.len();
        let Entries { folders, hashes, .. } = self;
        (folders.add(text, |text| hashes.of(Class::Folder, text.as_bytes()), words.into_iter()), count)
    }

    /// Frees an entry. If it was the last entry of its folder, also frees the folder, and returns
    /// the number of words of the folder. Otherwise returns 0.
    pub(super) fn free(&mut self, id: u32, scratch: &mut String) -> usize {
        let folder = self.at(id).folder();
        let mut count = 0;
        if let Some(text) = self.folders.leave(folder, id) {
            let words = self.word_keys(&text, scratch);
            count = words.len();
            self.folders.remove(folder, self.hashes.of(Class::Folder, text.as_bytes()), words.into_iter());
        }
        let Entries { list, texts, .. } = self;
        let (entry, chunk) = (list.at_mut(id), chunk_of(id));
        entry.holders = FREE;
        texts.remove(id, entry.place);
        if list.free(id) {
            texts.forget(chunk);
        } else if texts.is_wasteful(chunk) {
            let used = list.chunk_mut(chunk).iter_mut().filter(|entry| entry.holders != FREE);
            texts.compact(chunk, used.map(|entry| &mut entry.place));
        }
        count
    }

    pub(super) fn key(&self, class: Class, bytes: &[u8]) -> Key {
        Key(self.hashes.of(class, bytes))
    }

    /// The keys of the words of a text.
    fn word_keys(&self, text: &str, scratch: &mut String) -> Vec<u64> {
        let mut keys = Vec::new();
        fold::for_each_word(fold::fold(text, scratch), |word| keys.push(self.hashes.of(Class::Word, word.as_bytes())));
        keys
    }

    pub(super) fn identity_key(&self, record: &FileRecord, folder: u32) -> Key {
        let path = self.path_key(folder, split_path(record.path.as_str()).1);
        self.identity(path, record.size, &record.root)
    }

    pub(super) fn identity_of(&self, id: u32) -> Key {
        let entry = self.at(id);
        self.identity(self.path_key_of(id), entry.size(), &entry.root)
    }

    fn identity(&self, path: Key, size: u64, root: &Root) -> Key {
        let mut all = [0; 48];
        all[..32].copy_from_slice(&root.0);
        all[32..40].copy_from_slice(&size.to_be_bytes());
        all[40..].copy_from_slice(&path.0.to_be_bytes());
        self.key(Class::Identity, &all)
    }

    /// The keys of an entry: its root, its folded name and every word of it; a word that is there
    /// twice comes twice. The words of its folder belong to the folder.
    pub(super) fn each_key(&self, id: u32, scratch: &mut String, each: impl FnMut(Key)) {
        self.each_key_of(self.name(id), &self.at(id).root, scratch, each);
    }

    pub(super) fn each_key_of(&self, name: &str, root: &Root, scratch: &mut String, mut each: impl FnMut(Key)) {
        let folded = fold::fold(name, scratch);
        each(self.key(Class::Root, &root.0));
        each(self.key(Class::Name, folded.as_bytes()));
        fold::for_each_word(folded, |word| each(self.key(Class::Word, word.as_bytes())));
    }

    /// Asserts that every entry is in its folder, and every folder under its words.
    pub(super) fn check_folders(&self) {
        let mut files = 0;
        self.folders.check(
            |text| self.hashes.of(Class::Folder, text.as_bytes()),
            |folder, text, len| {
                files += len;
                for word in self.word_keys(text, &mut String::new()) {
                    let found = self.folders.with_word(word).next(folder);
                    assert_eq!(found, Some(folder), "a folder is in the postings of its words");
                }
            },
        );
        let in_folders = self.iter().filter(|(_, entry)| entry.holders != FREE && entry.folder() != TOP);
        for (id, entry) in in_folders {
            assert_eq!(self.folders.next_file(entry.folder(), id), Some(id), "an entry is in its folder");
            files -= 1;
        }
        assert_eq!(files, 0, "nothing else is in a folder");
    }
}

impl Entry {
    pub(super) fn size(&self) -> u64 {
        u64::from(self.size[0]) << 32 | u64::from(self.size[1])
    }

    pub(super) fn folder(&self) -> u32 {
        self.folder & !COLLECTION
    }

    pub(super) fn is_collection(&self) -> bool {
        self.folder & COLLECTION != 0
    }

    /// Whether this is the content of the record; its path is not compared.
    pub(super) fn has_content_of(&self, record: &FileRecord) -> bool {
        self.root == record.root && self.size() == record.size && self.is_collection() == record.collection
    }
}

/// A number of which each bit depends on the folder, so that equal names in two folders have
/// different keys.
fn mixed(folder: u32) -> u64 {
    u64::from(folder).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
