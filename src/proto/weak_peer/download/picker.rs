//! Which piece of a download to fetch next, and from which source. It owns the state of every
//! piece, and the sources from which each piece is requested. It knows no connection and no clock:
//! its callers pass rates and expected times.
//!
//! A piece is requested from one source. It is requested from a second source only through
//! [`Picker::theft`], if this saves enough time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{
    PIECE_BYTES, SEQUENTIAL_AHEAD, SEQUENTIAL_PIECES, SOURCE_AHEAD, SOURCE_PIPELINE_MAX, STEAL_GAIN_MIN,
};
use crate::proto::pieces_of;

/// The number of sources from which one piece may be requested at once: the first source, and one
/// that takes the piece over.
pub(super) const CLAIMANTS_MAX: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Asked,
    Have,
}

/// The pieces of one download. `S` is the id of a source.
#[derive(Debug)]
pub struct Picker<S> {
    size: u64,
    states: Vec<State>,
    /// No piece below this one is free.
    low: usize,
    /// Pieces from the first number on are fetched before others. The second number is at or before
    /// the first free one of these pieces.
    aim: Option<(usize, usize)>,
    /// All pieces with lower numbers are verified.
    first: usize,
    free: usize,
    have: usize,
    claims: BTreeMap<u32, Vec<S>>,
    /// In a swarm: the free pieces in random order, and how many partial holders have each piece.
    loose: Option<Loose>,
    /// The own pieces, see [`Picker::set_own`].
    own: (u32, u32),
}

/// The free pieces of a download in a swarm.
#[derive(Debug)]
struct Loose {
    /// The free pieces, in random order.
    list: Vec<u32>,
    /// Where each piece is in the list; [`NOWHERE`] if it is not free.
    at: Vec<u32>,
    /// For each piece: the number of partial holders that have it.
    counts: Vec<u16>,
    /// The number of free pieces that no partial holder has.
    orphans: usize,
    /// Pieces that have become free (`true`) or are no longer free.
    changes: Vec<(u32, bool)>,
    /// For each piece: the number of partial holders in the zone of this peer that have it.
    near: Vec<u16>,
    /// An own piece is *away* if it is free and no partial holder in the zone has it. These pieces
    /// have become away (`true`) or are no longer away.
    away_changes: Vec<(u32, bool)>,
}

const NOWHERE: u32 = u32::MAX;
/// The free pieces in a window of this number of pieces are assigned before other pieces. The
/// window begins at the first free piece at or after the aim.
const AIMED_MAX: usize = 16;
/// The rarest piece is chosen among at most this number of free pieces that fit.
const CANDIDATES_MAX: usize = 256;
/// The largest number of free pieces that are examined to find these candidates.
const LOOKED_AT_MAX: usize = 4096;

impl Loose {
    fn set(&mut self, piece: u32, is_free: bool, is_own: bool) {
        let place = piece as usize;
        let orphan = usize::from(self.counts[place] == 0);
        let at = self.at[place];
        match (is_free, at) {
            (true, NOWHERE) => {
                self.at[place] = u32::try_from(self.list.len()).unwrap_or(NOWHERE);
                self.list.push(piece);
                self.orphans += orphan;
            }
            (false, at) if at != NOWHERE => {
                self.list.swap_remove(at as usize);
                if let Some(moved) = self.list.get(at as usize) {
                    self.at[*moved as usize] = at;
                }
                self.at[place] = NOWHERE;
                self.orphans -= orphan;
            }
            (true | false, _) => return,
        }
        self.changes.push((piece, is_free));
        if self.near[place] == 0 && is_own {
            self.away_changes.push((piece, is_free));
        }
    }
}

impl<S: Copy + Eq> Picker<S> {
    /// A picker for a content of this size. All pieces are missing.
    #[must_use]
    pub fn new(size: u64) -> Picker<S> {
        let pieces = usize::try_from(pieces_of(size)).unwrap_or(usize::MAX);
        let states = vec![State::Free; pieces];
        let (claims, loose, own) = (BTreeMap::new(), None, (0, 1));
        Picker { size, states, low: 0, aim: None, first: 0, free: pieces, have: 0, claims, loose, own }
    }

