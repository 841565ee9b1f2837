//! What a super peer counts: everything that it answered, and everything that it dropped or closed,
//! by reason.
//!
//! To count is one addition. Names are built only on request. New names may be added, but no name
//! changes its meaning.

use std::collections::BTreeMap;

use crate::proto::glance::by_name;

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $variant,)*
        }

        const NAMES: &[&str] = &[$($name,)*];
    };
}

counts! {
    /// Connections accepted.
    Accepted => "sessions_accepted",
    /// Logins welcomed.
    Welcomed => "sessions_welcomed",
    /// Sessions closed because their bytes were no message.
    ClosedMalformed => "closed_malformed",
    /// Sessions closed because of an overlong frame.
    ClosedTooLong => "closed_too_long",
    /// Sessions closed because values were nested too deep.
    ClosedTooDeep => "closed_too_deep",
    /// Sessions closed because of bytes after a message.
    ClosedTrailing => "closed_trailing",
    /// Sessions closed because of an empty frame.
    ClosedTruncated => "closed_truncated",
    /// Sessions closed because of another major version.
    ClosedVersion => "closed_version",
    /// Sessions closed because a message came in the wrong state.
    ClosedOrder => "closed_order",
    /// Sessions closed because a message was invalid.
    ClosedBadRequest => "closed_bad_request",
    /// Sessions closed because of a cap.
    ClosedLimit => "closed_limit",
    /// Sessions closed because memory was short.
    ClosedMemory => "closed_memory",
    /// Sessions closed because the login was rejected.
    ClosedLogin => "closed_login",
    /// Logins of the other mode.
    LoginOtherMode => "login_refused_mode",
    /// Logins without a credential, or with bytes that are not a credential.
    LoginMalformed => "login_refused_malformed",
    /// Logins with a credential of an operator that is not known here.
    LoginUnknownOperator => "login_refused_unknown_operator",
    /// Logins with a credential that its operator did not sign.
    LoginSignature => "login_refused_signature",
    /// Logins with the credential of another key.
    LoginOtherKey => "login_refused_other_key",
    /// HELLOs with the node of another key.
    LoginOtherNode => "login_refused_other_node",
    /// Logins with a credential that is not valid yet.
    LoginNotYetValid => "login_refused_not_yet_valid",
    /// Logins with a revoked credential, and sessions closed because their credential was revoked.
    LoginRevoked => "login_refused_revoked",
    /// Logins with an expired credential, and sessions closed because their credential expired.
    LoginExpired => "login_refused_expired",
    /// Logins of accounts that have the most sessions that they may have.
    LoginLimit => "login_refused_sessions",
    /// Invitations that were refused.
    InvitationRefused => "invitations_refused",
    /// Credentials that were given for an invitation.
    Enrolled => "invitations_used",
    /// Pages of files refused because the account may not register more.
    AccountFiles => "account_files_refused",
    /// Queries refused because the account may not ask more often.
    AccountQueries => "account_queries_refused",
    /// Changes of the accounts that could not be saved.
    AccountsUnsaved => "accounts_unsaved",
    /// Sessions closed because the login took too long.
    ClosedDeadline => "closed_login_deadline",
    /// Half-open sessions closed to make room for newer ones.
    ClosedCrowded => "closed_crowded",
    /// Idle sessions closed because descriptors were short.
    ClosedEvicted => "closed_evicted",
    /// Sessions closed because they were silent.
    ClosedSilent => "closed_silent",
    /// Sessions that said BYE.
    ClosedBye => "closed_bye",
    /// Peers dialed back.
    DialBacks => "dial_backs",
    /// Dial backs that reached the peer.
    DialBacksReached => "dial_backs_reached",
    /// Connections that the other side closed.
    GoneRemote => "gone_remote",
    /// Connections whose socket failed.
    GoneFailed => "gone_failed",
    /// Connections that the driver closed because they read too slowly.
    GoneSlowConsumer => "gone_slow_consumer",
    /// Connections that the driver closed because a frame was not completed in time.
    GoneSlowFrame => "gone_slow_frame",
    /// Messages of unknown kind, answered by ERROR.
    UnknownKind => "messages_unknown_kind",
    /// Inputs for a connection that is gone.
    StaleConnection => "inputs_stale",
    /// Inputs that a super peer does not expect.
    UnexpectedInput => "inputs_unexpected",
    /// REGISTER pages accepted.
    Registers => "registers",
    /// UPDATEs accepted.
    Updates => "updates",
    /// REGISTER pages and UPDATEs whose new files were refused because memory was short, in
    /// sessions that have files.
    PagesRefused => "pages_refused",
    /// LIST pages answered.
    Lists => "lists",
    /// JOINs, repeated ones included.
    Joins => "joins",
    /// JOINs that were refused.
    JoinsRefused => "joins_refused",
    /// SUBSCRIBEs of sessions.
    Subscribes => "subscribes",
    /// SUBSCRIBEs that were refused.
    SubscribesRefused => "subscribes_refused",
    /// SUBSCRIBEs that ended to make room for another host.
    SubscriptionsEvicted => "subscriptions_evicted",
    /// Hits of subscriptions.
    SubscribedHits => "subscription_hits",
    /// Hits of subscriptions that were not sent, because the subscription had its hits for that
    /// second.
    SubscribedHitsDropped => "subscription_hits_dropped",
    /// Files that came too fast to be compared with the subscriptions.
    SubscribedFilesMissed => "subscription_files_missed",
    /// Members named in PEERS.
    MembersNamed => "members_named",
    /// Queries for members of swarms at other super peers.
    SwarmAsks => "swarm_queries",
    /// Sources that these queries found.
    SwarmFound => "swarm_sources_found",
    /// Queries of sessions.
    Queries => "queries",
    /// Queries of sessions that were refused.
    QueriesRefused => "queries_refused",
    /// Of the refused queries of sessions, those that were refused because memory was short.
    QueriesRefusedMemory => "queries_refused_memory",
    /// Queries of sessions that ended complete.
    QueriesComplete => "queries_complete",
    /// Queries of sessions that ended with a cut.
    QueriesCut => "queries_cut",
    /// Queries of sessions that were canceled, or whose session closed.
    QueriesCanceled => "queries_canceled",
    /// Hits sent to sessions.
    HitsSent => "hits_sent",
    /// Hits that another branch had already brought.
    HitsDuplicate => "hits_duplicate",
    /// Queries of neighbors searched here (first copies).
    FloodSearched => "flood_searched",
    /// Copies answered DONE with `dup`.
    FloodDuplicate => "flood_duplicate",
    /// Copies with a higher ttl than any before.
    FloodExtension => "flood_extension",
    /// Repetitions of a QUERY that came in.
    FloodRepeated => "flood_repeated_in",
    /// Repetitions that got only some of the HITs that they lack, because the bytes that are sent
    /// again are bounded.
    FloodRepeatsBounded => "flood_repeats_bounded",
    /// Repetitions of a QUERY that went out.
    FloodRepeats => "flood_repeated_out",
    /// Queries of neighbors refused: the link was over its share of the work, the table of live
    /// queries was full, or memory was short.
    FloodShed => "flood_shed",
    /// Ended queries of neighbors whose hits were dropped because too many were held.
    FloodDropped => "flood_hits_dropped",
    /// Ended queries of neighbors that were forgotten early because the table was full.
    FloodForgotten => "flood_forgotten",
    /// Copies of queries that were forgotten already.
    FloodStale => "flood_stale",
    /// Queries of neighbors with an invalid pattern.
    FloodBadPattern => "flood_bad_pattern",
    /// HELLOs that came in.
    LinkHello => "link_hello_in",
    /// QUERYs that came in.
    LinkQuery => "link_query_in",
    /// HITs that came in.
    LinkHit => "link_hit_in",
    /// DONEs that came in.
    LinkDone => "link_done_in",
    /// PENDINGs that came in.
    LinkPending => "link_pending_in",
    /// CANCELs that came in.
    LinkCancel => "link_cancel_in",
    /// Messages of unknown kind that came in.
    LinkUnknown => "link_unknown_in",
    /// TREEs that came in.
    LinkTree => "link_tree_in",
    /// Messages that went out, of any kind.
    LinkOut => "link_messages_out",
    /// HELLOs that went out.
    LinkHelloOut => "link_hello_out",
    /// QUERYs that went out.
    LinkQueryOut => "link_query_out",
    /// HITs that went out.
    LinkHitOut => "link_hit_out",
    /// DONEs that went out.
    LinkDoneOut => "link_done_out",
    /// PENDINGs that went out.
    LinkPendingOut => "link_pending_out",
    /// CANCELs that went out.
    LinkCancelOut => "link_cancel_out",
    /// TREEs that went out.
    LinkTreeOut => "link_tree_out",
    /// DIGESTs that went out.
    LinkDigestOut => "link_digest_out",
    /// DIGESTEDs that went out.
    LinkDigestedOut => "link_digested_out",
    /// Spanning trees that began to grow here, with this super peer as the root.
    TreesGrown => "trees_grown",
    /// Spanning trees that came to be held here.
    TreesHeld => "trees_held",
    /// Spanning trees that were held here and became void.
    TreesVoid => "trees_void",
    /// Spanning trees that grew here and were given up.
    TreesFailed => "trees_failed",
    /// Tree queries of sessions.
    QueriesRode => "queries_rode",
    /// Tree queries that continued as a flood, because the tree had a gap.
    QueriesFellBack => "queries_fell_back",
    /// Queries that met a stale tree here.
    FloodStaleTree => "flood_stale_tree",
    /// Datagrams from addresses of no neighbor.
    DatagramUnlisted => "datagrams_unlisted",
    /// Datagrams that cannot be decoded.
    DatagramMalformed => "datagrams_malformed",
    /// Datagrams for an earlier run of this super peer.
    DatagramStale => "datagrams_stale",
    /// Messages other than HELLO on a link that is not up, or without our boot id.
    DatagramUnproven => "datagrams_unproven",
    /// Answers to queries that this super peer did not send or that have ended.
    AnswerUnasked => "answers_unasked",
    /// HITs that had arrived before.
    AnswerRepeated => "answers_repeated",
    /// HITs above the cap of their link and query.
    AnswerCapped => "answers_capped",
    /// Links that came up.
    LinksUp => "links_came_up",
    /// Links that went down.
    LinksDown => "links_went_down",
    /// Links that were not asked because the neighbor's digest rules out a hit.
    FloodPruned => "flood_pruned",
    /// DIGESTs that came in.
    LinkDigest => "link_digest_in",
    /// DIGESTEDs that came in.
    LinkDigested => "link_digested_in",
    /// DIGESTs that went out, repetitions included.
    DigestSteps => "digest_steps_out",
    /// Marks sent to neighbors because a file came.
    DigestMarks => "digest_marks",
    /// ACKs that had to wait for neighbors.
    AcksHeld => "acks_held",
    /// HELLOs with our own node id.
    LinkSelf => "links_to_self",
}

