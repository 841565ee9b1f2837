//! What searches and digests see of an index.

use super::arrivals::Additions;
use super::entries::{Class, DEAD, FREE, Key, SHARED};
use super::holder::{HolderId, Serves};
use super::order::RootOrder;
use super::registry::Index;
use super::table::Found as Postings;
use crate::wire::message::SourceRecord;
use crate::wire::record::split_path;
use crate::wire::{HostPort, NodeId, Root};

/// A live entry as a search sees it.
#[derive(Clone, Copy)]
pub(in crate::proto) struct LiveEntry<'a> {
    /// Its folder, by number and as it is written; empty at the top of a share.
    pub(in crate::proto) folder: u32,
    pub(in crate::proto) folder_text: &'a str,
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) size: u64,
    pub(in crate::proto) root: &'a Root,
    pub(in crate::proto) collection: bool,
    /// As in its [`Entry`](super::entries::Entry).
    holders: u32,
}

impl<'a> LiveEntry<'a> {
    /// A file that is not in the index.
    pub(in crate::proto) fn outside(path: &'a str, size: u64, root: &'a Root) -> LiveEntry<'a> {
        let (folder_text, name) = split_path(path);
        LiveEntry { folder: u32::MAX, folder_text, name, size, root, collection: false, holders: FREE }
    }

    /// Appends the path.
    pub(in crate::proto) fn path_into(&self, out: &mut String) {
        if !self.folder_text.is_empty() {
            out.push_str(self.folder_text);
            out.push('/');
        }
        out.push_str(self.name);
    }
}

impl Index {
    // ---- for `search` ---------------------------------------------------------------------------

    /// The key under which files of this folded name are found.
    pub(in crate::proto) fn name_key(&self, name: &str) -> Key {
        self.entries.key(Class::Name, name.as_bytes())
    }

    /// The key of a folded word, in names and in folders.
    pub(in crate::proto) fn word_key(&self, word: &str) -> Key {
        self.entries.key(Class::Word, word.as_bytes())
    }

    /// The key of a content.
    pub(in crate::proto) fn root_key(&self, root: &Root) -> Key {
        self.entries.key(Class::Root, &root.0)
    }

    /// A number for a hit, so that 16 bytes are remembered of it instead of all: two different ones
    /// have the same number with a probability of 2^-128. All fields count: a false one must not
    /// make a duplicate of the right hit.
    pub(in crate::proto) fn hit_key(&self, hit: &SourceRecord) -> u128 {
        let half = |class| {
            let key = |bytes: &[u8]| self.entries.key(class, bytes).0;
            let mut all = [0; 87];
            all[..32].copy_from_slice(&hit.root.0);
            all[32..40].copy_from_slice(&key(hit.path.as_str().as_bytes()).to_be_bytes());
            all[40..48].copy_from_slice(&key(hit.addr.host().as_bytes()).to_be_bytes());
            all[48..50].copy_from_slice(&hit.addr.port().to_be_bytes());
            all[50..58].copy_from_slice(&hit.size.to_be_bytes());
            all[74] = u8::from(hit.collection);
            all[58..74].copy_from_slice(&hit.node.map_or([0; 16], |node| node.0));
            if let Some(other) = &hit.other {
                all[75..83].copy_from_slice(&key(other.host().as_bytes()).to_be_bytes());
                all[83..85].copy_from_slice(&other.port().to_be_bytes());
            }
            all[85] = u8::from(hit.unreached);
            all[86] = u8::from(hit.http);
            u128::from(key(&all))
        };
        half(Class::Path) << 64 | half(Class::Identity)
    }

    /// How many entries, dead ones included, have the key.
    pub(in crate::proto) fn count(&self, key: Key) -> usize {
        self.keys.find(key.0).len()
    }

    /// The first entry not below `cursor` that has the key (dead ones and strays included), or,
    /// without a key, that is live.
    #[inline]
    pub(in crate::proto) fn next(&self, key: Option<Key>, cursor: u32) -> Option<u32> {
        match key {
            Some(key) => self.keys.find(key.0).next(cursor),
            None => self.live.next(cursor),
        }
    }

