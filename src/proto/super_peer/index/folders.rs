//! The folders of all paths, each once: its text, the files in it, and its words.
//!
//! The files of a folder share its text and the postings of its words. If there are ten files, each
//! record costs a tenth of these bytes. A folder is there as long as an entry is in it, dead
//! entries included.

use super::postings::Postings;
use super::slots::Slots;
use super::table::{FileSet, Found, KeyTable};

/// Files at the top of a share are in no folder.
pub(super) const TOP: u32 = (1 << 31) - 1;

#[derive(Debug)]
pub(super) struct Folders {
    list: Slots<Folder>,
    by_text: FileSet,
    /// Word → folders that have it.
    words: KeyTable,
    all: Postings,
    /// Bytes of all texts.
    text_bytes: usize,
    /// The folder of the last file: most often the next one is in it too.
    last: u32,
}

/// 40 bytes, and its text and files.
#[derive(Debug)]
struct Folder {
    /// Not empty, except in a slot that is free.
    text: Box<str>,
    /// The entries in it, not those in folders below it.
    files: Postings,
}

impl Folders {
    pub(super) fn new() -> Folders {
        let (list, by_text, words) = (Slots::new(), FileSet::default(), KeyTable::new());
        Folders { list, by_text, words, all: Postings::new(), text_bytes: 0, last: TOP }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of the folders, of their texts and of the table of words, without the postings.
    pub(super) fn bytes(&self) -> usize {
        self.list.len() * size_of::<Folder>() + self.text_bytes + self.words.bytes()
    }

    /// The text of a folder; empty for [`TOP`] and for one that is gone.
    #[inline]
    pub(super) fn text(&self, folder: u32) -> &str {
        if folder == TOP { "" } else { self.text_below_top(folder) }
    }

    /// Never inline: so a scan does not read what only this needs before its loop.
    #[inline(never)]
    fn text_below_top(&self, folder: u32) -> &str {
        self.list.find(folder).map_or("", |folder| &folder.text)
    }

    /// The folder with this text, if there is one. `hash` computes the hash of the text.
    pub(super) fn find(&self, text: &str, hash: impl Fn() -> u64) -> Option<u32> {
        if text.is_empty() {
            return Some(TOP);
        }
        if self.text(self.last) == text {
            return Some(self.last);
        }
        self.by_text.find(hash(), |folder| &*self.list.at(folder).text == text)
    }

    /// Adds a folder that is not there. The caller must put a file into it at once. `hash_of`
    /// hashes a text. `words` are the keys of the words of this folder.
    pub(super) fn add(&mut self, text: &str, hash_of: impl Fn(&str) -> u64, words: impl Iterator<Item = u64>) -> u32 {
        let folder = self.list.insert(Folder { text: text.into(), files: Postings::new() });
        self.text_bytes += text.len();
        let Folders { list, by_text, all, .. } = self;
        all.insert(folder);
        by_text.insert(hash_of(text), folder, |folder| hash_of(&list.at(folder).text));
        for word in words {
            self.words.insert(word, folder);
        }
        folder
    }

    /// An entry is in the folder.
    pub(super) fn insert(&mut self, folder: u32, id: u32) {
        if folder != TOP {
            self.list.at_mut(folder).files.insert(id);
            self.last = folder;
        }
    }

    /// An entry leaves the folder. If it was the last entry there, returns the text of the folder,
    /// and the caller must remove the folder.
    pub(super) fn leave(&mut self, folder: u32, id: u32) -> Option<Box<str>> {
        if folder == TOP {
            return None;
        }
        let Folder { text, files } = self.list.at_mut(folder);
        files.remove(id);
        (files.len() == 0).then(|| {
            self.text_bytes -= text.len();
            std::mem::take(text)
        })
    }

    /// Removes a folder without files, after [`Folders::leave`] has returned its text. `hash` is
    /// the hash of this text, and `words` are the keys of its words.
    pub(super) fn remove(&mut self, folder: u32, hash: u64, words: impl Iterator<Item = u64>) {
        self.by_text.remove(hash, folder);
        for word in words {
            self.words.remove(word, folder);
        }
        self.all.remove(folder);
        self.list.at_mut(folder).files = Postings::new();
        self.list.free(folder);
    }

    /// The folders that have a word. Folders of other words with the same short hash are among
    /// them.
    pub(super) fn with_word(&self, key: u64) -> Found<'_> {
        self.words.find(key)
    }

    /// The first folder not below `cursor`.
    pub(super) fn next(&self, cursor: u32) -> Option<u32> {
        self.all.next(cursor)
    }

    /// In this folder, the first file whose number is not below `cursor`.
    pub(super) fn next_file(&self, folder: u32, cursor: u32) -> Option<u32> {
        self.list.find(folder)?.files.next(cursor)
    }

    /// How many words are known, and the folders in use with the number of their files, for checks.
    pub(super) fn check(&self, hash_of: impl Fn(&str) -> u64, mut each: impl FnMut(u32, &str, usize)) {
        let (mut used, mut text_bytes) = (0, 0);
        for (id, folder) in self.list.iter().filter(|(_, folder)| !folder.text.is_empty()) {
            used += 1;
            text_bytes += folder.text.len();
            assert_eq!(self.all.next(id), Some(id), "a folder is among all");
            assert_eq!(self.by_text.find(hash_of(&folder.text), |other| other == id), Some(id), "a folder is found");
            assert!(folder.files.len() > 0, "a folder has files");
            each(id, &folder.text, folder.files.len());
        }
        assert_eq!((used, used), (self.list.len(), self.all.len()), "the count of folders is right");
        assert_eq!(text_bytes, self.text_bytes, "the bytes of their texts are right");
        assert!(used > 0 || self.words.len() == 0, "without folders there are no words of folders");
    }
}
