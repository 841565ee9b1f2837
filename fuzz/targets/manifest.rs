//! Manifest pages as a source may send them. Only the complete manifest in order, of the right
//! length and merging to the root, is accepted.
#![no_main]

use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};
use libfuzzer_sys::fuzz_target;
use sprat::config::{FRAME_BYTES_OPEN, MANIFEST_PAGE_CVS, PIECE_BYTES, PIECES_MAX};
use sprat::proto::pieces_of;
use sprat::proto::weak_peer::download::manifest::{Pages, root_of};
use sprat::wire::ids::{Cv, Root};
use sprat::wire::{Message, frame};
use sprat_fuzz::Dice;

/// As PROTOCOL.md specifies: split after the largest power of two below the length.
fn merged(cvs: &[Cv]) -> [u8; 32] {
    match cvs {
        [only] => only.0,
        _ => {
            let (left, right) = cvs.split_at(cvs.len().next_power_of_two() / 2);
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

fn merged_root(cvs: &[Cv]) -> Root {
    let (left, right) = cvs.split_at(cvs.len().next_power_of_two() / 2);
    Root(*merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes())
}

fuzz_target!(|data: &[u8]| {
    let dice = &mut Dice::new(data);
    let most = dice.pick(&[4, 40, 3000, PIECES_MAX as usize]);
    let size = (dice.below(most) as u64 * PIECE_BYTES).saturating_add_signed(dice.pick(&[0, 1, -1, 4711]));
    let pieces = pieces_of(size);
    let mut pages = Pages::new(size);
    let mut honest: Vec<Cv> = Vec::new();
    while !dice.is_spent() {
        let wanted = pages.wanted();
        assert_eq!(wanted.map(u64::from), (honest.len() as u64 != pieces).then_some(honest.len() as u64));
        let left = (pieces - honest.len() as u64).min(MANIFEST_PAGE_CVS as u64) as usize;
        let fill: u8 = dice.any();
        let (stated, first, page) = match dice.below(6) {
            // A page as a source sends it.
            0 => {
                let Ok(Some((Message::Cvs(cvs), _))) = frame::decode(dice.bytes(4096), FRAME_BYTES_OPEN) else {
                    continue;
                };
                (cvs.size, cvs.first, cvs.cvs)
            }
            1 => (dice.any(), dice.any(), dice.bytes(200).to_vec()),
            2 => (size, dice.any::<u16>().into(), vec![fill; left * Cv::LEN]),
            3 => (size, wanted.unwrap_or(0), vec![fill; dice.below(left * Cv::LEN + 40)]),
            _ => (size, wanted.unwrap_or(0), vec![fill; left * Cv::LEN]),
        };
        let right = stated == size && Some(first) == wanted && page.len() == left * Cv::LEN;
        assert_eq!(pages.add(stated, first, &page).is_ok(), right);
        if right {
            honest.extend(page.as_chunks::<{ Cv::LEN }>().0.iter().map(|cv| Cv(*cv)));
        }
    }
    let whole = honest.len() as u64 == pieces && honest.len() >= 2;
    let root = root_of(&honest, size);
    assert_eq!(root, whole.then(|| merged_root(&honest)), "{pieces} pieces");
    match root {
        Some(root) => {
            assert_eq!(pages.proven(root), Some(honest.as_slice()));
            honest[dice.below(pieces as usize)].0[dice.below(32)] ^= 1 << dice.below(8);
            assert_ne!(root_of(&honest, size), Some(root), "a changed value does not merge to the root");
            assert_eq!(pages.proven(merged_root(&honest)), None);
        }
        None => assert_eq!(pages.proven(Root([0; 32])), None),
    }
});
