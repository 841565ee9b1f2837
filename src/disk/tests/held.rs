//! Part files that serve the pieces that are written.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::proto::weak_peer::download::manifest::proves;

const SIZE: usize = 2 * MIB + 3000;

/// A download to a folder that is not shared.
fn begun(seed: u64) -> (Rig, TempDir, Vec<u8>) {
    let bytes = content(seed, SIZE);
    let (mut rig, folder) = (Rig::empty(), tempfile::tempdir().unwrap());
    let place = Destination::Path { path: folder.path().join("x"), name: String::new() };
    rig.open(place, &bytes).unwrap();
    rig.prepare(GET, SIZE as u64, cvs_of(&bytes));
    (rig, folder, bytes)
}

#[test]
fn only_pieces_that_are_written_are_served() {
    let (mut rig, _folder, bytes) = begun(90);
    let (root, mib) = (root_of(&bytes), MIB as u64);
    assert_eq!(rig.chunk(root, 0, 10).unwrap_err(), ServeFailure::NotFound);
    rig.write(&bytes, 1).unwrap();
    let (md5, file) = rig.chunk(root, mib, 1 << 20).unwrap();
    assert_eq!(md5, md5_lanes::md5_of(&bytes[MIB..2 * MIB]));
    let mut read = vec![0; MIB];
    file.read_exact_at(&mut read, mib).unwrap();
    assert!(read == bytes[MIB..2 * MIB]);
    assert!(rig.chunk(root, mib + 5, 100).is_ok(), "a range within a piece");
    for (offset, length) in [(0, 1 << 20), (mib - 1, 2), (2 * mib - 1, 2), (2 * mib, 3000)] {
        assert_eq!(rig.chunk(root, offset, length).unwrap_err(), ServeFailure::NotFound, "{offset}");
    }
    for (offset, length) in [(2 * mib, 3001), (u64::MAX, 2), (mib, 0), (mib, (1 << 20) + 1)] {
        assert!(rig.chunk(root, offset, length).is_err(), "{offset}");
    }
    rig.work(DiskWork::Abandon { download: GET });
    assert_eq!(rig.chunk(root, mib, 10).unwrap_err(), ServeFailure::NotFound);
}

#[test]
fn pieces_that_were_not_compared_with_the_manifest_are_not_served_nor_offered_as_that_content() {
    let (right, wrong) = (content(93, SIZE), content(94, SIZE));
    let root = root_of(&right);
    let mut rig = Rig::empty();
    rig.open(in_share("x"), &right).unwrap();
    rig.prepare(GET, SIZE as u64, cvs_of(&right));
    for (piece, bytes) in (0..).zip(wrong.chunks(MIB)) {
        rig.write_as(GET, piece, false, bytes.to_vec()).unwrap();
        let offset = u64::from(piece) * MIB as u64;
        assert_eq!(rig.chunk(root, offset, 100).unwrap_err(), ServeFailure::NotFound);
    }
    rig.publish().unwrap();
    assert_eq!(rig.chunk(root, 0, 100).unwrap_err(), ServeFailure::NotFound);
    assert_eq!(rig.page(root, 0).unwrap_err(), ServeFailure::NotFound);
}

#[test]
fn a_part_that_another_program_has_changed_proves_nothing() {
    let (mut rig, folder, bytes) = begun(96);
    (0..3).for_each(|piece| rig.write(&bytes, piece).unwrap());
    let part = fs::File::options().write(true).open(folder.path().join(".x.part")).unwrap();
    part.write_all_at(&[!bytes[2 * MIB]], 2 * MIB as u64).unwrap();
    assert_eq!(rig.page(root_of(&bytes), 0).unwrap().edge, None);
}

#[test]
fn a_part_says_that_it_is_one_unless_the_share_has_all() {
    let (mut rig, _folder, bytes) = begun(95);
    rig.write(&bytes, 0).unwrap();
    assert!(rig.page(root_of(&bytes), 0).unwrap().partial);
    let mut rig = Rig::with(&[("shared", &bytes)]);
    assert!(!rig.page(root_of(&bytes), 0).unwrap().partial);
}

#[test]
fn a_file_is_served_after_it_was_published_until_it_is_released_or_changes() {
    for changes in [false, true] {
        let (mut rig, _folder, bytes) = begun(91);
        let root = root_of(&bytes);
        let page = |rig: &mut Rig| rig.page(root, 0);
        assert_eq!(page(&mut rig).unwrap().edge, None, "the last piece is missing");
        for piece in 0..3 {
            rig.write(&bytes, piece).unwrap();
        }
        let path = rig.publish().unwrap();
        let Page { size, cvs, edge, partial } = page(&mut rig).unwrap();
        assert!(!partial);
        let cvs: Vec<Cv> = cvs.as_chunks().0.iter().map(|cv| Cv(*cv)).collect();
        assert_eq!((size, &cvs), (SIZE as u64, &cvs_of(&bytes)));
        assert!(proves(&edge.unwrap(), size, &cvs[2]));
        assert!(rig.chunk(root, 2 * MIB as u64, 3000).is_ok());
        if changes {
            fs::write(path, "another").unwrap();
        } else {
            rig.work(DiskWork::Release { download: GET });
        }
        assert_eq!(rig.chunk(root, 0, 10).unwrap_err(), ServeFailure::NotFound);
        assert!(page(&mut rig).is_err());
    }
}

#[test]
fn the_edge_that_a_source_sent_is_passed_on_before_the_last_piece_is_there() {
    let bytes = content(92, SIZE);
    let mut rig = Rig::with(&[("shared", &bytes)]);
    let edge = rig.page(root_of(&bytes), 0).unwrap().edge;
    assert!(edge.is_some());
    let (mut rig, folder, bytes) = begun(92);
    let (size, cvs) = (SIZE as u64, cvs_of(&bytes));
    rig.work(DiskWork::PreparePart { download: GET, size, cvs, edge: edge.clone() });
    assert_eq!(rig.page(root_of(&bytes), 0).unwrap().edge, edge);
    rig.write(&bytes, 0).unwrap();
    let mut rig = rig.restart();
    let place = Destination::Path { path: folder.path().join("x"), name: String::new() };
    let opened = rig.open(place, &bytes).unwrap();
    assert!(matches!(opened, PartState::Open { proves: true, .. }), "the map has kept it");
    assert_eq!(rig.page(root_of(&bytes), 0).unwrap().edge, edge);
}
