//! Positions: an order of all hits, in which a network is listed page by page, and the arithmetic
//! for the pages.
//!
//! The position of a hit has 40 bytes: its root, and 8 bytes that distinguish the sources of one
//! content. A *range* of positions is a kind of search. A super peer need not keep its index in
//! this order.

use std::fmt;

use super::addr::HostPort;
use super::ids::Root;

/// Bytes of a position.
pub const POSITION_BYTES: usize = 40;

/// The place of a hit in the order of all hits. It is also used for the distance between two
/// positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position([u64; POSITION_BYTES / 8]);

impl Position {
    /// The first position.
    pub const FIRST: Position = Position([0; POSITION_BYTES / 8]);

    /// The position of a hit: its root, then the first 8 bytes of the BLAKE3 of the path, a byte 0,
    /// and the address.
    #[must_use]
    pub fn of(root: &Root, path: &str, addr: &HostPort) -> Position {
        let mut hasher = blake3::Hasher::new();
        hasher.update(path.as_bytes()).update(&[0]).update(addr.to_string().as_bytes());
        let mut position = Position::first_of(root);
        position.0[4] = hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        position
    }

    /// The first position of a content.
    #[must_use]
    pub fn first_of(root: &Root) -> Position {
        let mut limbs = [0; POSITION_BYTES / 8];
        for (limb, bytes) in limbs.iter_mut().zip(root.0.chunks_exact(8)) {
            *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
        }
        Position(limbs)
    }

