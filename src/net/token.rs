//! The tokens of the poll. A token names a fixed socket, or a slot of a table with its generation.

use mio::Token;

use crate::config::LINK_SOCKETS_MAX;
use crate::proto::ConnId;

/// Half of a token is the slot. The other half is the bit of the table and the generation, which is
/// cut to 15 bits if a token has 32 bits.
const HALF: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << HALF) - 1;
const CONTROL_BIT: usize = 1 << (usize::BITS - 1);
/// The bits of a generation for which a token has room.
#[expect(clippy::cast_possible_truncation, reason = "at most 31 bits")]
pub(super) const GENERATION_MASK: u32 = ((CONTROL_BIT - 1) >> HALF) as u32;

pub(super) const WAKER: Token = Token(INDEX_MASK);
pub(super) const LISTENER: Token = Token(INDEX_MASK - 1);
pub(super) const DATAGRAMS: Token = Token(INDEX_MASK - 2);
pub(super) const SIGNALS: Token = Token(INDEX_MASK - 3);
pub(super) const CONTROL_LISTENER: Token = Token(INDEX_MASK - 4);
pub(super) const OWN_ADDRS: Token = Token(INDEX_MASK - 5);
pub(super) const PAGE_LISTENER: Token = Token(INDEX_MASK - 6);
/// The most slots of a table, so that no slot has the token of a fixed socket.
pub(super) const SLOTS_MAX: usize = LANES;
/// The token of the first lane; the others follow.
const LANES: usize = INDEX_MASK - 16 - LINK_SOCKETS_MAX;

/// The token of a lane.
pub(super) fn lane(at: usize) -> Token {
    debug_assert!(at < LINK_SOCKETS_MAX);
    Token(LANES + at)
}

/// The lane of a token, if the token names one.
pub(super) fn lane_of(token: Token) -> Option<usize> {
    token.0.checked_sub(LANES).filter(|at| *at < LINK_SOCKETS_MAX)
}

/// A slot of one of the two tables (connections, and clients of the control socket), with the
/// generation bits of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) control: bool,
    pub(super) index: usize,
    pub(super) generation_bits: u32,
}

pub(super) fn of(id: ConnId, control: bool) -> Token {
    let generation = ((id.generation & GENERATION_MASK) as usize) << HALF;
    Token(id.index as usize | generation | if control { CONTROL_BIT } else { 0 })
}

#[expect(clippy::cast_possible_truncation, reason = "masked to the generation's bits")]
pub(super) fn slot(token: Token) -> Slot {
    Slot {
        control: token.0 & CONTROL_BIT != 0,
        index: token.0 & INDEX_MASK,
        generation_bits: (token.0 >> HALF) as u32 & GENERATION_MASK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_slot_back() {
        let id = ConnId { index: 70_000, generation: u32::MAX };
        for control in [false, true] {
            let expected = Slot { control, index: 70_000, generation_bits: GENERATION_MASK };
            assert_eq!(slot(of(id, control)), expected);
        }
    }
}