    /// The first entry not below `cursor` that has the key, and whether no other entry has it.
    #[inline]
    pub(in crate::proto) fn next_of_key(&self, key: Key, cursor: u32) -> Option<(u32, bool)> {
        let found = self.keys.find(key.0);
        found.next(cursor).map(|id| (id, matches!(found, Postings::One(_))))
    }

    /// Whether every live entry is in the bucket of its root.
    pub(in crate::proto) fn is_ordered(&self) -> bool {
        self.order.as_ref().is_some_and(RootOrder::is_whole)
    }

    /// The first live entry of a bucket that is not below `cursor`; only once everything is in
    /// order.
    pub(in crate::proto) fn next_of(&self, bucket: u16, cursor: u32) -> Option<u32> {
        self.order.as_ref()?.next(bucket, cursor)
    }

    /// The entry, if it has a holder, which may be gone.
    #[inline(always)]
    pub(in crate::proto) fn seen(&self, id: u32) -> Option<LiveEntry<'_>> {
        let entry = self.entries.find(id).filter(|entry| !matches!(entry.holders, DEAD | FREE))?;
        Some(LiveEntry {
            folder: entry.folder(),
            folder_text: self.entries.folder_of(entry),
            name: self.entries.name_of(id, entry),
            size: entry.size(),
            root: &entry.root,
            collection: entry.is_collection(),
            holders: entry.holders,
        })
    }

    /// Whether an entry has the key, or may have it: strays have it too.
    pub(in crate::proto) fn has(&self, key: Key, id: u32) -> bool {
        self.keys.find(key.0).next(id) == Some(id)
    }

    /// How many folders have a word.
    pub(in crate::proto) fn count_folders(&self, word: Key) -> usize {
        self.entries.folders.with_word(word.0).len()
    }

    /// Whether there are folders, and how many entries one has on average.
    pub(in crate::proto) fn files_per_folder(&self) -> Option<usize> {
        self.entries.len().checked_div(self.entries.folders.len())
    }

    /// The first folder not below `cursor` that has the word (strays included), or, without a word,
    /// that is there.
    pub(in crate::proto) fn next_folder(&self, word: Option<Key>, cursor: u32) -> Option<u32> {
        match word {
            Some(word) => self.entries.folders.with_word(word.0).next(cursor),
            None => self.entries.folders.next(cursor),
        }
    }

    /// A folder as it is written; empty if there is no such folder any more.
    pub(in crate::proto) fn folder_text(&self, folder: u32) -> &str {
        self.entries.folders.text(folder)
    }

    /// The first entry of a folder that is not below `cursor`.
    pub(in crate::proto) fn next_in(&self, folder: u32, cursor: u32) -> Option<u32> {
        self.entries.folders.next_file(folder, cursor)
    }

    /// The first holder of an entry that is not below `from`. It may be gone.
    #[inline]
    pub(in crate::proto) fn holder_from(&self, id: u32, from: u32) -> Option<HolderId> {
        self.holder_among(self.entries.at(id).holders, from)
    }

    /// The same for an entry that was looked up.
    #[inline]
    pub(in crate::proto) fn holder_of(&self, seen: &LiveEntry<'_>, from: u32) -> Option<HolderId> {
        self.holder_among(seen.holders, from)
    }

    #[inline]
    fn holder_among(&self, holders: u32, from: u32) -> Option<HolderId> {
        match holders {
            DEAD | FREE => None,
            one if one & SHARED == 0 => (one >= from).then_some(HolderId(one)),
            list => self.holder_in_list(list ^ SHARED, from),
        }
    }

    /// Never inline: so a scan does not read what only this needs before its loop.
    #[inline(never)]
    fn holder_in_list(&self, list: u32, from: u32) -> Option<HolderId> {
        let list = self.shared.at(list);
        list.get(list.partition_point(|&holder| holder < from)).copied().map(HolderId)
    }

    /// Where a holder serves chunks.
    #[inline]
    pub(in crate::proto) fn serves(&self, holder: HolderId) -> &Serves {
        &self.holder(holder).serves
    }

    /// Whether the holder is this node and serves at this address.
    pub(in crate::proto) fn is_served_at(&self, holder: HolderId, node: NodeId, addr: &HostPort) -> bool {
        let held = self.holders.get(holder.0 as usize).and_then(Option::as_ref);
        held.is_some_and(|held| held.node == node && held.serves.addr == *addr)
    }

    /// Whether this super peer has not reached the holder there.
    #[inline]
    pub(in crate::proto) fn is_unreached(&self, holder: HolderId) -> bool {
        self.holder(holder).unreached
    }

    /// The node of a holder.
    #[inline]
    pub(in crate::proto) fn node(&self, holder: HolderId) -> NodeId {
        self.holder(holder).node
    }

    /// Every file once for each of its holders: path, size, root and address. For the simulator,
    /// which searches in its own way.
    pub(crate) fn registered(&self) -> Vec<(String, u64, Root, &HostPort)> {
        let mut records = Vec::new();
        let mut next = self.next(None, 0);
        while let Some(id) = next {
            next = self.next(None, id + 1);
            let Some(entry) = self.seen(id) else { continue };
            let mut holder = self.holder_from(id, 0);
            while let Some(one) = holder {
                holder = self.holder_from(id, one.0 + 1);
                if !self.is_gone(one.0) {
                    let mut path = String::new();
                    entry.path_into(&mut path);
                    records.push((path, entry.size, *entry.root, &self.serves(one).addr));
                }
            }
        }
        records
    }

    // ---- for standing searches ------------------------------------------------------------------

    /// From now on entries that a holder is added to are remembered, or no more.
    pub(in crate::proto) fn note_arrivals(&mut self, on: bool) {
        match on {
            true => drop(self.arrivals.get_or_insert_default()),
            false => self.arrivals = None,
        }
    }

    /// Whether some were not taken yet.
    pub(in crate::proto) fn has_arrivals(&self) -> bool {
        self.arrivals.as_ref().is_some_and(|arrivals| !arrivals.came.is_empty() || arrivals.missed > 0)
    }

    /// The next entry that a holder was added to, and that holder.
    pub(in crate::proto) fn take_arrival(&mut self) -> Option<(u32, u32)> {
        self.arrivals.as_mut()?.came.pop_front()
    }

    /// How many were not remembered for lack of room.
    pub(in crate::proto) fn take_arrivals_missed(&mut self) -> u64 {
        self.arrivals.as_mut().map_or(0, |arrivals| std::mem::take(&mut arrivals.missed))
    }

    /// Whether the entry is there, and the holder has it.
    pub(in crate::proto) fn is_held_by(&self, id: u32, holder: HolderId) -> bool {
        !self.is_gone(holder.0) && self.holder_from(id, holder.0) == Some(holder)
    }

    /// In login mode: the account of a holder.
    pub(in crate::proto) fn user_of(&self, holder: HolderId) -> Option<&str> {
        self.holder(holder).user.as_deref()
    }

    // ---- for `digest` ---------------------------------------------------------------------------

    /// Entries that have a holder.
    pub(in crate::proto) fn live(&self) -> usize {
        self.live.len()
    }

    /// Entries that lost their last holder so far.
    pub(in crate::proto) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// From now on entries that become live are remembered, or no more.
    pub(in crate::proto) fn watch(&mut self, on: bool) {
        self.additions = on.then(Additions::default);
    }

    /// Whether entries that become live are remembered.
    pub(in crate::proto) fn is_watched(&self) -> bool {
        self.additions.is_some()
    }

    /// How many entries have become live and were not taken.
    pub(in crate::proto) fn fresh(&self) -> usize {
        self.additions.as_ref().map_or(0, |additions| additions.ids.len())
    }

    /// Whether more have become live than are remembered.
    pub(in crate::proto) fn lost_fresh(&self) -> bool {
        self.additions.as_ref().is_some_and(|additions| additions.lost)
    }

    /// Takes one of those that have become live.
    pub(in crate::proto) fn take_fresh(&mut self) -> Option<u32> {
        self.additions.as_mut()?.ids.pop()
    }

    /// Takes all of them at once.
    pub(in crate::proto) fn forget_fresh(&mut self) {
        if let Some(additions) = &mut self.additions {
            *additions = Additions::default();
        }
    }
}
