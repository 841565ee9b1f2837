//! Entries: what is registered, each once however many hold it, and the keys under which it is
//! found.

use super::slots::{Slots, chunk_of};
use super::texts::{Place, Texts};
use super::tokens;
use crate::config::INDEX_ENTRIES_MAX;
use crate::wire::record::name_of;
use crate::wire::{FileRecord, Root};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

#[derive(Debug)]
pub(super) struct Entries {
    list: Slots<Entry>,
    texts: Texts,
    /// One for each [`Class`].
    secrets: [RapidSecrets; Class::COUNT],
}

/// 48 bytes; the bytes of the path are in the texts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) root: Root,
    size: [u32; 2],
    place: Place,
    /// A holder, which may be gone, `SHARED` and the number of a list of holders, `DEAD` or `FREE`.
    pub(super) holders: u32,
}

/// No holder; in the postings until tidied.
pub(super) const DEAD: u32 = u32::MAX;
/// The slot is not in use.
pub(super) const FREE: u32 = u32::MAX - 1;
/// More than one holder.
pub(super) const SHARED: u32 = 1 << 31;
/// Places among the keys of a record; words follow.
pub(super) const ROOT: usize = 0;
pub(super) const NAME: usize = 1;

/// What a key is the hash of.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Path = 0,
    Name = 1,
    Word = 2,
    Root = 3,
    /// Path, size and root together; only for entries whose root has a long list, where it finds
    /// one's equal.
    Identity = 4,
}

/// The hash of a key. rapidhash V3 with secrets from the seed. It is no cryptographic hash, but its
/// values and the order of a table are never shown, so that an attacker who does not know the seed
/// cannot choose names that collide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::proto) struct Key(pub(super) u64);

impl Class {
    const COUNT: usize = 5;
}

impl Entries {
    pub(super) fn new(seed: u64) -> Entries {
        Entries {
            list: Slots::new(),
            texts: Texts::default(),
            secrets: std::array::from_fn(|class| RapidSecrets::seed(seed ^ class as u64)),
        }
    }

    /// Entries that are in use, dead ones included.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of all entries and paths.
    pub(super) fn bytes(&self) -> usize {
        self.list.len() * size_of::<Entry>() + self.texts.bytes()
    }

    pub(super) fn at(&self, id: u32) -> &Entry {
        self.list.at(id)
    }

    /// The holders of an entry; `FREE` if there is no such entry any more.
    pub(super) fn holders(&self, id: u32) -> u32 {
        self.list.find(id).map_or(FREE, |entry| entry.holders)
    }

    pub(super) fn set_holders(&mut self, id: u32, holders: u32) {
        self.list.at_mut(id).holders = holders;
    }

    /// All entries, free ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.list.iter()
    }

    pub(super) fn path(&self, id: u32) -> &str {
        self.texts.text(id, self.at(id).place)
    }

    pub(super) fn path_key(&self, id: u32) -> Key {
        self.key(Class::Path, self.path(id).as_bytes())
    }

    pub(super) fn add(&mut self, record: &FileRecord) -> u32 {
        let [high, low] =
            [record.size >> 32, record.size & 0xffff_ffff].map(|half| u32::try_from(half).expect("half of a u64"));
        assert!(self.list.len() < INDEX_ENTRIES_MAX, "a full index takes nothing new");
        let place = Place::default();
        let id = self.list.insert(Entry { root: record.root, size: [high, low], place, holders: DEAD });
        self.list.at_mut(id).place = self.texts.add(id, record.path.as_str());
        id
    }

    pub(super) fn free(&mut self, id: u32) {
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
    }

    pub(super) fn key(&self, class: Class, bytes: &[u8]) -> Key {
        Key(rapidhash_v3_seeded(bytes, &self.secrets[class as usize]))
    }

    pub(super) fn identity_key(&self, record: &FileRecord) -> Key {
        self.identity(record.path.as_str(), record.size, &record.root)
    }

    pub(super) fn identity_of(&self, id: u32) -> Key {
        let entry = self.at(id);
        self.identity(self.path(id), entry.size(), &entry.root)
    }

    pub(super) fn identity(&self, path: &str, size: u64, root: &Root) -> Key {
        let path = self.key(Class::Identity, path.as_bytes()).0;
        let mut all = [0; 48];
        all[..32].copy_from_slice(&root.0);
        all[32..40].copy_from_slice(&size.to_be_bytes());
        all[40..].copy_from_slice(&path.to_be_bytes());
        self.key(Class::Identity, &all)
    }

    /// The keys of an entry: its root, its name and every word of it; a word that is there twice
    /// comes twice.
    pub(super) fn each_key(&self, id: u32, scratch: &mut String, each: impl FnMut(Key)) {
        self.each_key_of(self.path(id), &self.at(id).root, scratch, each);
    }

    pub(super) fn each_key_of(&self, path: &str, root: &Root, scratch: &mut String, mut each: impl FnMut(Key)) {
        let name = name_of(path);
        each(self.key(Class::Root, &root.0));
        each(self.key(Class::Name, name.as_bytes()));
        tokens::for_each(name, scratch, |word| each(self.key(Class::Word, word.as_bytes())));
    }
}

impl Entry {
    pub(super) fn size(&self) -> u64 {
        u64::from(self.size[0]) << 32 | u64::from(self.size[1])
    }
}
