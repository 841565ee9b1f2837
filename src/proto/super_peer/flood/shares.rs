//! Whose query is worked on next: half of the work is for the sessions here, the rest goes in equal shares to the links, and what
//! one of them leaves the others take.
//!
//! Work is counted, not timed: index entries that were looked at, names that were compared, hits, and a base for each query and message. A turn is whatever
//! happens at one `now`, up to what is left over. Nothing is turned away because of a share while the machine keeps up: what is over its share of a
//! turn waits in its own line, and the loop comes round again at once. Only a link whose line is full is told `shed`.

use std::collections::VecDeque;

use super::WaveKey;
use crate::config::{LINK_QUERIES_WAITING_MAX, WAVES_MAX, WORK_PER_TURN};
use crate::proto::super_peer::link::LinkId;
use crate::time::Time;

/// What a query costs beside the entries that are looked at.
pub(super) const QUERY_WORK: usize = 16;
/// What an output costs.
pub(super) const OUTPUT_WORK: usize = 4;

/// For whom a query is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Sessions,
    Link(LinkId),
}

/// What is to become of a new query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is searched at once.
    Now,
    /// It waits in line.
    Later,
    /// It is refused.
    Never,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<WaveKey>,
    /// Work done, as it is compared with others': a line that was empty begins where the others are.
    served: u64,
    /// Work done in the turn of that time.
    turn: Time,
    spent: usize,
    /// Queries of a link that run.
    running: usize,
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Shares {
    now: Time,
    /// Work left in this turn, work done in it, and the most that was done in any.
    left: usize,
    done: usize,
    most: usize,
    /// Whether its left-over work was done.
    ran: bool,
    sessions: Line,
    links: Vec<Line>,
    /// Work done for all links together, and where the line stands that was served last.
    links_served: u64,
    level: u64,
    waiting: usize,
    running: usize,
}

impl Shares {
    /// A turn begins, if this is another moment.
    pub(super) fn turn(&mut self, now: Time, links: usize) {
        if self.links.len() < links {
            self.links.resize_with(links, Line::default);
            self.left = WORK_PER_TURN;
        }
        if now != self.now {
            self.now = now;
            self.left = WORK_PER_TURN;
            self.done = 0;
            self.ran = false;
        }
    }

    /// What is left over is worked on. If time stands still that is a turn of its own.
    pub(super) fn run(&mut self) {
        if self.ran {
            self.left = WORK_PER_TURN;
            self.done = 0;
        }
        self.ran = true;
    }

    /// Whether a query may be begun, and whether at once.
    pub(super) fn admit(&self, whose: Whose) -> Admission {
        let line = self.line(whose);
        let share = match whose {
            Whose::Sessions => WORK_PER_TURN / 2,
            Whose::Link(_) => {
                if line.waiting.len() >= LINK_QUERIES_WAITING_MAX || self.is_crowding(line) {
                    return Admission::Never;
                }
                WORK_PER_TURN / 2 / self.links.len().max(1)
            }
        };
        let spent = if line.turn == self.now { line.spent } else { 0 };
        // Nobody else waits: half of the turn is lent.
        let lent = self.waiting == 0 && self.left > WORK_PER_TURN / 2;
        match line.waiting.is_empty() && self.left > 0 && (spent == 0 || spent < share || lent) {
            true => Admission::Now,
            false => Admission::Later,
        }
    }

    /// Work was done.
    pub(super) fn charge(&mut self, whose: Whose, work: usize) {
        self.left = self.left.saturating_sub(work);
        self.done += work;
        self.most = self.most.max(self.done);
        let now = self.now;
        let line = self.line_mut(whose);
        if line.turn != now {
            (line.turn, line.spent) = (now, 0);
        }
        line.spent += work;
        line.served += work as u64;
        if matches!(whose, Whose::Link(_)) {
            self.links_served += work as u64;
        }
    }

