//! The sources of a download: dialed, lost, dropped, searched for, and checked at each tick. What
//! they are asked for is in `fetch` and `proving`.

use super::source::{Request, Source, Wanted};
use super::transfer::{Phase, Transfer};
use crate::config::{
    ANSWER_DEADLINE, LOGIN_DEADLINE, NO_SOURCE_MAX, PROGRESS_INTERVAL, REQUERY_INTERVAL, SOURCE_FRUITLESS_MAX,
    SOURCES_KNOWN_MAX, SOURCES_MAX, STALL_AFTER,
};
use crate::error::Exit;
use crate::proto::ConnId;
use crate::proto::event::SourceState;
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, Owner, Reason, SourceIndex};
use crate::time::Time;
use crate::wire::HostPort;

impl Transfer {
    // ---- dialing --------------------------------------------------------------------------------

    pub(super) fn dial_more(&mut self, cx: &mut Context) {
        let mut used = self.sources.iter().filter(|source| source.is_used()).count();
        while used < SOURCES_MAX {
            let idle = |source: &Source| source.state == SourceState::Idle;
            let next = self.sources.iter().position(idle);
            let Some(index) = next.or_else(|| self.sources.iter().position(|s| s.is_due(cx.now))) else { return };
            let dial = cx.dial(Owner::Source(self.order.id, index), &self.sources[index].addr);
            self.sources[index].dial = Some(dial);
            self.set_state(cx, index, SourceState::Connecting, None);
            used += 1;
        }
    }

    pub(super) fn on_dialed(&mut self, cx: &mut Context, index: SourceIndex, conn: ConnId) {
        let source = &mut self.sources[index];
        source.dial = None;
        source.conn = Some(conn);
        source.since = cx.now;
        cx.hello(conn);
    }

    pub(super) fn on_dial_failed(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.sources[index].dial = None;
        self.lose(cx, index, why);
    }

    pub(super) fn on_closed(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.sources[index].conn = None;
        self.lose(cx, index, &format!("closed the connection ({why})"));
    }

    /// The source is lost for now: its pieces are free again, and it is dialed again later.
    pub(super) fn lose(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        mark!(SourceLost);
        // A piece that came completely is still judged: its digests are being computed.
        let in_hand = |request: &Request| request.is_in_hand() && matches!(request.wanted, Wanted::Piece(_));
        let requests = std::mem::take(&mut self.sources[index].requests);
        let (kept, rest) = requests.into_iter().partition(|(_, request)| in_hand(request));
        self.sources[index].requests = rest;
        self.release(cx, index);
        let source = &mut self.sources[index];
        source.requests = kept;
        if matches!(source.state, SourceState::Active | SourceState::Stalled) {
            source.fruitless += 1;
            if source.fruitless >= SOURCE_FRUITLESS_MAX {
                let why = format!("sent no right piece over {SOURCE_FRUITLESS_MAX} connections; last, it {why}");
                return self.drop_source(cx, index, &why);
            }
        }
        self.sources[index].back_off(cx.now);
        self.set_state(cx, index, SourceState::Lost, Some(why.to_owned()));
        self.pump(cx);
    }

    /// Stops using the source for this download.
    pub(super) fn drop_source(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.release(cx, index);
        self.short_of_sources = true;
        self.set_state(cx, index, SourceState::Dropped, Some(why.to_owned()));
        self.pump(cx);
    }

    /// Drops a source whose bytes or messages are wrong.
    pub(super) fn drop_liar(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        let source = &mut self.sources[index];
        source.lied = true;
        cx.warn(format!("{} is dropped as a source of {:?}: it {why}", source.addr, self.order.name));
        self.drop_source(cx, index, why);
    }

    /// Ends its connection and frees the pieces that it was asked for.
    fn release(&mut self, cx: &mut Context, index: SourceIndex) {
        let source = &mut self.sources[index];
        cx.give_up(source.dial.take(), source.conn.take());
        for request in std::mem::take(&mut source.requests).into_values() {
            if let (Wanted::Piece(piece), false) = (request.wanted, request.canceled) {
                self.picker.release(piece, index);
            }
        }
        self.forget_proof(cx, index);
    }

    // ---- more sources ---------------------------------------------------------------------------

    pub(super) fn remember(&mut self, addrs: Vec<HostPort>) {
        for addr in addrs {
            if let Some(known) = self.sources.iter_mut().find(|source| source.addr == addr) {
                // A super peer names it again: a lost source is tried once more at once.
                if known.state == SourceState::Lost {
                    known.retry_at = Time::ZERO;
                }
            } else if self.sources.len() < SOURCES_KNOWN_MAX {
                self.sources.push(Source::new(addr));
            }
        }
    }