/// The counters, all 0 at the start.
#[derive(Debug)]
pub struct Counters([u64; NAMES.len()]);

impl Default for Counters {
    fn default() -> Counters {
        Counters([0; NAMES.len()])
    }
}

impl Counters {
    /// One more.
    pub fn add(&mut self, count: Count) {
        self.add_many(count, 1);
    }

    /// `n` more.
    pub fn add_many(&mut self, count: Count, n: u64) {
        let counter = &mut self.0[count as usize];
        *counter = counter.saturating_add(n);
    }

    /// How many so far.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// All, by name.
    pub fn all(&self) -> impl Iterator<Item = (String, u64)> {
        NAMES.iter().zip(self.0).map(|(name, n)| ((*name).to_owned(), n))
    }

    /// All that are not 0, by name.
    #[must_use]
    pub fn named(&self) -> BTreeMap<String, u64> {
        by_name(&mut self.all().filter(|(_, n)| *n > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_belong_to_their_counters() {
        let unique: std::collections::BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(unique.len(), NAMES.len());
        let mut counters = Counters::default();
        counters.add(Count::LinkSelf);
        counters.add_many(Count::Queries, 2);
        let named = counters.named();
        assert_eq!(named, [("links_to_self".to_owned(), 1), ("queries".to_owned(), 2)].into());
    }
}
