//! The files of REGISTER and UPDATE. A few are added and removed at once. A long page is done in
//! slices, so that no turn is long; until it is done, nothing more is read from its session.

use super::page::Page;
use super::table::{Fault, MEMORY_IS_SHORT, Place, Sessions, State, refuse};
use crate::config::{PAGE_FILES_AT_ONCE, PAGES_PUT_OFF_MAX};
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::index::Index;
use crate::proto::{ConnId, Output};
use crate::wire::FileRecord;
use crate::wire::message::{Ack, ErrorCode};

impl Sessions {
    /// Does a page: at once if it is short or if many wait, else in later turns.
    pub(super) fn take_page(&mut self, mut page: Page, cx: &mut Context) -> Result<(), Fault> {
        if page.len() > PAGE_FILES_AT_ONCE && self.pages.len() < PAGES_PUT_OFF_MAX {
            cx.out.push(Output::Hold { conn: page.conn, hold: true });
            self.pages.push_back(page);
            return Ok(());
        }
        let (conn, mut all) = (page.conn, usize::MAX);
        self.ack = self.go_on(&mut page, &mut all, cx)?.map(|ack| (conn, ack));
        Ok(())
    }

    /// A session has sent something although nothing is read from it: does the rest of its page
    /// first. Returns the ACK.
    #[inline(always)]
    pub(crate) fn finish_page(&mut self, conn: ConnId, cx: &mut Context) -> Option<(ConnId, Ack)> {
        if self.pages.is_empty() { None } else { self.finish_page_of(conn, cx) }
    }

    fn finish_page_of(&mut self, conn: ConnId, cx: &mut Context) -> Option<(ConnId, Ack)> {
        let at = self.pages.iter().position(|page| page.conn == conn)?;
        let (page, mut all) = (self.pages.remove(at)?, usize::MAX);
        self.end_slice(page, &mut all, cx)
    }

    /// Does the next slice of the pages that wait: of `left` files, from which it takes those that
    /// it has done. Returns the ACK of a page once it is done, and must then be called again.
    pub(crate) fn next_page(&mut self, left: &mut usize, cx: &mut Context) -> Option<(ConnId, Ack)> {
        while *left > 0
            && let Some(page) = self.pages.pop_front()
        {
            // Others come first next time.
            let mut share = (*left).min(PAGE_FILES_AT_ONCE);
            let given = share;
            let ack = self.end_slice(page, &mut share, cx);
            *left -= (given - share).max(1);
            if ack.is_some() {
                return ack;
            }
        }
        None
    }

    /// Does a slice of a page. Puts the page back, or returns its ACK.
    fn end_slice(&mut self, mut page: Page, left: &mut usize, cx: &mut Context) -> Option<(ConnId, Ack)> {
        let conn = page.conn;
        match self.change_files(conn, cx, |sessions, cx| sessions.go_on(&mut page, left, cx)) {
            Ok(Some(ack)) => {
                cx.out.push(Output::Hold { conn, hold: false });
                Some((conn, ack))
            }
            Ok(None) => {
                self.pages.push_back(page);
                None
            }
            Err(fault) => {
                self.close(conn, fault, cx);
                None
            }
        }
    }

    /// Adds and removes up to `left` files. Returns the ACK if nothing is left of the page.
    fn go_on(&mut self, page: &mut Page, left: &mut usize, cx: &mut Context) -> Result<Option<Ack>, Fault> {
        let conn = page.conn;
        let session = self.session(conn).expect("the page of a session that ends is dropped");
        let holder = session.holder;
        for path in page.removed.by_ref().take(*left) {
            *left -= 1;
            let Some(holder) = holder.get() else { continue };
            if cx.index.remove(holder, path.as_str()) {
                cx.logins.on_file(conn, path.as_str().len(), false);
            }
        }
        if page.removed.len() > 0 {
            return Ok(None);
        }
        // Other pages are done between two slices of this one, so each slice needs room of its own.
        let slice: Vec<FileRecord> = page.added.by_ref().take(*left).collect();
        *left -= slice.len();
        if !slice.is_empty() && cx.is_index_full() {
            self.end_list(page);
            return self.refuse_files(conn, cx).map(Some);
        }
        let slice = allowed(page, holder, slice, cx);
        self.session(conn).expect("it was there").check_room(slice.len(), &cx.index)?;
        for file in slice {
            let Some(holder) = holder.get() else { continue };
            let (before, length) = (cx.index.files_of(holder), file.path.as_str().len());
            cx.index.insert(holder, file);
            if cx.index.files_of(holder) > before {
                cx.logins.on_file(conn, length, true);
            }
        }
        if page.added.len() > 0 {
            return Ok(None);
        }
        self.end_list(page);
        Ok(self.session(conn).map(|session| session.acknowledgement(&cx.index)))
    }

