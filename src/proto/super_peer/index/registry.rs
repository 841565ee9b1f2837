//! Holders and records: what changes the index.
//!
//! - getters: `files_of`, `holds`, `records`, `holders`, `list`;
//! - mutators: `add_holder`, `renew_holder`, `remove_holder`, `insert`, `remove`, `tidy`, `order`,
//!   `forget_order`;
//! - `check_invariants`: all that must hold; slow, for tests and debug builds.
//!
//! **A holder that is removed is gone at once**, with all of its records: nothing reports them, and
//! they are not counted. But its slot is kept, and entries may still name it, until `tidy` has
//! removed it from each of them. **A removed record is gone at once**, too. But if its entry has no
//! other holder, the entry stays in the postings until `tidy` reaches it. Every insert and removal
//! does one step of `tidy`, or four while much is left over. So neither a holder with 1,000,000
//! files nor a word that all names have makes a turn long.
//!
//! An entry is *live* while it has a holder. An entry without a holder is never reported, and its
//! id is not used again before it is removed from the postings.

use std::collections::VecDeque;

use crate::config::{INDEX_ENTRIES_MAX, LIST_LOOKS_MAX};
use crate::wire::message::ListedFile;
use crate::wire::record::split_path;
use crate::wire::{FileRecord, HostPort, NodeId, SharePath};

use super::arrivals::{Additions, Arrivals};
use super::entries::{DEAD, Entries, FREE, Key, NAME, ROOT, SHARED};
use super::holder::{Holder, HolderId, Leaving, Serves};
use super::order::RootOrder;
use super::postings::Postings;
use super::slots::Slots;
use super::table::{FileSet, KeyTable};

/// The index of one super peer.
#[derive(Debug)]
pub struct Index {
    pub(super) entries: Entries,
    pub(super) keys: KeyTable,
    /// Entries that have a holder.
    pub(super) live: Postings,
    /// The live entries sorted by root; none while nobody lists the network.
    pub(super) order: Option<RootOrder>,
    /// The holders of entries that have more than one, ascending.
    pub(super) shared: Slots<Vec<u32>>,
    /// None: the slot is free, or its holder is gone.
    pub(super) holders: Vec<Option<Holder>>,
    pub(super) holders_free: Vec<u32>,
    pub(super) holders_used: usize,
    pub(super) records: usize,
    /// Holders that are gone, but that entries may still name, and how many records they had.
    pub(super) leaving: VecDeque<Leaving>,
    pub(super) left_over: usize,
    /// Records that came or were removed, and steps of [`Index::tidy`], so far.
    pub(super) steps: u64,
    /// Calls that may have changed what [`Index::check_invariants`] looks at.
    pub(super) changes: u64,
    /// Reused for folded text, and for the keys of a record.
    pub(super) scratch: String,
    pub(super) scratch_keys: Vec<Key>,
    /// Entries that lost their last holder and may still be in the postings.
    pub(super) dead: VecDeque<u32>,
    /// For digests: entries that have become live and were not taken by `take_fresh` yet; `None`
    /// while no digest watches the index.
    pub(super) additions: Option<Additions>,
    /// For standing searches: entries that a holder was added to and that were not taken by
    /// `take_arrival` yet; `None` while there is no standing search.
    pub(super) arrivals: Option<Box<Arrivals>>,
    /// Entries that lost their last holder so far.
    pub(super) deaths: u64,
}

/// What the index has already of the keys of a new record.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// Whether an entry has the name of the record.
    named: bool,
    /// Whether an entry has the root of the record.
    rooted: bool,
    /// Whether many entries have this root. They are then found by their identity.
    large: bool,
}

impl Index {
    /// An empty index whose hashes anybody can predict: for tests and for trusted files.
    #[must_use]
    pub fn new() -> Index {
        Index::with_seed(0)
    }

    /// An empty index. The seed should be random and secret, so that nobody can choose names whose
    /// hashes collide.
    #[must_use]
    pub fn with_seed(seed: u64) -> Index {
        Index {
            entries: Entries::new(seed),
            keys: KeyTable::new(),
            live: Postings::new(),
            order: None,
            shared: Slots::new(),
            holders: Vec::new(),
            holders_free: Vec::new(),
            holders_used: 0,
            records: 0,
            leaving: VecDeque::new(),
            left_over: 0,
            steps: 0,
            changes: 0,
            scratch: String::new(),
            scratch_keys: Vec::new(),
            dead: VecDeque::new(),
            additions: None,
            arrivals: None,
            deaths: 0,
        }
    }