    /// The content that it belongs to.
    #[must_use]
    pub fn root(&self) -> Root {
        let mut root = [0; Root::LEN];
        for (bytes, limb) in root.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&limb.to_be_bytes());
        }
        Root(root)
    }

    /// The position at this distance after this one. None if that is behind the last position.
    #[must_use]
    pub fn plus(self, distance: Position) -> Option<Position> {
        let mut carry = false;
        let mut sum = self;
        for (limb, more) in sum.0.iter_mut().zip(distance.0).rev() {
            (*limb, carry) = limb.carrying_add(more, carry);
        }
        (!carry).then_some(sum)
    }

    /// The distance from an earlier position to this one.
    #[must_use]
    pub fn minus(self, earlier: Position) -> Position {
        let mut borrow = false;
        let mut distance = self;
        for (limb, less) in distance.0.iter_mut().zip(earlier.0).rev() {
            (*limb, borrow) = limb.borrowing_sub(less, borrow);
        }
        distance
    }

    /// This distance times `times / by`, rounded down, but at least 1; none if it does not fit in a
    /// position.
    #[must_use]
    pub fn scaled(self, times: u64, by: u64) -> Option<Position> {
        let mut scaled = self;
        let mut carry = 0;
        for limb in scaled.0.iter_mut().rev() {
            (*limb, carry) = limb.carrying_mul(times, carry);
        }
        if carry >= by {
            return None;
        }
        let mut rest = u128::from(carry);
        for limb in &mut scaled.0 {
            let part = rest << 64 | u128::from(*limb);
            (*limb, rest) = (low(part / u128::from(by)), part % u128::from(by));
        }
        if scaled == Position::FIRST {
            scaled.0[4] = 1;
        }
        Some(scaled)
    }

    fn parse(digits: &str) -> Option<Position> {
        if digits.len() > 2 * POSITION_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut limbs = [0; POSITION_BYTES / 8];
        for (limb, digits) in limbs.iter_mut().zip(format!("{digits:0<80}").as_bytes().chunks_exact(16)) {
            *limb = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Position(limbs))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(wide: u128) -> u64 {
    wide as u64
}

impl fmt::Display for Position {
    /// Hex digits without the zeros at the end; at least one digit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|limb| format!("{limb:016x}")).collect();
        let shown = digits.trim_end_matches('0');
        f.write_str(if shown.is_empty() { "0" } else { shown })
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Positions from `low` up to `high`. `high` is not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first position.
    pub low: Position,
    /// The first position behind the range; none if the range goes to the end.
    pub high: Option<Position>,
}

impl Range {
    /// Reads `LOW-HIGH`: up to 80 hex digits each, padded with zeros. If LOW is empty, it is the
    /// first position. If HIGH is empty, the range goes to the end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Range> {
        let (low, high) = text.split_once('-')?;
        let high = if high.is_empty() { None } else { Some(Position::parse(high)?) };
        Some(Range { low: Position::parse(low)?, high })
    }

    /// Whether a hit of this content may lie in it.
    #[must_use]
    pub fn may_hold(&self, root: &Root) -> bool {
        let first = Position::first_of(root);
        first.0[..4] >= self.low.0[..4] && self.high.is_none_or(|high| first < high)
    }

    /// Whether every hit of this content lies in it.
    #[must_use]
    pub fn holds_all_of(&self, root: &Root) -> bool {
        let first = Position::first_of(root);
        first >= self.low && self.high.is_none_or(|high| first.0[..4] < high.0[..4])
    }

    /// Whether the position lies in it.
    #[must_use]
    pub fn holds(&self, position: &Position) -> bool {
        *position >= self.low && self.high.is_none_or(|high| *position < high)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.low)?;
        self.high.iter().try_for_each(|high| write!(f, "{high}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(digits: &str) -> Position {
        Position::parse(digits).unwrap()
    }

    #[test]
    fn a_range_is_read_as_it_is_written() {
        let root = Root([0xab; 32]);
        let addr = "192.0.2.7:4778".parse().unwrap();
        let position = Position::of(&root, "music/tune.flac", &addr);
        assert_eq!(position.root(), root);
        for range in [
            Range { low: Position::FIRST, high: None },
            Range { low: at("8"), high: Some(at("8000000000000001")) },
            Range { low: Position::first_of(&root), high: Some(position) },
        ] {
            assert_eq!(Range::parse(&range.to_string()), Some(range), "{range}");
            assert!(range.to_string().len() <= crate::config::PATTERN_BYTES_MAX);
        }
        assert_eq!(Range::parse("-"), Some(Range { low: Position::FIRST, high: None }));
        for wrong in ["", "8", "g-", "-g", "1-2-3", &format!("{}-", "0".repeat(81)), "é-"] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_content_is_in_wholly_partly_or_not() {
        let (root, addr) = (Root([0x55; 32]), "192.0.2.7:4778".parse().unwrap());
        let position = Position::of(&root, "x", &addr);
        let range = |low: &str, high: &str| Range::parse(&format!("{low}-{high}")).unwrap();
        let hex = root.to_string();
        assert!(range("5", "6").holds_all_of(&root) && range("5", "6").holds(&position));
        assert!(range(&hex, "").holds_all_of(&root));
        let upper = range(&format!("{hex}8"), "");
        let lower = range("", &format!("{hex}8"));
        assert!(upper.may_hold(&root) && lower.may_hold(&root));
        assert!(!upper.holds_all_of(&root) && !lower.holds_all_of(&root));
        assert!(upper.holds(&position) != lower.holds(&position), "it is in exactly one");
        assert!(!range("", &hex).may_hold(&root) && !range("56", "").may_hold(&root));
    }

    #[test]
    fn distances_add_up_and_scale() {
        let (a, b) = (at("12ffffffffffffffff"), at("13"));
        assert_eq!(a.plus(b.minus(a)), Some(b));
        assert_eq!(at("ff").plus(at("01")), None);
        assert_eq!(at("0000000000000001").scaled(1 << 32, 1), Some(at("000000010000000000000000")));
        assert_eq!(at("3").scaled(600, 300), Some(at("6")));
        assert_eq!(at("3").scaled(600, 100), None);
        let smallest = Position([0, 0, 0, 0, 1]);
        assert_eq!(smallest.scaled(1, 9), Some(smallest), "never nothing");
    }
}
