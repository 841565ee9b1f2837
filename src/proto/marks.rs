//! Marks for branches that tests must reach: `mark!(PieceStolen)`. A campaign of the simulator
//! fails if a mark was never hit. Marks are for branches that no counter of a super peer counts.
//! Without debug assertions a mark compiles to nothing.

/// Notes that this branch was reached.
macro_rules! mark {
    ($mark:ident) => {
        $crate::proto::marks::hit($crate::proto::marks::Mark::$mark)
    };
}

macro_rules! marks {
    ($($mark:ident => $name:literal,)*) => {
        /// A marked branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Mark {
            $($mark,)*
        }

        /// The names of all marks, in their order.
        pub const NAMES: &[&str] = &[$($name,)*];
    };
}

pub(super) use mark;

marks! {
    VisitedRotated => "visited.rotated",
    QueryFullHere => "query.full_here",
    BranchDown => "branch.down",
    BranchNoTime => "branch.no_time",
    BranchLost => "branch.lost",
    BranchRanOut => "branch.ran_out",
    BranchRanOutHeard => "branch.ran_out_heard",
    ExtensionEmpty => "extension.empty",
    ExtensionRan => "extension.ran",
    RingGrew => "ring.grew",
    LinkRenewed => "link.renewed",
    SessionDoesNotAnswer => "session.does_not_answer",
    SessionRoundOver => "session.round_over",
    SessionGaveUp => "session.gave_up",
    PartThere => "part.there",
    PartResumed => "part.resumed",
    MapDoubted => "part.map_doubted",
    ManifestProven => "proof.proven",
    EdgeProven => "proof.edge",
    EdgeLie => "proof.edge_lie",
    ProofHedged => "proof.hedged",
    SwarmBegan => "swarm.began",
    PieceStolen => "piece.stolen",
    PieceSecond => "piece.second",
    PieceLie => "piece.lie",
    PieceDamaged => "piece.damaged",
    StalledRelieved => "source.stalled_relieved",
    SourceLost => "source.lost",
    SourceChanged => "source.changed",
    SourceHasNot => "source.has_not",
    SourceReturned => "source.returned",
    SourcesAskedAgain => "sources.asked_again",
    AskedLast => "sources.asked_last",
    AllSilent => "sources.all_silent",
    TimedOut => "sources.timed_out",
    WriteFailed => "disk.write_failed",
    PublishFailed => "disk.publish_failed",
    UploadCanceled => "upload.canceled",
    UploadIdle => "upload.idle",
}

const _: () = assert!(NAMES.len() <= 128);

#[cfg(debug_assertions)]
thread_local! {
    static HIT: std::cell::Cell<u128> = const { std::cell::Cell::new(0) };
}

#[cfg(debug_assertions)]
pub(super) fn hit(mark: Mark) {
    HIT.with(|hit| hit.set(hit.get() | 1 << mark as u32));
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn hit(_: Mark) {}

/// The names of the marks that this thread hit since the last call; none without debug assertions.
#[must_use]
pub fn take() -> Vec<&'static str> {
    #[cfg(debug_assertions)]
    let bits = HIT.with(std::cell::Cell::take);
    #[cfg(not(debug_assertions))]
    let bits = 0_u128;
    NAMES.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, name)| *name).collect()
}
