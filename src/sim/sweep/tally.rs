//! What the seeds of a sweep have exercised, and what they must exercise.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::marks;
use crate::sim::adversary::KINDS as ADVERSARIES;
use crate::sim::oracle::Verdict;

/// How long one seed runs, in virtual time.
pub const VIRTUAL: Duration = Duration::from_secs(600);
/// How long the phase with faults is.
pub(super) const FAULTS_UNTIL: Duration = Duration::from_secs(330);
/// The least number of queries, judged answers, hits and downloads in one seed.
const LEAST: [u64; 4] = [60, 40, 30, 5];

/// Every class of fault that a seed may draw, by the name under which it is counted when it
/// strikes.
pub const FAULTS: &[&str] = &[
    "lose",
    "double",
    "hold_back",
    "damage",
    "repeat",
    "partition",
    "partition_tcp",
    "partition_dial",
    "partition_reset",
    "partition_silence",
    "clog",
    "clog_full",
    "crash_super",
    "crash_weak",
    "power",
    "pause",
    "suspend",
    "leap",
    "slow",
    "reset",
    "silence",
    "trickle",
    "disk_full",
    "disk_error",
    "meddle",
    "short_file",
    "liar",
    "stray",
    "crowd",
    "crowd_left",
    "crowd_seed_left",
    "crowd_seed_died",
    "slow_frame",
    "slow_consumer",
];

/// The counters of super peers that must not stay at 0 in a campaign. The marks of
/// [`crate::proto::marks`] are required too. Counters that need an attacker or a crowd have tests
/// of their own.
pub const COUNTERS: &[&str] = &[
    "sessions_welcomed",
    "closed_login_deadline",
    "closed_silent",
    "gone_remote",
    "gone_failed",
    "inputs_stale",
    "registers",
    "updates",
    "queries_complete",
    "queries_cut",
    "queries_canceled",
    "hits_sent",
    "hits_duplicate",
    "flood_searched",
    "flood_duplicate",
    "flood_extension",
    "flood_repeated_in",
    "flood_repeated_out",
    "flood_stale",
    "link_pending_in",
    "link_cancel_in",
    "datagrams_malformed",
    "datagrams_stale",
    "datagrams_unproven",
    "answers_unasked",
    "answers_repeated",
    "links_came_up",
    "links_went_down",
    "trees_grown",
    "trees_held",
    "trees_void",
    "trees_failed",
    "queries_rode",
    "queries_fell_back",
    "flood_stale_tree",
    "flood_pruned",
    "link_digest_in",
    "digest_steps_out",
    "digest_marks",
    "acks_held",
    "invitations_refused",
    "login_refused_expired",
    "login_refused_mode",
    "login_refused_other_key",
    "login_refused_other_node",
    "login_refused_revoked",
    "login_refused_signature",
    "login_refused_unknown_operator",
];

/// Faults and marks that are only required in a campaign of many thousand seeds.
const RARE: &[&str] = &[
    "short_file",
    "clog_full",
    "piece.damaged",
    "part.map_doubted",
    "part.resumed",
    "proof.prover_changed",
    "source.stalled_relieved",
    "branch.no_time",
    "closed_login_deadline",
    "disk.publish_failed",
    "disk.write_failed",
    "session.gave_up",
    "inputs_stale",
    "piece.second",
    "sources.all_silent",
    "upload.idle",
];
/// The number of seeds from which on they are required.
const MANY: u64 = 10_000;

/// The sums of what the runs have exercised.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The number of seeds.
    pub seeds: u64,
    /// The number of events.
    pub steps: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Queries that were sent.
    pub queries: u64,
    /// Answers that claim to be complete.
    pub complete: u64,
    /// Answers that do not claim this.
    pub incomplete: u64,
    /// Queries that lost their session, or whose asker crashed.
    pub lost: u64,
    /// Hits that were received.
    pub hits: u64,
    /// Hits that were registered all the time and not received. No answer that claims to be
    /// complete lacks one.
    pub missing: u64,
    /// Downloads that succeeded.
    pub downloads: u64,
    /// Downloads that failed.
    pub downloads_failed: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Faults that struck, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Marks and counters that were hit, and the number of seeds that hit each.
    pub marks: BTreeMap<String, u64>,
    /// The trace of the last seed.
    pub trace: u64,
}

impl Tally {
    /// Adds what other runs exercised.
    pub fn add(&mut self, other: &Tally) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.virtual_us += other.virtual_us;
        self.queries += other.queries;
        self.complete += other.complete;
        self.incomplete += other.incomplete;
        self.lost += other.lost;
        self.hits += other.hits;
        self.missing += other.missing;
        self.downloads += other.downloads;
        self.downloads_failed += other.downloads_failed;
        self.crashes += other.crashes;
        self.trace = other.trace;
        for (name, times) in &other.faults {
            *self.faults.entry(name).or_default() += times;
        }
        for (name, seeds) in &other.marks {
            *self.marks.entry(name.clone()).or_default() += seeds;
        }
    }

    pub(super) fn judge(&mut self, verdict: Option<&Verdict>) {
        match verdict {
            None => self.lost += 1,
            Some(verdict) => {
                *(if verdict.complete { &mut self.complete } else { &mut self.incomplete }) += 1;
                self.hits += verdict.hits.len() as u64;
                self.missing += verdict.missing.len() as u64;
            }
        }
    }

    /// Panics if a run has exercised too little to prove anything.
    pub(super) fn require(&self) {
        let did = [self.queries, self.complete + self.incomplete, self.hits, self.downloads];
        let enough = did.iter().zip(LEAST).all(|(did, least)| *did >= least);
        assert!(enough, "too little was done: queries, answers, hits, downloads {did:?}, at least {LEAST:?}");
    }

    /// The classes of faults that never struck.
    #[must_use]
    pub fn idle_faults(&self) -> Vec<&'static str> {
        let all = FAULTS.iter().chain(ADVERSARIES).copied();
        all.filter(|name| !self.faults.contains_key(name) && !self.is_excused(name)).collect()
    }

    fn is_excused(&self, name: &str) -> bool {
        self.seeds < MANY && RARE.contains(&name)
    }

    /// The marks and counters that no seed has hit. Marks exist only with debug assertions.
    #[must_use]
    pub fn idle_marks(&self) -> Vec<&'static str> {
        let marks = if cfg!(debug_assertions) { marks::NAMES } else { &[] };
        let hit = |name: &&str| self.marks.contains_key(*name) || self.is_excused(name);
        marks.iter().chain(COUNTERS).copied().filter(|name| !hit(name)).collect()
    }
}
