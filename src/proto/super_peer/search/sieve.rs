//! A search over contents that are not in the index. It looks at one content at a time.

use std::net::IpAddr;

use super::fit::{Fit, Judge};
use super::matching::{BadPattern, Equal, Own, Test, test_of};
use super::plan::List;
use crate::proto::super_peer::index::{HolderId, Index, LiveEntry};
use crate::wire::{Root, Search};

/// One search.
pub(in crate::proto::super_peer) struct Sieve(Judge);

impl Sieve {
    /// # Errors
    /// If the pattern does not have the form that its kind requires, or `min` is above `max`.
    pub(in crate::proto::super_peer) fn new(find: &Search, at: Option<IpAddr>) -> Result<Sieve, BadPattern> {
        let range = Judge::range_of(find)?;
        let test = test_of(find)?;
        let own = match test {
            Test::Path | Test::Words(_) | Test::Glob(..) | Test::Root(..) => Own::new(&find.pattern).map(Box::new),
            Test::Exact | Test::Range(_) | Test::Below(_) => None,
        };
        let mut judge = Judge::new(find.clone(), (test, range), own, String::new());
        judge.at = at;
        Ok(Sieve(judge))
    }

    /// The only content that can fit, if the search is for one root and not for a path that ends in
    /// it.
    pub(in crate::proto::super_peer) fn root(&self) -> Option<Root> {
        if let Test::Root(root, _) = self.0.test { Some(root) } else { None }
    }

    /// Whether a content with this path fits.
    pub(in crate::proto::super_peer) fn fits(&mut self, path: &str, size: u64, root: Root) -> bool {
        let seen = &LiveEntry::outside(path, size, &root);
        self.0.begin_step();
        [List::Own(Equal::Bytes), List::Own(Equal::Folded), List::Rest]
            .into_iter()
            .any(|list| self.0.fit(seen, list) != Fit::No)
    }

    /// Whether this holder of a content that fits is a hit.
    pub(in crate::proto::super_peer) fn fits_holder(
        &mut self,
        (path, size, root): (&str, u64, Root),
        index: &Index,
        holder: HolderId,
    ) -> bool {
        self.0.fits_holder(&LiveEntry::outside(path, size, &root), index, holder)
    }

    /// What the search has cost, in the unit of `WORK_PER_TURN`.
    pub(in crate::proto::super_peer) fn spent(&self) -> usize {
        self.0.spent
    }
}