    /// Number of pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether the content is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many pieces are missing and requested from no source.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many pieces are verified.
    #[must_use]
    pub fn have(&self) -> usize {
        self.have
    }

    /// Whether this piece is verified.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        self.states.get(piece as usize) == Some(&State::Have)
    }

    /// The offset of the piece.
    #[must_use]
    pub fn offset(&self, piece: u32) -> u64 {
        u64::from(piece) * PIECE_BYTES
    }

    /// The length of the piece.
    #[must_use]
    pub fn length(&self, piece: u32) -> u32 {
        let left = self.size.saturating_sub(self.offset(piece));
        u32::try_from(left.min(PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    /// The sources from which the piece is requested.
    #[must_use]
    pub fn claimants(&self, piece: u32) -> &[S] {
        self.claims.get(&piece).map_or(&[], Vec::as_slice)
    }

    /// Makes room for a request of the piece to one more source. If all places are used, the
    /// request to the slowest source loses its place.
    pub fn make_room(&mut self, piece: u32, slowest: S) {
        if self.claimants(piece).len() >= CLAIMANTS_MAX {
            self.release(piece, slowest);
        }
    }

    /// Pieces from this one on are assigned before others.
    pub fn aim(&mut self, piece: u32) {
        self.aim = Some((piece as usize, piece as usize));
    }

    /// The first free piece that fits, among `AIMED_MAX` pieces from the first free one at or
    /// after the aim; `None` without an aim.
    pub fn aimed(&mut self, fits: impl Fn(&Self, u32) -> bool) -> Option<u32> {
        let (_, next) = self.aim.as_mut()?;
        while self.states.get(*next).is_some_and(|state| *state != State::Free) {
            *next += 1;
        }
        let (next, end) = (*next, self.states.len().min(next.saturating_add(AIMED_MAX)));
        let free = (next..end).filter(|at| self.states[*at] == State::Free);
        free.filter_map(|at| u32::try_from(at).ok()).find(|piece| fits(self, *piece))
    }

    /// Assigns the first free piece at or after the aim. If there is none, assigns the lowest free
    /// piece.
    pub fn take(&mut self, source: S) -> Option<u32> {
        if let Some(piece) = self.aimed(|_, _| true) {
            self.claim(piece, source);
            return Some(piece);
        }
        while self.states.get(self.low).is_some_and(|state| *state != State::Free) {
            self.low += 1;
        }
        let piece = u32::try_from(self.low).ok()?;
        self.states.get(self.low)?;
        self.claim(piece, source);
        Some(piece)
    }

    /// Assigns the lowest free piece that fits, if it is near the first piece that is not verified.
    /// Near means among the next [`SEQUENTIAL_PIECES`], or among the pieces that come in
    /// [`SEQUENTIAL_AHEAD`] at this rate.
    pub fn take_in_order(&mut self, source: S, rate: u64, fits: impl Fn(&Self, u32) -> bool) -> Option<u32> {
        while self.states.get(self.first) == Some(&State::Have) {
            self.first += 1;
        }
        let ahead = usize::try_from(rate.saturating_mul(SEQUENTIAL_AHEAD.as_secs()) / PIECE_BYTES).unwrap_or(0);
        let end = self.states.len().min(self.first + SEQUENTIAL_PIECES.max(ahead));
        let next = (self.first..end).filter_map(|piece| u32::try_from(piece).ok());
        let piece = next.into_iter().find(|piece| self.is_free(*piece) && fits(self, *piece))?;
        self.claim(piece, source);
        Some(piece)
    }

    /// Whether this piece is missing and requested from no source.
    #[must_use]
    pub fn is_free(&self, piece: u32) -> bool {
        self.states.get(piece as usize) == Some(&State::Free)
    }

    // ---- in a swarm -----------------------------------------------------------------------------

    /// Brings the free pieces into random order, and sets the counts of the partial holders to 0.
    /// `draw` returns a random number below its argument.
    pub fn loosen(&mut self, draw: &mut impl FnMut(usize) -> usize) {
        let pieces = self.states.len();
        let mut list: Vec<u32> = (0..).zip(&self.states).filter(|(_, s)| **s == State::Free).map(|(p, _)| p).collect();
        for last in (1..list.len()).rev() {
            list.swap(last, draw(last + 1));
        }
        let mut at = vec![NOWHERE; pieces];
        (0..).zip(&list).for_each(|(place, piece)| at[*piece as usize] = place);
        let (orphans, counts, near) = (list.len(), vec![0; pieces], vec![0; pieces]);
        let (changes, away_changes) = (Vec::new(), Vec::new());
        self.loose = Some(Loose { list, at, counts, orphans, changes, near, away_changes });
    }

    /// Counts that one more partial holder has this piece, or one fewer. `is_near`: whether the
    /// partial holder is in the zone of this peer.
    pub fn count(&mut self, piece: u32, more: bool, is_near: bool) {
        let (is_free, is_own) = (self.is_free(piece), self.is_own(piece));
        let Some(loose) = &mut self.loose else { return };
        let Some(count) = loose.counts.get_mut(piece as usize) else { return };
        let was = step(count, more);
        if is_free {
            loose.orphans = loose.orphans + usize::from(*count == 0) - usize::from(was == 0);
        }
        let near = &mut loose.near[piece as usize];
        if is_near && (step(near, more) == 0) != (*near == 0) && is_free && is_own {
            loose.away_changes.push((piece, *near == 0));
        }
    }

    /// The number of partial holders that have this piece; `None` outside of a swarm.
    #[must_use]
    pub fn counted(&self, piece: u32) -> Option<usize> {
        Some(usize::from(*self.loose.as_ref()?.counts.get(piece as usize)?))
    }

    /// Whether this piece is away: it is one of the own pieces and free, and no partial holder in
    /// the zone has it.
    #[must_use]
    pub fn is_away(&self, piece: u32) -> bool {
        let is_near = |loose: &Loose| loose.near.get(piece as usize).is_some_and(|count| *count > 0);
        self.is_free(piece) && self.is_own(piece) && !self.loose.as_ref().is_some_and(is_near)
    }

    fn is_own(&self, piece: u32) -> bool {
        let (rest, of) = self.own;
        piece % of == rest
    }

    /// Sets the own pieces: those whose number modulo the second number is the first number.
    pub fn set_own(&mut self, own: (u32, u32)) {
        self.own = own;
    }

    /// Pieces that have become away (`true`) or are no longer away since the last call, in order.
    pub fn take_away_changes(&mut self) -> Vec<(u32, bool)> {
        self.loose.as_mut().map_or(Vec::new(), |loose| std::mem::take(&mut loose.away_changes))
    }

    /// The number of free pieces that no partial holder has.
    #[must_use]
    pub fn orphans(&self) -> usize {
        self.loose.as_ref().map_or(0, |loose| loose.orphans)
    }

    /// Whether a free piece fits.
    #[must_use]
    pub fn has_free(&self, fits: impl Fn(u32) -> bool) -> bool {
        self.loose.as_ref().is_some_and(|loose| loose.list.iter().any(|piece| fits(*piece)))
    }

    /// How many free pieces fit.
    #[must_use]
    pub fn free_of(&self, fits: impl Fn(u32) -> bool) -> usize {
        self.loose.as_ref().map_or(0, |loose| loose.list.iter().filter(|piece| fits(**piece)).count())
    }

    /// Pieces that have become free (`true`) or are no longer free since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<(u32, bool)> {
        self.loose.as_mut().map_or(Vec::new(), |loose| std::mem::take(&mut loose.changes))
    }

    /// Assigns the rarest free piece that fits. Among equally rare pieces it chooses at random.
    pub fn take_rarest(&mut self, source: S, fits: impl Fn(&Self, u32) -> bool) -> Option<u32> {
        let loose = self.loose.as_ref()?;
        let fitting = loose.list.iter().take(LOOKED_AT_MAX).filter(|piece| fits(self, **piece)).take(CANDIDATES_MAX);
        let piece = *fitting.min_by_key(|piece| loose.counts[**piece as usize])?;
        self.claim(piece, source);
        Some(piece)
    }

    fn note(&mut self, piece: u32, is_free: bool) {
        let is_own = self.is_own(piece);
        if let Some(loose) = &mut self.loose {
            loose.set(piece, is_free, is_own);
        }
    }

    /// Assigns this piece to one more source. Returns whether that is possible.
    pub fn claim(&mut self, piece: u32, source: S) -> bool {
        match self.states.get_mut(piece as usize) {
            None | Some(State::Have) => return false,
            Some(state @ State::Free) => {
                *state = State::Asked;
                self.free -= 1;
                self.note(piece, false);
            }
            Some(State::Asked) => {}
        }
        let claimants = self.claims.entry(piece).or_default();
        if claimants.contains(&source) || claimants.len() >= CLAIMANTS_MAX {
            return false;
        }
        claimants.push(source);
        true
    }

    /// The piece is no longer requested from the source. It is free again unless it is requested
    /// from another source.
    pub fn release(&mut self, piece: u32, source: S) {
        let Some(claimants) = self.claims.get_mut(&piece) else { return };
        claimants.retain(|claimant| *claimant != source);
        if claimants.is_empty() {
            self.claims.remove(&piece);
            self.states[piece as usize] = State::Free;
            self.free += 1;
            self.low = self.low.min(piece as usize);
            if let Some((first, next)) = &mut self.aim
                && (*first..*next).contains(&(piece as usize))
            {
                *next = piece as usize;
            }
            self.note(piece, true);
        }
    }

    /// The piece is verified, and stays so. Returns the sources from which it is requested.
    pub fn verified(&mut self, piece: u32) -> Vec<S> {
        let Some(state) = self.states.get_mut(piece as usize) else { return Vec::new() };
        match *state {
            State::Have => return Vec::new(),
            State::Free => self.free -= 1,
            State::Asked => {}
        }
        *state = State::Have;
        self.have += 1;
        self.note(piece, false);
        self.claims.remove(&piece).unwrap_or_default()
    }

    /// The piece that an idle source should take over, and the slowest holder of this piece. It is
    /// the piece that would come last, if taking it over saves enough time. `mine` returns how long
    /// the thief needs for a piece. `left` returns how long a holder still needs; none if the
    /// holder has stalled.
    pub fn theft(
        &self,
        thief: S,
        mine: impl Fn(u32) -> Duration,
        left: impl Fn(S, u32) -> Option<Duration>,
    ) -> Option<(u32, S)> {
        self.theft_of(thief, (|_| true, STEAL_GAIN_MIN), mine, left)
    }

    /// As [`Picker::theft`], among the pieces that fit, if this saves at least `gain`.
    pub fn theft_of(
        &self,
        thief: S,
        (fits, gain): (impl Fn(u32) -> bool, Duration),
        mine: impl Fn(u32) -> Duration,
        left: impl Fn(S, u32) -> Option<Duration>,
    ) -> Option<(u32, S)> {
        let mut best: Option<(u32, S, Option<Duration>)> = None;
        for (&piece, claimants) in &self.claims {
            if claimants.contains(&thief) || !fits(piece) {
                continue;
            }
            let mut soonest: Option<(S, Option<Duration>)> = None;
            let mut latest: Option<(S, Option<Duration>)> = None;
            for &holder in claimants {
                let time = left(holder, piece);
                if soonest.is_none_or(|(_, least)| later(least, time)) {
                    soonest = Some((holder, time));
                }
                if latest.is_none_or(|(_, most)| later(time, most)) {
                    latest = Some((holder, time));
                }
            }
            let (Some((_, left)), Some((holder, _))) = (soonest, latest) else { continue };
            if pays_by(gain, mine(piece), left) && best.is_none_or(|(_, _, most)| later(left, most)) {
                best = Some((piece, holder, left));
            }
        }
        best.map(|(piece, holder, _)| (piece, holder))
    }
}

/// Increases the count by one, or decreases it. Returns the count before.
fn step(count: &mut u16, more: bool) -> u16 {
    let after = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    std::mem::replace(count, after)
}

/// Whether the first time is later than the second one; none means never.
fn later(first: Option<Duration>, second: Option<Duration>) -> bool {
    match (first, second) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(first), Some(second)) => first > second,
    }
}

