//! Crowds: peers that fetch one content, at the same time or one after another. Some of them leave.
//! The only complete source may leave or die once the others together have all pieces.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{AGAIN_AFTER, Act, Download, Run, SEC};
use crate::config::NO_SOURCE_MAX;
use crate::proto::command::Get;
use crate::proto::{ClientId, pieces_of};
use crate::sim::sweep::gathering::{Gathering, Step};
use crate::sim::sweep::plan::{Crowd, Fate};
use crate::wire::Root;

/// How often a crowd is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a source that has died stays away.
const DEAD_FOR: Duration = Duration::from_secs(40);

impl Run {
    pub(super) fn crowd(&mut self, step: Step) {
        match step {
            Step::Begin => {
                let Some(crowd) = self.plan.crowds.first().cloned() else { return };
                for n in 0..crowd.members.len() {
                    self.later(2 * SEC + crowd.apart * u32::try_from(n).unwrap_or(0), Act::Crowd(Step::Member(n)));
                }
                self.later(LOOK_EVERY, Act::Crowd(Step::Look));
                self.gathering = Some(self.begin_crowd(crowd));
            }
            Step::Member(n) => {
                let Some(gathering) = self.gathering.clone() else { return };
                let timeout = Some(u64::try_from(NO_SOURCE_MAX.as_millis()).unwrap_or(u64::MAX));
                if self.fetch_in_crowd(&gathering, n, timeout).is_none() {
                    self.later(AGAIN_AFTER, Act::Crowd(Step::Member(n)));
                }
            }
            Step::Look => {
                let Some(mut gathering) = self.gathering.take() else { return };
                if self.look_at_crowd(&mut gathering) && gathering.crowd.fate == Fate::Dies {
                    self.later(DEAD_FOR, Act::Start(self.weak.start + gathering.crowd.seed));
                }
                if gathering.may_change() {
                    self.later(LOOK_EVERY, Act::Crowd(Step::Look));
                }
                self.gathering = Some(gathering);
            }
        }
    }

    /// The first source of a crowd gets the content.
    pub(in crate::sim::sweep) fn begin_crowd(&mut self, crowd: Crowd) -> Gathering {
        let root = self.world.contents().root(crowd.content);
        let path = format!("crowd {root}");
        self.world.share(self.weak.start + crowd.seed, &path, crowd.content);
        self.world.count_fault("crowd");
        Gathering::new(crowd, root, path)
    }

    /// A member begins its download, if its node runs.
    pub(in crate::sim::sweep) fn fetch_in_crowd(
        &mut self,
        gathering: &Gathering,
        member: usize,
        timeout: Option<u64>,
    ) -> Option<ClientId> {
        let Gathering { crowd, root, .. } = gathering;
        let out = (!crowd.shared).then(|| PathBuf::from(format!("/out/crowd {root}")));
        let get = Get { out, timeout, ..Get::of(root.to_string()) };
        self.fetch(self.weak.start + crowd.members[member], get, Some(*root))
    }

    /// Whether the running nodes together have all pieces of a content. One node may be left out.
    fn is_covered(&self, crowd: &Crowd, without: Option<usize>) -> bool {
        let others = self.weak.clone().filter(|node| Some(*node) != without);
        let held: BTreeSet<u32> = others.flat_map(|node| self.world.pieces_held(node, crowd.content)).collect();
        held.len() as u64 == pieces_of(self.world.contents().size(crowd.content))
    }

    /// Whether this is the content of the crowd of the first phase, and the nodes together have all
    /// pieces.
    pub(super) fn is_gathered(&self, root: Option<Root>) -> bool {
        let gathering = self.gathering.as_ref().filter(|gathering| Some(gathering.root) == root);
        gathering.is_some_and(|gathering| self.is_covered(&gathering.crowd, None))
    }

    /// When the time has come, lets a member leave, or the source leave or die. Returns whether the
    /// source did.
    pub(in crate::sim::sweep) fn look_at_crowd(&mut self, gathering: &mut Gathering) -> bool {
        let Gathering { crowd, root, path, is_over, left } = gathering;
        let (first, seed) = (self.weak.start + crowd.members[0], self.weak.start + crowd.seed);
        if crowd.one_leaves && left.is_none() && !*is_over && !self.world.is_stalled(first) {
            let mine = |download: &&Download| download.node == first && download.root == Some(*root);
            let client = self.downloads.iter().find(|(_, download)| mine(download)).map(|(client, _)| *client);
            let has_some = !self.world.pieces_held(first, crowd.content).is_empty();
            if let Some(client) = client.filter(|_| has_some && self.world.is_running(first)) {
                self.downloads.remove(&client);
                self.world.leave(client);
                self.world.count_fault("crowd_left");
                *left = Some(client);
            }
        }
        let may_go =
            !*is_over && crowd.fate != Fate::Stays && !self.world.is_stale(seed) && self.world.is_running(seed);
        if !may_go || !self.is_covered(crowd, Some(seed)) {
            return false;
        }
        *is_over = true;
        match crowd.fate {
            Fate::Stays => {}
            Fate::Leaves => {
                self.world.unshare(seed, path);
                self.world.count_fault("crowd_seed_left");
            }
            Fate::Dies => {
                self.world.crash(seed);
                self.world.count_fault("crowd_seed_died");
            }
        }
        true
    }
}
