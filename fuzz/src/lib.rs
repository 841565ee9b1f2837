//! Shared by the fuzz targets: how bytes become choices, round trips of messages, and the two
//! worlds in which a complete node receives what the bytes choose.

pub mod envelope_world;
pub mod forge;
pub mod super_world;
pub mod weak_world;

use std::sync::LazyLock;

use arbitrary::Unstructured;
use sprat::config::FRAME_BYTES_OPEN;
use sprat::wire::link::{self, HEADER_BYTES, PACKED_BYTES_MAX, Packer};
use sprat::wire::{LinkMessage, Message, frame};

/// Choices, taken from the bytes of the input one after the other. After their end every choice is
/// the first.
pub struct Dice<'a>(Unstructured<'a>);

impl<'a> Dice<'a> {
    pub fn new(data: &'a [u8]) -> Dice<'a> {
        Dice(Unstructured::new(data))
    }

    /// Whether bytes are left.
    pub fn is_spent(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `below`; 0 if that is 0.
    pub fn below(&mut self, below: usize) -> usize {
        if below < 2 {
            return 0;
        }
        self.0.int_in_range(0..=below - 1).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Any number.
    pub fn any<T: arbitrary::Arbitrary<'a> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Some bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }
}

/// Prints what happens if SPRAT_FUZZ_TRACE is set, for replaying a finding.
pub fn trace(line: impl Fn() -> String) {
    static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("SPRAT_FUZZ_TRACE").is_some());
    if *WANTED {
        eprintln!("{}", line());
    }
}

/// Encodes, decodes, and encodes again to the same bytes. Returns the frame.
pub fn check_message(message: &Message) -> Vec<u8> {
    let mut first = Vec::new();
    frame::encode(message, &mut first);
    let (again, used) = frame::decode(&first, FRAME_BYTES_OPEN).expect("it can be decoded").expect("all of it");
    assert_eq!((&again, used), (message, first.len()), "a message changes by encoding");
    let mut second = Vec::new();
    frame::encode(&again, &mut second);
    assert_eq!(first, second, "a message has one form");
    let others = rmp_serde::to_vec_named(message).expect("it has a form");
    assert_eq!(first[frame::LENGTH_BYTES..], others, "rmp-serde encodes the same bytes");
    first
}

/// The same for a message of a datagram.
pub fn check_link_message(message: &LinkMessage) {
    let mut packer = Packer::new(7);
    assert_eq!(packer.push(message), None, "it fits an empty datagram");
    let datagram = packer.finish().expect("it holds a message");
    assert!(datagram.len() <= PACKED_BYTES_MAX, "{} of {} bytes", message.kind(), datagram.len());
    let others = rmp_serde::to_vec_named(message).expect("it has a form");
    assert_eq!(datagram[HEADER_BYTES..], others, "rmp-serde encodes the same bytes");
    let (boot, again) = link::decode(&datagram).expect("what was encoded can be decoded");
    assert_eq!((boot, again.as_slice()), (7, std::slice::from_ref(message)), "a message changes by encoding");
}

/// Whether our form of a message that was received in another form (fields without names, long
/// forms of numbers) still fits a frame. If not, the message is never forwarded unchanged.
pub fn fits_a_frame(message: &Message) -> bool {
    !matches!(message, Message::Unknown(_)) && written(message) <= FRAME_BYTES_OPEN
}

/// The same for a message of a datagram.
pub fn fits_a_datagram(message: &LinkMessage) -> bool {
    !matches!(message, LinkMessage::Unknown(_)) && written(message) + HEADER_BYTES <= PACKED_BYTES_MAX
}

fn written<T: serde::Serialize>(message: &T) -> usize {
    rmp_serde::to_vec_named(message).map_or(usize::MAX, |bytes| bytes.len())
}