    /// A page is done: with the last one the list is complete.
    fn end_list(&mut self, page: &Page) {
        if let Some(session) = self.session_mut(page.conn).filter(|_| page.is_last) {
            session.state = State::Open;
        }
    }

    /// There is no memory for the files of this page. What the session has registered stays, and
    /// the ACK says how many files that is. A session that has registered none is closed, so that
    /// its peer uses another super peer.
    pub(super) fn refuse_files(&mut self, conn: ConnId, cx: &mut Context) -> Result<Ack, Fault> {
        let session = self.session(conn).expect("the session is open");
        let ack = session.acknowledgement(&cx.index);
        if ack.files == 0 {
            return Err(Fault::memory());
        }
        cx.count(Count::PagesRefused);
        refuse(conn, ErrorCode::LIMIT, MEMORY_IS_SHORT.to_owned(), None, cx);
        Ok(ack)
    }

    /// Changes the files of a session, and updates the count of sessions that share any.
    pub(super) fn change_files<T>(
        &mut self,
        conn: ConnId,
        cx: &mut Context,
        change: impl FnOnce(&mut Sessions, &mut Context) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let shares = |sessions: &Sessions, index: &Index| sessions.session(conn).is_some_and(|it| it.shares(index));
        let before = shares(self, &cx.index);
        let changed = change(self, cx);
        cx.sharing = cx.sharing + usize::from(shares(self, &cx.index)) - usize::from(before);
        changed
    }

    /// A session ends, and its page with it.
    pub(super) fn drop_page(&mut self, conn: ConnId) {
        self.pages.retain(|page| page.conn != conn);
    }

    pub(super) fn check_pages(&self) {
        assert!(self.pages.len() <= PAGES_PUT_OFF_MAX && self.pages.iter().all(|page| page.len() > 0));
        for (at, page) in self.pages.iter().enumerate() {
            assert!(self.session(page.conn).is_some_and(|session| session.state.is_open()));
            assert!(self.pages.iter().skip(at + 1).all(|other| other.conn != page.conn), "one of each session");
        }
    }
}