    /// A query waits for its next step.
    pub(super) fn wait(&mut self, whose: Whose, key: WaveKey) {
        self.waiting += 1;
        let (level, links_served) = (self.level, self.links_served);
        let all_empty = self.links.iter().all(|line| line.waiting.is_empty());
        let sessions_served = self.sessions.served;
        let line = self.line_mut(whose);
        let was_empty = line.waiting.is_empty();
        line.waiting.push_back(key);
        if was_empty {
            // Who was idle has no claim on what others took meanwhile.
            match whose {
                Whose::Sessions => line.served = line.served.max(links_served),
                Whose::Link(_) => {
                    line.served = line.served.max(level);
                    if all_empty {
                        self.links_served = links_served.max(sessions_served);
                    }
                }
            }
        }
    }

    /// The most work of any turn so far.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether anybody waits.
    pub(super) fn has_work(&self) -> bool {
        self.waiting > 0
    }

    /// The next query to work on in this turn.
    pub(super) fn next(&mut self) -> Option<WaveKey> {
        if self.left == 0 || self.waiting == 0 {
            return None;
        }
        let busy = self.links.iter().enumerate().filter(|(_, line)| !line.waiting.is_empty());
        let link = busy.min_by_key(|(_, line)| line.served).map(|(at, _)| at);
        let line = match link {
            Some(at) if self.sessions.waiting.is_empty() || self.links_served < self.sessions.served => {
                self.level = self.links[at].served;
                &mut self.links[at]
            }
            Some(_) | None => &mut self.sessions,
        };
        self.waiting -= 1;
        line.waiting.pop_front()
    }

    /// A query goes, whether it waits or not.
    pub(super) fn forget(&mut self, whose: Whose, key: WaveKey) {
        let line = self.line_mut(whose);
        let before = line.waiting.len();
        line.waiting.retain(|waiting| *waiting != key);
        let gone = before - line.waiting.len();
        self.waiting -= gone;
    }

    /// A link's query runs now, or no more.
    pub(super) fn count_running(&mut self, link: LinkId, runs: bool) {
        let line = self.line_mut(Whose::Link(link));
        if runs {
            line.running += 1;
            self.running += 1;
        } else {
            line.running -= 1;
            self.running -= 1;
        }
    }

    /// What must hold between any two inputs; `queued` are those that say that they wait.
    pub(super) fn check_invariants(&self, queued: usize) {
        let lines = || self.links.iter().chain([&self.sessions]);
        assert_eq!(lines().map(|line| line.waiting.len()).sum::<usize>(), self.waiting);
        assert_eq!(self.waiting, queued);
        assert_eq!(lines().map(|line| line.running).sum::<usize>(), self.running);
        assert!(self.links.iter().all(|line| line.waiting.len() <= LINK_QUERIES_WAITING_MAX + line.running));
    }

    /// Half of the table is for whoever comes; the other half has equal parts, so that no link can take all of it.
    fn is_crowding(&self, line: &Line) -> bool {
        const HALF: usize = WAVES_MAX / 2;
        self.running >= HALF && line.running >= HALF / self.links.len().max(1)
    }

    fn line(&self, whose: Whose) -> &Line {
        match whose {
            Whose::Sessions => &self.sessions,
            Whose::Link(link) => &self.links[usize::from(link.0)],
        }
    }