    /// A new holder without files: where it serves chunks, and its node.
    pub fn add_holder(&mut self, serves: impl Into<Serves>, node: NodeId) -> HolderId {
        self.changes += 1;
        let (serves, files) = (serves.into(), FileSet::default());
        let holder = Some(Holder { serves, unreached: false, node, user: None, files });
        self.holders_used += 1;
        if let Some(slot) = self.holders_free.pop() {
            self.holders[slot as usize] = holder;
            return HolderId(slot);
        }
        self.holders.push(holder);
        let slot = u32::try_from(self.holders.len() - 1).expect("fewer holders than 2^31");
        assert!(slot < SHARED, "fewer holders than 2^31");
        HolderId(slot)
    }

    /// Where the holder serves chunks.
    #[must_use]
    pub fn addr_of(&self, holder: HolderId) -> &HostPort {
        &self.holder(holder).serves.addr
    }

    /// Notes whether this super peer has reached the holder where it serves.
    pub fn set_unreached(&mut self, holder: HolderId, unreached: bool) {
        self.changes += 1;
        self.holder_mut(holder).unreached = unreached;
    }

    /// Notes the account of the holder.
    pub fn set_user(&mut self, holder: HolderId, user: &str) {
        self.changes += 1;
        self.holder_mut(holder).user = Some(user.into());
    }

    /// Removes the holder, with all of its files.
    pub fn remove_holder(&mut self, holder: HolderId) {
        self.changes += 1;
        let gone = self.holders[holder.0 as usize].take();
        let files = gone.expect("a holder is used from add_holder to remove_holder").files;
        self.holders_used -= 1;
        self.records -= files.len();
        self.left_over += files.len();
        // No entry names a holder without files, so its slot is free at once. If it waited in
        // `leaving`, a peer could make this queue long with many empty lists.
        if files.len() == 0 {
            self.holders_free.push(holder.0);
        } else {
            self.leaving.push_back(Leaving { holder, files, ids: Vec::new() });
        }
    }

    /// Removes all files of the holder. From now on it has the id that is returned, and serves
    /// chunks at `serves`.
    pub fn renew_holder(&mut self, holder: HolderId, serves: impl Into<Serves>) -> HolderId {
        let node = self.holder(holder).node;
        self.remove_holder(holder);
        self.add_holder(serves, node)
    }

    /// Registers a file, in place of that holder's file with the same path.
    pub fn insert(&mut self, holder: HolderId, record: FileRecord) {
        self.begin_change();
        let (folder, name) = split_path(record.path.as_str());
        let folder = self.entries.find_folder(folder);
        let noted = self.note_keys(name, &record);
        // If no entry has the name or the folder, this holder has no such path, and its table,
        // which is seldom in the cache, is not read.
        if let Some(folder) = folder.filter(|_| noted.named) {
            let path_key = self.entries.path_key(folder, name);
            if let Some(old) = self.find(holder, folder, name, path_key) {
                if self.entries.at(old).has_content_of(&record) {
                    return;
                }
                self.take(holder, old, path_key);
            }
        }
        let id = self.intern(&record, folder, noted);
        self.hold(id, holder);
        let Index { entries, holders, .. } = self;
        let files = &mut holders[holder.0 as usize].as_mut().expect("found above").files;
        files.insert(entries.path_key_of(id).0, id, |id| entries.path_key_of(id).0);
    }

    /// Removes one file of the holder. Returns whether it was there.
    pub fn remove(&mut self, holder: HolderId, path: &str) -> bool {
        self.begin_change();
        let (folder, name) = split_path(path);
        let Some(folder) = self.entries.find_folder(folder) else { return false };
        let path_key = self.entries.path_key(folder, name);
        match self.find(holder, folder, name, path_key) {
            Some(id) => {
                self.take(holder, id, path_key);
                true
            }
            None => false,
        }
    }

    /// Whether the holder has a file with this path.
    pub(in crate::proto) fn holds(&self, holder: HolderId, path: &str) -> bool {
        let (folder, name) = split_path(path);
        let folder = self.entries.find_folder(folder);
        folder.is_some_and(|folder| self.find(holder, folder, name, self.entries.path_key(folder, name)).is_some())
    }

    /// Sorts up to `entries` more entries into buckets by their root, so that a range is found
    /// without a walk through all entries. Returns whether some are left. Later changes keep the
    /// order.
    pub fn order(&mut self, entries: usize) -> bool {
        self.changes += 1;
        let Index { entries: all, live, order, .. } = self;
        let order = order.get_or_insert_with(RootOrder::new);
        let Some(mut cursor) = order.built() else { return false };
        for _ in 0..entries {
            let Some(id) = live.next(cursor) else {
                order.set_built(None);
                return false;
            };
            cursor = id + 1;
            order.set_built(Some(cursor));
            order.insert(id, &all.at(id).root);
        }
        true
    }

