//! The envelopes of the datagrams between super peers (PROTOCOL.md 6.1 and 6.5): the bytes before
//! and after the messages, and the parts of a handshake. This module encrypts nothing and decides
//! nothing.
//!
//! The first byte is the kind of the envelope. Each envelope with messages has a number, which
//! rises with each datagram from one sender to one receiver.

use crate::config::{DATAGRAM_BYTES_MAX, DATAGRAM_ENVELOPE_BYTES};

/// First byte of a datagram in open mode.
pub const OPEN: u8 = 1;
/// First byte of a message of a handshake.
pub const HANDSHAKE: u8 = 2;
/// First byte of a sealed datagram.
pub const SEALED: u8 = 3;

/// Bytes of a number.
const NUMBER_BYTES: usize = 8;
/// Bytes before the body in open mode: the first byte and the number.
pub const OPEN_BYTES: usize = 1 + NUMBER_BYTES;
/// Bytes before the encrypted body of a sealed datagram: the first byte, the receiver's index of
/// the keys, and the number.
pub const SEALED_BYTES: usize = 1 + INDEX_BYTES + NUMBER_BYTES;
/// Bytes of the tag after an encrypted body.
pub const TAG_BYTES: usize = 16;
/// Longest body, in bytes: the boot id and the messages. It fits in a datagram with either
/// envelope.
pub const BODY_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - SEALED_BYTES - TAG_BYTES;

/// Bytes of the index that names the keys of one handshake at one side.
const INDEX_BYTES: usize = 4;
/// Bytes of the check at the end of each message of a handshake.
pub const CHECK_BYTES: usize = 16;
/// Bytes of a public key.
const KEY_BYTES: usize = 32;
/// Bytes of the Noise part of an initiation: an ephemeral key, the encrypted static key, and the
/// encrypted payload. The payload is a counter and the Ed25519 form of the static key.
pub const INITIATION_NOISE_BYTES: usize = 3 * KEY_BYTES + NUMBER_BYTES + 2 * TAG_BYTES;
/// Bytes of the Noise part of a response: an ephemeral key, and an empty encrypted payload.
pub const RESPONSE_NOISE_BYTES: usize = KEY_BYTES + TAG_BYTES;
/// Bytes of an initiation.
pub const INITIATION_BYTES: usize = 2 + INDEX_BYTES + INITIATION_NOISE_BYTES + CHECK_BYTES;
/// Bytes of a response.
pub const RESPONSE_BYTES: usize = 2 + 2 * INDEX_BYTES + RESPONSE_NOISE_BYTES + CHECK_BYTES;

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;

const _: () = assert!(SEALED_BYTES + TAG_BYTES == DATAGRAM_ENVELOPE_BYTES);
const _: () = assert!(OPEN_BYTES + BODY_BYTES_MAX < DATAGRAM_BYTES_MAX);
// A response is shorter than its initiation, so nobody can use it for amplification.
const _: () = assert!(RESPONSE_BYTES < INITIATION_BYTES);

/// A datagram, by its envelope. Nothing is verified yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// A datagram of open mode.
    Open {
        /// Its number.
        number: u64,
        /// Boot id and messages.
        body: &'a [u8],
    },
    /// The first message of a handshake.
    Initiation {
        /// The sender's index of the keys.
        sender: u32,
        /// The Noise message.
        noise: &'a [u8],
    },
    /// The second message of a handshake.
    Response {
        /// The sender's index of the keys.
        sender: u32,
        /// The `sender` of the initiation.
        receiver: u32,
        /// The Noise message.
        noise: &'a [u8],
    },
    /// A datagram of login mode.
    Sealed {
        /// The receiver's index of the keys.
        receiver: u32,
        /// Its number, which is the nonce of the encryption.
        number: u64,
        /// The encrypted body, and its tag.
        sealed: &'a [u8],
    },
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a datagram. None if the datagram has none of these forms.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Envelope<'a>> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        match *datagram.first()? {
            OPEN => {
                let (head, body) = datagram.split_at_checked(OPEN_BYTES)?;
                Some(Envelope::Open { number: number(&head[1..]), body })
            }
            HANDSHAKE => parse_handshake(datagram),
            SEALED if datagram.len() >= SEALED_BYTES + TAG_BYTES => {
                let (head, sealed) = datagram.split_at(SEALED_BYTES);
                Some(Envelope::Sealed { receiver: index(&head[1..]), number: number(&head[1 + INDEX_BYTES..]), sealed })
            }
            _ => None,
        }
    }
}