    fn line_mut(&mut self, whose: Whose) -> &mut Line {
        match whose {
            Whose::Sessions => &mut self.sessions,
            Whose::Link(link) => &mut self.links[usize::from(link.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> WaveKey {
        WaveKey::of(n)
    }

    /// Work for each of sessions, link 0, link 1, … of those that have always something to do, over many turns.
    fn served(busy: &[Whose], links: usize, turns: u64) -> Vec<usize> {
        let mut shares = Shares::default();
        let mut work = vec![0; links + 1];
        shares.turn(Time::ZERO, links);
        let whose = |n: usize| match n {
            0 => Whose::Sessions,
            n => Whose::Link(LinkId(u16::try_from(n - 1).unwrap())),
        };
        for (n, whose) in (0..=links).map(|n| (n, whose(n))).filter(|(_, whose)| busy.contains(whose)) {
            (0..20).for_each(|_| shares.wait(whose, key(n)));
        }
        for turn in 0..turns {
            shares.turn(Time::from_micros(turn + 1), links);
            let mut done = 0;
            while let Some(WaveKey(n)) = shares.next() {
                let n = n as usize;
                shares.charge(whose(n), 1000);
                shares.wait(whose(n), key(n));
                work[n] += 1000;
                done += 1000;
            }
            assert!((WORK_PER_TURN..WORK_PER_TURN + 1000).contains(&done), "a turn is full, and ends");
        }
        work
    }

    fn link(n: u16) -> Whose {
        Whose::Link(LinkId(n))
    }

    #[test]
    fn half_is_for_the_sessions_and_the_links_have_equal_shares() {
        let work = served(&[Whose::Sessions, link(0), link(1), link(2)], 5, 1000);
        let all: usize = work.iter().sum();
        assert!((work[0] * 2).abs_diff(all) < all / 50, "{work:?}");
        assert!((1..=3).all(|n| (work[n] * 6).abs_diff(all) < all / 50), "{work:?}");
    }

    #[test]
    fn what_nobody_else_wants_is_lent() {
        let work = served(&[link(3)], 256, 100);
        assert!(work[4] >= 100 * WORK_PER_TURN, "{work:?}");
        let work = served(&[Whose::Sessions], 2, 100);
        assert!(work[0] >= 100 * WORK_PER_TURN, "{work:?}");
        // A few turns are too short for 256 links: the next ones go on where they ended.
        let links: Vec<Whose> = (0..256).map(link).collect();
        let work = served(&links, 256, 320);
        let share = work.iter().sum::<usize>() / 256;
        assert!(share > 10_000 && (1..=256).all(|n| work[n].abs_diff(share) <= 1000), "{share} {work:?}");
    }

    #[test]
    fn who_was_idle_has_no_claim_on_the_past() {
        let mut shares = Shares::default();
        shares.turn(Time::from_micros(1), 2);
        for turn in 0..100 {
            shares.turn(Time::from_micros(turn + 2), 2);
            shares.wait(link(0), key(0));
            assert_eq!(shares.next(), Some(key(0)));
            shares.charge(link(0), 1000);
        }
        for n in 0..4 {
            shares.wait(link(0), key(n));
            shares.wait(link(1), key(10 + n));
        }
        let mut order = Vec::new();
        shares.turn(Time::from_micros(500), 2);
        while let Some(WaveKey(n)) = shares.next() {
            let whose = if n < 10 { link(0) } else { link(1) };
            shares.charge(whose, 1000);
            order.push(n / 10);
        }
        assert_eq!(order.iter().filter(|n| **n == 0).count(), 4, "{order:?}");
        assert!(order[..4].contains(&0), "{order:?}");
    }

    #[test]
    fn a_full_line_and_a_crowded_table_refuse_and_nothing_else_does() {
        let mut shares = Shares::default();
        shares.turn(Time::from_micros(1), 2);
        assert_eq!(shares.admit(link(0)), Admission::Now);
        shares.charge(link(0), WORK_PER_TURN / 2);
        assert_eq!((shares.admit(link(0)), shares.admit(link(1))), (Admission::Later, Admission::Now));
        shares.turn(Time::from_micros(2), 2);
        assert_eq!(shares.admit(link(0)), Admission::Now);
        (0..LINK_QUERIES_WAITING_MAX).for_each(|n| shares.wait(link(0), key(n)));
        assert_eq!((shares.admit(link(0)), shares.admit(link(1))), (Admission::Never, Admission::Now));
        (0..WAVES_MAX / 2).for_each(|_| shares.count_running(LinkId(1), true));
        assert_eq!((shares.admit(Whose::Sessions), shares.admit(link(1))), (Admission::Now, Admission::Never));
        shares.count_running(LinkId(1), false);
        assert_eq!(shares.admit(link(1)), Admission::Now);
    }
}