/// Whether a thief that needs `mine` should take over a piece for which its holder still needs
/// `left`. From a stalled holder it always should. If the holder has not stalled, the thief must be
/// twice as fast, and must save enough time to justify that bytes may be fetched twice.
#[must_use]
pub fn pays(mine: Duration, left: Option<Duration>) -> bool {
    pays_by(STEAL_GAIN_MIN, mine, left)
}

/// As [`pays`], if the thief saves at least `gain`.
fn pays_by(gain: Duration, mine: Duration, left: Option<Duration>) -> bool {
    left.is_none_or(|left| left > mine.saturating_mul(2) && left - mine >= gain)
}

/// How many pieces to request from a source at once: as many as it sends in [`SOURCE_AHEAD`], but
/// at most an equal share of the missing pieces. So no source delays pieces that another source
/// could send.
#[must_use]
pub fn depth(rate: Option<u64>, free: usize, outstanding: usize, sources: usize) -> usize {
    let Some(rate) = rate else { return 1 };
    let ahead = u128::from(rate) * SOURCE_AHEAD.as_millis() / 1000;
    let by_rate = usize::try_from(ahead.div_ceil(u128::from(PIECE_BYTES))).unwrap_or(usize::MAX);
    let share = (free + outstanding).div_ceil(sources.max(1));
    by_rate.min(share).clamp(1, SOURCE_PIPELINE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_offsets_and_lengths() {
        let picker = Picker::<u8>::new(2 * PIECE_BYTES + 5);
        assert_eq!(picker.len(), 3);
        assert_eq!((picker.offset(2), picker.length(2)), (2 * PIECE_BYTES, 5));
        assert_eq!(picker.length(1), 1 << 20);
        assert!(Picker::<u8>::new(0).is_empty());
    }

    #[test]
    fn a_released_piece_is_taken_again_first() {
        let mut picker = Picker::new(3 * PIECE_BYTES);
        assert_eq!(picker.take('a'), Some(0));
        assert_eq!(picker.take('a'), Some(1));
        picker.release(0, 'a');
        assert_eq!(picker.take('b'), Some(0));
        assert_eq!(picker.take('b'), Some(2));
        assert_eq!(picker.take('b'), None);
    }

    #[test]
    fn pieces_from_the_aim_on_come_first() {
        let mut picker = Picker::new(5 * PIECE_BYTES);
        picker.aim(3);
        assert_eq!((picker.take('a'), picker.take('a')), (Some(3), Some(4)));
        picker.release(3, 'a');
        assert_eq!((picker.take('b'), picker.take('b')), (Some(3), Some(0)));
        picker.loosen(&mut |_| 0);
        picker.aim(1);
        assert_eq!(picker.aimed(|_, piece| piece == 2), Some(2), "the source has only this one");
        picker.aim(99);
        assert_eq!((picker.take('c'), picker.take('c'), picker.take('c')), (Some(1), Some(2), None));
    }

    #[test]
    fn pieces_in_order_are_at_most_a_window_after_the_first_that_is_missing() {
        let mut picker = Picker::new(100 * PIECE_BYTES);
        let taken: Vec<_> = std::iter::from_fn(|| picker.take_in_order('a', 0, |_, piece| piece % 2 == 1)).collect();
        assert_eq!(taken, [1, 3, 5, 7, 9, 11, 13, 15]);
        picker.claim(0, 'b');
        picker.verified(1);
        picker.verified(0);
        assert_eq!(picker.take_in_order('a', 0, |_, piece| piece > 15), Some(16));
        assert_eq!(picker.take_in_order('a', 0, |_, piece| piece > 15), Some(17));
        assert_eq!(picker.take_in_order('a', 0, |_, piece| piece > 15), None);
        assert_eq!(picker.take_in_order('a', 20 * PIECE_BYTES, |_, piece| piece > 40), Some(41));
    }

    #[test]
    fn a_stolen_piece_has_two_claimants_and_never_three() {
        let mut picker = Picker::new(PIECE_BYTES);
        picker.take('a');
        assert!(picker.claim(0, 'b'));
        assert!(!picker.claim(0, 'c'));
        picker.release(0, 'a');
        assert_eq!(picker.free(), 0);
        assert_eq!(picker.verified(0), ['b']);
        assert!(!picker.claim(0, 'c'));
    }

    #[test]
    fn equal_sources_do_not_steal_from_each_other() {
        let ms = Duration::from_millis;
        assert!(!pays(ms(1000), Some(ms(1000))));
        assert!(!pays(ms(10), Some(ms(80))));
        assert!(pays(ms(1000), Some(ms(3000))));
        assert!(pays(ms(1000), None));
    }

    #[test]
    fn the_latest_piece_is_stolen() {
        let mut picker = Picker::new(3 * PIECE_BYTES);
        for _ in 0..3 {
            picker.take('a');
        }
        let second = Duration::from_secs(1);
        let theft = picker.theft('b', |_| second, |_, piece| Some(second * (5 + piece)));
        assert_eq!(theft, Some((2, 'a')));
        let stalled = picker.theft('b', |_| second, |_, piece| (piece != 1).then_some(second));
        assert_eq!(stalled, Some((1, 'a')));
        assert_eq!(picker.theft('a', |_| second, |_, _| None), None);
    }

    #[test]
    fn depth_follows_the_rate_and_the_share() {
        assert_eq!(depth(None, 100, 0, 1), 1);
        assert_eq!(depth(Some(100_000), 100, 0, 1), 1);
        assert_eq!(depth(Some(10 << 20), 100, 0, 1), 5);
        assert_eq!(depth(Some(1 << 30), 100, 0, 1), SOURCE_PIPELINE_MAX);
        assert_eq!(depth(Some(1 << 30), 4, 4, 4), 2);
    }

    #[test]
    fn a_piece_of_two_slow_sources_is_taken_from_the_slower_one() {
        let mut picker = Picker::new(PIECE_BYTES);
        picker.take('a');
        assert!(picker.claim(0, 'b'));
        let seconds = |n| Some(Duration::from_secs(n));
        let left = |b: Option<Duration>| move |source, _| if source == 'a' { seconds(60) } else { b };
        let second = |_| Duration::from_secs(1);
        assert_eq!(picker.theft('c', second, left(seconds(50))), Some((0, 'a')));
        assert_eq!(picker.theft('c', second, left(None)), Some((0, 'b')));
        assert_eq!(picker.theft('c', second, left(seconds(1))), None, "one of them is fast enough");
        picker.make_room(0, 'a');
        assert!(picker.claim(0, 'c'));
        assert_eq!(picker.claimants(0), ['b', 'c']);
    }

    #[test]
    fn the_rarest_piece_is_taken_and_counts_follow_what_is_free() {
        let mut picker = Picker::new(4 * PIECE_BYTES);
        picker.verified(3);
        picker.loosen(&mut |below| below - 1);
        assert_eq!(picker.orphans(), 3);
        for piece in [0, 0, 1, 2, 2, 2] {
            picker.count(piece, true, true);
        }
        assert_eq!((picker.orphans(), picker.free_of(|piece| piece != 1)), (0, 2));
        assert_eq!(picker.take_rarest('a', |_, _| true), Some(1));
        assert_eq!(picker.take_rarest('a', |_, piece| piece != 0), Some(2));
        assert_eq!(picker.take_changes(), [(1, false), (2, false)]);
        picker.release(1, 'a');
        picker.count(1, false, true);
        assert_eq!((picker.orphans(), picker.take_changes()), (1, vec![(1, true)]));
        assert_eq!(picker.take_rarest('b', |_, _| true), Some(1));
        assert_eq!(picker.take_rarest('b', |_, _| true), Some(0));
        assert_eq!(picker.take_rarest('b', |_, _| true), None);
        assert_eq!(picker.orphans(), 0);
    }

    /// Random sources that take, fail, deliver and steal pieces. No piece has two holders unless it
    /// was stolen, and the counts agree. The run ends as long as one source delivers.
    #[test]
    fn every_run_ends_with_every_piece_once() {
        let mut taken_total = 0;
        let mut stolen_total = 0;
        for seed in 1..200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let pieces = 1 + draw(40);
            let mut picker = Picker::new(pieces * PIECE_BYTES);
            let mut asked: Vec<(u32, u64)> = Vec::new();
            let mut verified = vec![0_u32; usize::try_from(pieces).unwrap()];
            for _ in 0..100_000 {
                if picker.have() == picker.len() {
                    break;
                }
                let source = draw(5);
                match draw(10) {
                    0..=3 => {
                        if let Some(piece) = picker.take(source) {
                            assert!(!asked.iter().any(|(other, _)| *other == piece), "seed {seed}: asked twice");
                            asked.push((piece, source));
                            taken_total += 1;
                        }
                    }
                    4..=6 if !asked.is_empty() => {
                        let at = usize::try_from(draw(asked.len() as u64)).unwrap();
                        let (piece, _) = asked.swap_remove(at);
                        verified[piece as usize] += 1;
                        for claimant in picker.verified(piece) {
                            asked.retain(|claim| *claim != (piece, claimant));
                        }
                    }
                    7 if !asked.is_empty() => {
                        let at = usize::try_from(draw(asked.len() as u64)).unwrap();
                        let (piece, source) = asked.swap_remove(at);
                        picker.release(piece, source);
                    }
                    _ => {
                        if let Some((piece, holder)) = picker.theft(source, |_| Duration::ZERO, |_, _| None) {
                            assert_ne!(holder, source);
                            if picker.claimants(piece).len() == CLAIMANTS_MAX {
                                asked.retain(|claim| *claim != (piece, holder));
                            }
                            picker.make_room(piece, holder);
                            assert!(picker.claim(piece, source), "seed {seed}");
                            asked.push((piece, source));
                            stolen_total += 1;
                        }
                    }
                }
                let claimed: usize = (0..picker.len() as u32).map(|piece| picker.claimants(piece).len()).sum();
                assert_eq!(claimed, asked.len(), "seed {seed}");
            }
            assert!(verified.iter().all(|times| *times == 1), "seed {seed}: {verified:?}");
        }
        assert!(taken_total > 1000 && stolen_total > 100);
    }

    #[test]
    fn a_piece_is_away_while_no_believed_source_of_the_zone_has_it() {
        let mut picker = Picker::<u8>::new(3 * PIECE_BYTES);
        picker.loosen(&mut |_| 0);
        picker.count(0, true, true);
        picker.count(1, true, false);
        assert_eq!([0, 1, 2].map(|piece| picker.is_away(piece)), [false, true, true]);
        assert_eq!(picker.take_away_changes(), [(0, false)]);
        picker.claim(1, 7);
        picker.claim(0, 7);
        assert_eq!(picker.take_away_changes(), [(1, false)], "piece 0 was not away");
        picker.count(0, false, true);
        picker.release(0, 7);
        picker.release(1, 7);
        assert_eq!(picker.take_away_changes(), [(0, true), (1, true)]);
        assert!(picker.is_away(0) && picker.is_away(1));
    }
}