fn parse_handshake(datagram: &[u8]) -> Option<Envelope<'_>> {
    let (at, end) = (2 + INDEX_BYTES, datagram.len().checked_sub(CHECK_BYTES)?);
    match (datagram[1], datagram.len()) {
        (INITIATION, INITIATION_BYTES) => {
            Some(Envelope::Initiation { sender: index(&datagram[2..]), noise: &datagram[at..end] })
        }
        (RESPONSE, RESPONSE_BYTES) => Some(Envelope::Response {
            sender: index(&datagram[2..]),
            receiver: index(&datagram[at..]),
            noise: &datagram[at + INDEX_BYTES..end],
        }),
        _ => None,
    }
}

/// Splits a message of a handshake into the bytes that its check covers, and the check. None if it
/// is too short.
#[must_use]
pub fn split_check(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    datagram.split_at_checked(datagram.len().checked_sub(CHECK_BYTES)?)
}

/// An initiation without its check.
#[must_use]
pub fn initiation(sender: u32, noise: &[u8; INITIATION_NOISE_BYTES]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(INITIATION_BYTES);
    bytes.extend_from_slice(&[HANDSHAKE, INITIATION]);
    bytes.extend_from_slice(&sender.to_be_bytes());
    bytes.extend_from_slice(noise);
    bytes
}

/// A response without its check.
#[must_use]
pub fn response(sender: u32, receiver: u32, noise: &[u8; RESPONSE_NOISE_BYTES]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RESPONSE_BYTES);
    bytes.extend_from_slice(&[HANDSHAKE, RESPONSE]);
    bytes.extend_from_slice(&sender.to_be_bytes());
    bytes.extend_from_slice(&receiver.to_be_bytes());
    bytes.extend_from_slice(noise);
    bytes
}

/// The bytes before the encrypted body.
#[must_use]
pub fn sealed_head(receiver: u32, number: u64) -> [u8; SEALED_BYTES] {
    let mut head = [SEALED; SEALED_BYTES];
    head[1..=INDEX_BYTES].copy_from_slice(&receiver.to_be_bytes());
    head[1 + INDEX_BYTES..].copy_from_slice(&number.to_be_bytes());
    head
}

/// The bytes before the body in open mode.
#[must_use]
pub fn open_head(number: u64) -> [u8; OPEN_BYTES] {
    let mut head = [OPEN; OPEN_BYTES];
    head[1..].copy_from_slice(&number.to_be_bytes());
    head
}

/// Sets the number of a datagram that a [`super::link::Packer`] has made.
///
/// # Panics
/// If the datagram is shorter than its head.
pub fn set_number(datagram: &mut [u8], number: u64) {
    datagram[..OPEN_BYTES].copy_from_slice(&open_head(number));
}

fn number(bytes: &[u8]) -> u64 {
    bytes[..NUMBER_BYTES].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn index(bytes: &[u8]) -> u32 {
    bytes[..INDEX_BYTES].iter().fold(0, |index, byte| index << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut datagram = vec![0; OPEN_BYTES];
        datagram.extend_from_slice(b"body");
        set_number(&mut datagram, 7);
        assert_eq!(Envelope::parse(&datagram), Some(Envelope::Open { number: 7, body: b"body" }));
        let mut sealed = sealed_head(9, u64::MAX).to_vec();
        sealed.extend_from_slice(&[5; TAG_BYTES]);
        let read = Envelope::Sealed { receiver: 9, number: u64::MAX, sealed: &[5; TAG_BYTES] };
        assert_eq!(Envelope::parse(&sealed), Some(read));
        let noise = [4; INITIATION_NOISE_BYTES];
        let mut first = initiation(1 << 24, &noise);
        first.extend_from_slice(&[6; CHECK_BYTES]);
        assert_eq!(Envelope::parse(&first), Some(Envelope::Initiation { sender: 1 << 24, noise: &noise }));
        assert_eq!(split_check(&first).unwrap().1, [6; CHECK_BYTES]);
        let noise = [3; RESPONSE_NOISE_BYTES];
        let mut second = response(2, 1, &noise);
        second.extend_from_slice(&[6; CHECK_BYTES]);
        assert_eq!(Envelope::parse(&second), Some(Envelope::Response { sender: 2, receiver: 1, noise: &noise }));
    }

    #[test]
    fn other_lengths_and_first_bytes_are_none() {
        for length in 0..=DATAGRAM_BYTES_MAX + 1 {
            for first in 0..=4 {
                let bytes = vec![first; length];
                let fits = match first {
                    OPEN => (OPEN_BYTES..=DATAGRAM_BYTES_MAX).contains(&length),
                    HANDSHAKE => length == RESPONSE_BYTES,
                    SEALED => (SEALED_BYTES + TAG_BYTES..=DATAGRAM_BYTES_MAX).contains(&length),
                    _ => false,
                };
                assert_eq!(Envelope::parse(&bytes).is_some(), fits, "{length} bytes of {first}");
            }
        }
    }
}