/// The files of a slice that the account of the session may register. For the others the session
/// gets one ERROR a page. A file that replaces one of the same path needs no room.
fn allowed(page: &mut Page, holder: Place, mut files: Vec<FileRecord>, cx: &mut Context) -> Vec<FileRecord> {
    let Some(mut room) = cx.logins.room(page.conn) else { return files };
    let mut refused = None;
    files.retain(|file| {
        let path = file.path.as_str();
        let is_held = holder.get().is_some_and(|holder| cx.index.holds(holder, path));
        let taken = if is_held { Ok(()) } else { room.take(path.len()) };
        let fits = taken.is_ok();
        refused = refused.take().or(taken.err());
        fits
    });
    if let Some(why) = refused
        && !std::mem::replace(&mut page.is_refused, true)
    {
        cx.count(Count::AccountFiles);
        refuse(page.conn, ErrorCode::LIMIT, why, None, cx);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PUT_OFF_FILES_PER_TURN;
    use crate::proto::super_peer::testnet::{Net, file, register, search, update};
    use crate::proto::{Output, Role};
    use crate::wire::Message;

    const LONG: usize = 5 * PAGE_FILES_AT_ONCE;

    fn paths(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("music/{n}")).collect()
    }

    fn long(seq: u64) -> Message {
        register(seq, paths(LONG).iter().map(|path| file(path)).collect())
    }

    fn records(net: &Net) -> usize {
        net.machine(0).index().records()
    }

    /// One turn of the machine. Returns how many records came or went, and what it put out.
    fn turn(net: &mut Net) -> (usize, Vec<Output>) {
        let (before, now) = (records(net), net.now());
        let machine = net.machine_mut(0);
        machine.handle_timeout(now);
        let outputs = std::iter::from_fn(|| machine.poll_output()).collect();
        (records(net).abs_diff(before), outputs)
    }

    fn is_ack(output: &Output, conn: ConnId, files: usize) -> bool {
        matches!(output, Output::Send { conn: to, message: Message::Ack(ack) } if *to == conn && ack.files == files as u64)
    }

    /// Turns until this session has its ACK for this many files; no turn does more than it may.
    fn until_ack(net: &mut Net, conn: ConnId, files: usize) -> usize {
        for turns in 1..100 {
            let (done, outputs) = turn(net);
            assert!((1..=PUT_OFF_FILES_PER_TURN).contains(&done), "{done} in a turn");
            if let Some(at) = outputs.iter().position(|output| is_ack(output, conn, files)) {
                assert_eq!(outputs[at - 1], Output::Hold { conn, hold: false }, "it is read again");
                return turns;
            }
        }
        panic!("no ACK");
    }

    #[test]
    fn a_long_page_is_done_in_slices_and_then_acknowledged() {
        let mut net = Net::new(1, &[]);
        let conn = net.login(0);
        let now = net.now();
        net.machine_mut(0).handle_input(now, crate::proto::Input::Message { conn, message: long(1) });
        assert_eq!(records(&net), 0);
        let outputs = std::iter::from_fn(|| net.machine_mut(0).poll_output());
        assert_eq!(outputs.last(), Some(Output::Hold { conn, hold: true }));
        assert_eq!(until_ack(&mut net, conn, LONG), LONG.div_ceil(PUT_OFF_FILES_PER_TURN));
        let gone = paths(LONG);
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        let message = update(2, &["one more"], &gone);
        net.machine_mut(0).handle_input(now, crate::proto::Input::Message { conn, message });
        assert_eq!(records(&net), LONG);
        until_ack(&mut net, conn, 1);
        net.machine(0).check_invariants();
    }

    #[test]
    fn what_a_session_sends_during_its_page_comes_after_it() {
        let mut net = Net::new(1, &[]);
        let conn = net.login(0);
        let now = net.now();
        net.machine_mut(0).handle_input(now, crate::proto::Input::Message { conn, message: long(1) });
        let req = net.query(0, conn, search("music"), 0, 1000);
        assert_eq!(records(&net), LONG);
        net.run_for(std::time::Duration::from_millis(1));
        assert_eq!(net.hits(0, req).len(), LONG);
        assert!(net.done(0, req).is_some_and(|done| done.complete));
        let said: Vec<_> = net.nodes[0].said.iter().map(|(_, message)| message.kind()).collect();
        assert!(said.iter().position(|kind| *kind == "ACK") < said.iter().position(|kind| *kind == "HIT"), "{said:?}");
        assert_eq!(net.nodes[0].holds, [(conn, true), (conn, false)]);
    }

    #[test]
    fn a_session_that_ends_during_its_page_leaves_nothing() {
        let mut net = Net::new(1, &[]);
        let (conn, other) = (net.login(0), net.peer(0, &["b"]));
        let now = net.now();
        net.machine_mut(0).handle_input(now, crate::proto::Input::Message { conn, message: long(1) });
        assert!(turn(&mut net).0 > 0);
        net.close(0, conn);
        net.run_for(std::time::Duration::from_secs(1));
        assert_eq!((records(&net), net.machine(0).index().holders()), (1, 1));
        net.say(0, other, update(2, &["c"], &[]));
        assert_eq!(records(&net), 2);
    }

    #[test]
    fn pages_of_several_sessions_are_done_in_turn_and_only_so_many_wait() {
        let mut net = Net::new(1, &[]);
        let conns: Vec<ConnId> = (0..=PAGES_PUT_OFF_MAX).map(|_| net.login(0)).collect();
        let now = net.now();
        for conn in &conns {
            let message = long(1);
            net.machine_mut(0).handle_input(now, crate::proto::Input::Message { conn: *conn, message });
        }
        assert_eq!(records(&net), LONG, "the last one is done at once");
        let turns = PAGES_PUT_OFF_MAX * PAGE_FILES_AT_ONCE / PUT_OFF_FILES_PER_TURN;
        (0..turns).for_each(|_| drop(turn(&mut net)));
        let machine = net.machine(0);
        let holder = |conn: &ConnId| machine.sessions.session(*conn).and_then(|session| session.holder.get());
        let of_each: Vec<usize> = conns.iter().filter_map(holder).map(|it| machine.index().files_of(it)).collect();
        let (last, others) = of_each.split_last().unwrap();
        assert_eq!((*last, others), (LONG, &[PAGE_FILES_AT_ONCE; PAGES_PUT_OFF_MAX][..]));
    }
}
