//! What the two digests of a received piece say about its source (PROTOCOL.md, "What to do
//! with a wrong chunk").

use crate::proto::{Digests, Verify};
use crate::wire::ids::Md5;

/// The verdict on a piece and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The bytes are correct, and so is their MD5.
    Right,
    /// The bytes are correct, but the announced MD5 is not. Keep the bytes, count the fault.
    WrongMd5,
    /// The bytes are those that the source announced, but they are wrong: the source lies, or has
    /// another file.
    Lie,
    /// Neither digest fits: the bytes may have been damaged on the way.
    LineFault,
}

/// Judges a piece. `expected` is what its root or chaining value should be; if it is none, only the
/// MD5 counts.
pub(super) fn judge(verify: Verify, digests: &Digests, expected: Option<&[u8; 32]>, announced: Md5) -> Verdict {
    let content = || expected.is_some() && digests.blake3.as_ref() == expected;
    let line = || digests.md5 == Some(announced);
    match verify {
        Verify::Both => match (content(), line()) {
            (true, true) => Verdict::Right,
            (true, false) => Verdict::WrongMd5,
            (false, true) => Verdict::Lie,
            (false, false) => Verdict::LineFault,
        },
        // Without an MD5, damage on the way cannot be distinguished from a lie.
        Verify::Blake3 if content() => Verdict::Right,
        Verify::Blake3 => Verdict::Lie,
        Verify::Md5 if line() => Verdict::Right,
        Verify::Md5 => Verdict::LineFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_digests_has_its_verdict() {
        let digests = |blake3: u8, md5: u8| Digests { md5: Some(Md5([md5; 16])), blake3: Some([blake3; 32]) };
        let judged = |verify, digests| judge(verify, &digests, Some(&[1; 32]), Md5([1; 16]));
        assert_eq!(judged(Verify::Both, digests(1, 1)), Verdict::Right);
        assert_eq!(judged(Verify::Both, digests(1, 2)), Verdict::WrongMd5);
        assert_eq!(judged(Verify::Both, digests(2, 1)), Verdict::Lie);
        assert_eq!(judged(Verify::Both, digests(2, 2)), Verdict::LineFault);
        assert_eq!(judged(Verify::Blake3, digests(1, 2)), Verdict::Right);
        assert_eq!(judged(Verify::Blake3, digests(2, 1)), Verdict::Lie);
        assert_eq!(judged(Verify::Md5, digests(2, 1)), Verdict::Right);
        assert_eq!(judged(Verify::Md5, digests(1, 2)), Verdict::LineFault);
    }

    #[test]
    fn a_digest_that_was_not_computed_fits_nothing() {
        let none = Digests { md5: None, blake3: None };
        assert_eq!(judge(Verify::Both, &none, Some(&[1; 32]), Md5([1; 16])), Verdict::LineFault);
        assert_eq!(judge(Verify::Blake3, &none, Some(&[1; 32]), Md5([1; 16])), Verdict::Lie);
    }
}
