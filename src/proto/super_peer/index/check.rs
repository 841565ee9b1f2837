//! The invariants of an index.

use std::collections::BTreeSet;

use super::entries::{DEAD, FREE};
use super::holder::HolderId;
use super::order;
use super::registry::Index;

impl Index {
    /// Asserts all invariants. It walks through everything.
    pub fn check_invariants(&self) {
        let mut records = 0;
        for (slot, holder) in self.holders.iter().enumerate() {
            let Some(holder) = holder else { continue };
            records += holder.files.len();
            assert_eq!(holder.files.ids().len(), holder.files.len(), "a holder's count of files is right");
            for id in holder.files.ids() {
                let slot = u32::try_from(slot).expect("slots are u32");
                assert_eq!(self.holder_from(id, slot), Some(HolderId(slot)), "an entry knows its holder");
            }
        }
        assert_eq!(records, self.records, "the count of records is right");
        assert_eq!(self.holders.iter().flatten().count(), self.holders_used, "the count of holders is right");
        let mut held = 0;
        let dead: BTreeSet<u32> = self.dead.iter().copied().collect();
        for (id, entry) in self.entries.iter() {
            let alive = !matches!(entry.holders, DEAD | FREE);
            assert_eq!(self.live.next(id) == Some(id), alive, "the live entries are those with holders");
            if entry.holders == FREE {
                continue;
            }
            assert!(alive || dead.contains(&id), "a dead entry waits to be tidied");
            held += self.holders_of(id, &mut 0) as usize;
            self.entries.each_key(id, &mut String::new(), |key| {
                assert_eq!(self.keys.find(key.0).next(id), Some(id), "an entry is in the postings of its keys");
            });
        }
        assert_eq!(held, records, "the holders of all entries are the records");
        if let Some(order) = &self.order {
            let below = order.built().unwrap_or(u32::MAX);
            let mut sorted = 0;
            let mut cursor = 0;
            while let Some(id) = self.live.next(cursor).filter(|id| *id < below) {
                let bucket = order::bucket_of(&self.entries.at(id).root);
                assert_eq!(order.next(bucket, id), Some(id), "an entry is in the bucket of its root");
                sorted += 1;
                cursor = id + 1;
            }
            assert_eq!(sorted, order.len(), "nothing else is in a bucket");
        }
        self.entries.check_folders();
        let in_use = self.entries.iter().filter(|(_, entry)| entry.holders != FREE).count();
        assert_eq!(in_use, self.entries.len(), "the count of entries is right");
        if in_use == 0 {
            assert_eq!(self.keys.len(), 0, "without entries there are no keys");
            assert_eq!(self.entries.folders.len(), 0, "without entries there are no folders");
        }
    }
}