    /// Whether entries are sorted by their root, or are being sorted.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.order.is_some()
    }

    /// Whether entries are left to be sorted.
    pub(in crate::proto) fn is_sorting(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.built().is_some())
    }

    /// Removes that order, and frees its memory.
    pub fn forget_order(&mut self) {
        self.changes += 1;
        self.order = None;
    }

    /// A number that grows with every change of the index. If it is the same as before, nothing has
    /// changed.
    pub(in crate::proto) fn changes(&self) -> u64 {
        self.changes
    }

    /// How much was done so far: records that came or were removed, and steps of [`Index::tidy`].
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many files the holder has registered.
    #[must_use]
    #[inline]
    pub fn files_of(&self, holder: HolderId) -> usize {
        self.holder(holder).files.len()
    }

    /// How many files are registered. A file counts once for each of its holders.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// Whether there is no room for `records` more records.
    #[must_use]
    pub fn is_full_for(&self, records: usize) -> bool {
        self.entries.len() + records > INDEX_ENTRIES_MAX
    }

    /// Bytes of its large tables and of all paths: what records cost, except for short lists and
    /// for the tables of single holders.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Index { entries, keys, shared, holders, .. } = self;
        let lists = shared.len() * size_of::<Vec<u32>>() + holders.capacity() * size_of::<Option<Holder>>();
        entries.bytes() + keys.bytes() + lists
    }

    /// How many holders there are.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.holders_used
    }

    /// A page of the registered files: one element for each path, size and root, and as many as fit
    /// in `page_bytes` when encoded. A page may be short or empty if many entries and holders had
    /// to be looked at. The first page is after 0, and each next one after the number that was
    /// returned. A file that is registered all the time is listed once. `looked` is increased by
    /// the number of entries and holders that were looked at.
    #[must_use]
    pub fn list(&self, after: u64, page_bytes: usize, looked: &mut usize) -> (Vec<ListedFile>, Option<u64>) {
        /// Bytes of an encoded element without its path: names of fields, size, root, collection,
        /// holders, members with a part.
        const ELEMENT_BYTES: usize = 80;
        let mut page = Vec::new();
        let (mut bytes, most) = (0, *looked + LIST_LOOKS_MAX);
        let mut cursor = u32::try_from(after).unwrap_or(u32::MAX);
        while let Some(id) = self.live.next(cursor) {
            let entry = self.entries.at(id);
            let (folder, name) = (self.entries.folder_of(entry), self.entries.name_of(id, entry));
            let element = folder.len() + 1 + name.len() + ELEMENT_BYTES;
            if (bytes + element > page_bytes && !page.is_empty()) || *looked >= most {
                return (page, Some(u64::from(id)));
            }
            let holders = self.holders_of(id, looked);
            if holders > 0 {
                bytes += element;
                let path = SharePath::joined(folder, name);
                let (size, root, collection) = (entry.size(), entry.root, entry.is_collection());
                page.push(ListedFile { path, size, root, collection, holders, partial: 0 });
            }
            cursor = id + 1;
        }
        (page, None)
    }

    // ---- below ----------------------------------------------------------------------------------

    #[inline]
    pub(super) fn holder(&self, holder: HolderId) -> &Holder {
        self.holders[holder.0 as usize].as_ref().expect("a holder is used from add_holder to remove_holder")
    }

    /// Whether a holder that an entry names is gone.
    #[inline]
    pub(in crate::proto) fn is_gone(&self, holder: u32) -> bool {
        self.holders[holder as usize].is_none()
    }

    fn holder_mut(&mut self, holder: HolderId) -> &mut Holder {
        self.holders[holder.0 as usize].as_mut().expect("a holder is used from add_holder to remove_holder")
    }

    fn find(&self, holder: HolderId, folder: u32, name: &str, key: Key) -> Option<u32> {
        self.holder(holder).files.find(key.0, |id| self.is_at(id, folder, name))
    }

    fn is_at(&self, id: u32, folder: u32, name: &str) -> bool {
        self.entries.at(id).folder() == folder && self.entries.name(id) == name
    }

    fn take(&mut self, holder: HolderId, id: u32, path_key: Key) {
        let files = &mut self.holder_mut(holder).files;
        files.remove(path_key.0, id);
        self.records -= 1;
        let held = self.release(id, holder);
        assert!(held, "only a holder releases");
    }

    /// Computes the keys of a record, and reads their slots before they are used. So the processor
    /// fetches them in parallel; otherwise the inserts that follow would wait for each in turn.
    /// This saves a third of the time of an insert in an index of 1,000,000 files.
    fn note_keys(&mut self, name: &str, record: &FileRecord) -> Noted {
        let Index { entries, keys, scratch, scratch_keys, .. } = self;
        scratch_keys.clear();
        entries.each_key_of(name, &record.root, scratch, |key| scratch_keys.push(key));
        let mut noted = Noted::default();
        let mut read = 0;
        for (at, key) in scratch_keys.iter().enumerate() {
            let found = keys.find(key.0);
            // The length is beside the end of a long list, where the insert adds the entry.
            read ^= found.len();
            match at {
                ROOT => (noted.rooted, noted.large) = (!found.is_empty(), found.is_large()),
                NAME => noted.named = !found.is_empty(),
                _ => {}
            }
        }
        std::hint::black_box(read);
        noted
    }

    /// The entry of a record whose keys were noted, dead or alive; made if there is none.
    fn intern(&mut self, record: &FileRecord, folder: Option<u32>, noted: Noted) -> u32 {
        let root_key = self.scratch_keys[ROOT];
        let was_large = noted.large;
        if let Some(id) = folder.filter(|_| noted.rooted).and_then(|folder| self.equal(record, folder, was_large)) {
            return id;
        }
        let Index { entries, keys, scratch, scratch_keys, .. } = self;
        let (id, words) = entries.add(record, folder, scratch);
        for key in scratch_keys.iter() {
            keys.insert(key.0, id);
        }
        let count = words + scratch_keys.len();
        self.count_keys(count);
        if was_large {
            self.keys.insert(self.entries.identity_of(id).0, id);
        } else if noted.rooted && self.keys.find(root_key.0).is_large() {
            self.identify_all(root_key);
        }
        id
    }

    /// The entry that is equal to a record, whose keys were noted.
    fn equal(&self, record: &FileRecord, folder: u32, was_large: bool) -> Option<u32> {
        let Index { entries, keys, scratch_keys, .. } = self;
        let key = if was_large { entries.identity_key(record, folder) } else { scratch_keys[ROOT] };
        let candidates = keys.find(key.0);
        let name = record.path.name();
        let mut cursor = 0;
        while let Some(id) = candidates.next(cursor) {
            if entries.at(id).has_content_of(record) && self.is_at(id, folder, name) {
                return Some(id);
            }
            cursor = id + 1;
        }
        None
    }

    /// The list of a root has become large: from now on its entries are found by their identity.
    fn identify_all(&mut self, root_key: Key) {
        let mut cursor = 0;
        while let Some(id) = self.keys.find(root_key.0).next(cursor) {
            self.keys.insert(self.entries.identity_of(id).0, id);
            cursor = id + 1;
        }
    }

    /// How many holders an entry has; adds what was looked at.
    pub(super) fn holders_of(&self, id: u32, looked: &mut usize) -> u32 {
        *looked += 1;
        match self.entries.at(id).holders {
            DEAD | FREE => 0,
            one if one & SHARED == 0 => u32::from(!self.is_gone(one)),
            list => {
                let list = self.shared.at(list ^ SHARED);
                let count = if self.leaving.is_empty() {
                    list.len()
                } else {
                    *looked += list.len();
                    list.iter().filter(|holder| !self.is_gone(**holder)).count()
                };
                u32::try_from(count).expect("holders are u32")
            }
        }
    }

    /// Adds a holder that the entry does not have.
    fn hold(&mut self, id: u32, holder: HolderId) {
        self.records += 1;
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.add(id, holder.0);
        }
        match self.entries.at(id).holders {
            DEAD => {
                self.entries.set_holders(id, holder.0);
                self.live.insert(id);
                if let Some(order) = &mut self.order {
                    order.insert(id, &self.entries.at(id).root);
                }
                if let Some(additions) = &mut self.additions {
                    additions.add(id);
                }
            }
            one if one & SHARED == 0 => {
                assert!(one != holder.0, "one record per holder and path");
                if self.is_gone(one) {
                    // The entry had a holder all the time: nothing else changes.
                    return self.entries.set_holders(id, holder.0);
                }
                let number = self.shared.insert(vec![one.min(holder.0), one.max(holder.0)]);
                self.entries.set_holders(id, SHARED | number);
            }
            list => {
                let list = self.shared.at_mut(list ^ SHARED);
                let at = list.partition_point(|&other| other < holder.0);
                assert!(list.get(at) != Some(&holder.0), "one record per holder and path");
                list.insert(at, holder.0);
            }
        }
    }
}

impl Default for Index {
    fn default() -> Index {
        Index::new()
    }
}