    pub(super) fn add_sources(&mut self, cx: &mut Context, addrs: Vec<HostPort>) {
        if !self.order.only {
            self.remember(addrs);
            self.pump(cx);
        }
    }

    /// Whether to search for more sources now. Fails the download if no source is left and no
    /// search can help.
    pub(super) fn should_search(&mut self, cx: &mut Context, session_up: bool) -> bool {
        if self.searching || !matches!(self.phase, Phase::Proving(_) | Phase::Fetching) {
            return false;
        }
        let waited = self.searched_at.is_none_or(|at| at + REQUERY_INTERVAL <= cx.now);
        let may_search = session_up && !self.order.only && waited;
        let hopeless = self.sources.iter().all(|source| source.state == SourceState::Dropped);
        // Verified pieces need no source, even if they are not written yet.
        let missing = self.picker.have() < self.picker.len();
        if hopeless && missing && !may_search {
            self.fail_without_sources(cx);
            return false;
        }
        let lost = self.sources.iter().any(|source| source.state == SourceState::Lost);
        if may_search && missing && (lost || self.short_of_sources) {
            mark!(SourcesAskedAgain);
            self.searching = true;
            self.short_of_sources = false;
            self.searched_at = Some(cx.now);
            return true;
        }
        false
    }

    fn fail_without_sources(&mut self, cx: &mut Context) {
        let all = self.faults("was dropped");
        if self.sources.iter().any(|source| source.lied) {
            self.fail(cx, Exit::Integrity, &format!("no source gave valid data: {all}"));
        } else if self.sources.iter().any(|source| source.fruitless >= SOURCE_FRUITLESS_MAX) {
            self.fail(cx, Exit::TimedOut, &format!("no source sends what it has: {all}"));
        } else {
            self.fail(cx, Exit::NotFound, &format!("no source is left that has it: {all}"));
        }
    }

    /// All sources with what is wrong with each.
    fn faults(&self, otherwise: &str) -> String {
        let fault = |source: &Source| format!("{} {}", source.addr, source.why.as_deref().unwrap_or(otherwise));
        self.sources.iter().map(fault).collect::<Vec<_>>().join("; ")
    }

    // ---- the clock ------------------------------------------------------------------------------

    pub(super) fn on_tick(&mut self, cx: &mut Context) {
        for index in 0..self.sources.len() {
            self.sources[index].on_tick(PROGRESS_INTERVAL);
            self.check_source(cx, index);
        }
        self.change_prover(cx);
        self.report_progress(cx);
        if self.writing.is_empty() && cx.now.since(self.alive_at) >= NO_SOURCE_MAX {
            return self.fail_silent(cx);
        }
        self.pump(cx);
        if !matches!(self.phase, Phase::Over | Phase::Publishing) {
            cx.timers.set(Reason::Download(self.order.id), cx.now + PROGRESS_INTERVAL);
        }
    }

    /// Notes a source that sends nothing, and ends its connection if that goes on.
    fn check_source(&mut self, cx: &mut Context, index: SourceIndex) {
        let source = &self.sources[index];
        let quiet = cx.now.since(source.progress_at);
        let owes = source.outstanding() > 0;
        match source.state {
            SourceState::Connecting if source.conn.is_some() && cx.now.since(source.since) >= LOGIN_DEADLINE => {
                self.lose(cx, index, "does not welcome us");
            }
            SourceState::Active | SourceState::Stalled if owes && quiet >= ANSWER_DEADLINE => {
                self.lose(cx, index, "sends nothing");
            }
            SourceState::Active if owes && quiet >= STALL_AFTER => {
                self.set_state(cx, index, SourceState::Stalled, Some("sends nothing".into()));
                self.relieve(cx, index);
            }
            SourceState::Idle
            | SourceState::Connecting
            | SourceState::Active
            | SourceState::Stalled
            | SourceState::Lost
            | SourceState::Dropped => {}
        }
    }

    fn fail_silent(&mut self, cx: &mut Context) {
        mark!(AllSilent);
        let all = self.faults("sends nothing");
        let exit = if self.reached { Exit::TimedOut } else { Exit::Unreachable };
        self.fail(cx, exit, &format!("no source sent anything for {} s: {all}", NO_SOURCE_MAX.as_secs()));
    }
}
