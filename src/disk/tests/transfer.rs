//! Chunks and manifests are prepared for others, and payloads are hashed.

use super::*;
use crate::config::{SHORT_CHUNK_BYTES, SHORT_CHUNKS_MAX};
use crate::proto::weak_peer::download::manifest;

#[test]
fn a_chunk_is_prepared_with_its_md5_and_file() {
    let bytes = content(5, 2 * MIB + 100);
    let mut rig = Rig::with(&[("x", &bytes), ("copy", &bytes)]);
    let root = root_of(&bytes);
    for (offset, length) in [(0, MIB), (MIB, MIB), (2 * MIB, 100), (17, 5), (MIB - 1, MIB), (MIB, MIB)] {
        let (md5, file) = rig.chunk(root, offset as u64, length as u32).unwrap();
        let range = &bytes[offset..offset + length];
        assert_eq!(md5, md5_lanes::md5_of(range), "{offset} {length}");
        let mut read = vec![0; length];
        file.read_exact_at(&mut read, offset as u64).unwrap();
        assert!(read == range);
    }
}

#[test]
fn short_chunks_are_lent_until_too_many_are_out() {
    let (short, long) = (content(8, SHORT_CHUNK_BYTES as usize), content(9, SHORT_CHUNK_BYTES as usize + 1));
    let mut rig = Rig::with(&[("short", &short), ("long", &long)]);
    let lent = |rig: &mut Rig, bytes: &[u8]| {
        let (root, length) = (root_of(bytes), bytes.len() as u32);
        rig.work(DiskWork::PrepareChunk { conn: CONN, from: FROM, req: 7, root, offset: 0, length, bare: true });
        match report(&rig.reports) {
            Report::Done { done: DiskDone::ChunkReady { result: Ok(None), .. }, file: Some(_), lent, .. } => lent,
            other => panic!("{other:?}"),
        }
    };
    assert!(lent(&mut rig, &long).is_none());
    let mut out = Vec::new();
    for _ in 0..SHORT_CHUNKS_MAX {
        let lent = lent(&mut rig, &short).expect("few are out");
        assert!(lent.as_ref() == short);
        out.push(lent);
    }
    assert!(lent(&mut rig, &short).is_none());
    out.pop();
    assert!(lent(&mut rig, &short).is_some());
}

#[test]
fn ranges_and_roots_that_do_not_exist_are_refused() {
    let mut rig = Rig::with(&[("x", b"hello"), ("empty", b"")]);
    let root = root_of(b"hello");
    for (offset, length) in [(0, 6), (5, 1), (0, 0), (u64::MAX, 1), (u64::MAX - 1, u32::MAX)] {
        assert_eq!(rig.chunk(root, offset, length).err(), Some(ServeFailure::OutOfRange), "{offset} {length}");
    }
    assert_eq!(rig.chunk(root_of(b""), 0, 1).err(), Some(ServeFailure::OutOfRange));
    assert_eq!(rig.chunk(root_of(b"other"), 0, 1).err(), Some(ServeFailure::NotFound));
    assert_eq!(rig.manifest(root_of(b"other"), 0), Err(ServeFailure::NotFound));
    assert_eq!(rig.manifest(root, 0), Ok((5, Vec::new())));
    assert_eq!(rig.manifest(root, 1), Err(ServeFailure::OutOfRange));
}

#[test]
fn a_manifest_merges_to_the_root() {
    let bytes = content(6, 5 * MIB + 1);
    let mut rig = Rig::with(&[("x", &bytes)]);
    let root = root_of(&bytes);
    let (size, cvs) = rig.manifest(root, 0).unwrap();
    assert_eq!(manifest::root_of(&hash::cvs_of(&cvs), size), Some(root));
    assert_eq!(rig.manifest(root, 4).unwrap().1, cvs[4 * 32..]);
    assert_eq!(rig.manifest(root, 6), Err(ServeFailure::OutOfRange));
}

#[test]
fn a_changed_file_is_not_served_and_its_twin_is() {
    let bytes = content(7, MIB + 100);
    let mut rig = Rig::with(&[("a", &bytes), ("b", &bytes)]);
    let root = root_of(&bytes);
    rig.chunk(root, 0, 10).unwrap();
    // The file is changed in place, with the same size and the old mtime. Only ctime shows the
    // change.
    let before = fs::metadata(rig.path("a")).unwrap();
    let file = File::options().write(true).open(rig.path("a")).unwrap();
    file.write_all_at(b"!", 0).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let (_, served) = rig.chunk(root, 0, 10).unwrap();
    assert_eq!(served.metadata().unwrap().ino(), fs::metadata(rig.path("b")).unwrap().ino());
    rig.until(|offered| !offered.contains_key("a"));
    fs::write(rig.path("b"), "short").unwrap();
    let refused = rig.chunk(root, 0, 10).err();
    assert!(matches!(refused, Some(ServeFailure::Changed | ServeFailure::NotFound)), "{refused:?}");
    rig.until(|offered| offered.len() == 2);
    assert_eq!(rig.chunk(root, 0, 10).err(), Some(ServeFailure::NotFound));
}

#[test]
fn a_file_that_became_a_symlink_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "hello").unwrap();
    let mut rig = Rig::with(&[("d/x", b"hello")]);
    fs::remove_dir_all(rig.path("d")).unwrap();
    symlink(outside.path(), rig.path("d")).unwrap();
    assert!(rig.chunk(root_of(b"hello"), 0, 5).is_err());
    rig.until(BTreeMap::is_empty);
}

fn digest(req: u32, bytes: &[u8], verify: Verify) -> Job {
    Job::Digest(ReceivedChunk { conn: CONN, req, bytes: bytes.to_vec(), plan: HashPlan::Content, verify })
}

#[test]
fn payloads_of_all_lengths_that_come_together_get_each_its_own_digests() {
    let mut rig = Rig::empty();
    let lengths = (0..40).map(|n: usize| if n.is_multiple_of(7) { 500 + n } else { 1000 });
    let payloads: Vec<Vec<u8>> = lengths.enumerate().map(|(n, length)| content(n as u64, length)).collect();
    let verify = |n: usize| [Verify::Both, Verify::Md5, Verify::Both, Verify::Blake3][n % 4];
    rig.submit(payloads.iter().enumerate().map(|(n, bytes)| digest(n as u32, bytes, verify(n))));
    let mut seen = BTreeMap::new();
    while seen.len() < payloads.len() {
        match report(&rig.reports) {
            Report::Digested { req, bytes, digests, .. } => {
                let n = req as usize;
                assert_eq!(bytes, payloads[n]);
                assert_eq!(digests.blake3, (verify(n) != Verify::Md5).then(|| root_of(&bytes).0));
                assert_eq!(digests.md5, (verify(n) != Verify::Blake3).then(|| md5_lanes::md5_of(&bytes)));
                assert!(seen.insert(req, ()).is_none());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn chunks_that_are_asked_for_together_are_prepared_each_with_its_md5() {
    let bytes = content(21, 3 * MIB + 100);
    let mut rig = Rig::with(&[("x", &bytes), ("y", b"small")]);
    let ranges: [(u64, u32); 8] = [
        (0, 1 << 20),
        (1 << 20, 1 << 20),
        (2 << 20, 1 << 20),
        (3 << 20, 100),
        (17, 1000),
        (99, 1000),
        (3 << 20, 101),
        (1 << 20, 1 << 20),
    ];
    let root = root_of(&bytes);
    let job = |(req, &(offset, length)): (usize, &(u64, u32))| {
        let req = req as u32;
        let work = DiskWork::PrepareChunk { conn: CONN, from: FROM, req, root, offset, length, bare: req == 7 };
        Job::Work { work, bytes: None }
    };
    for _ in 0..2 {
        rig.submit(ranges.iter().enumerate().map(job));
        for _ in ranges {
            let (DiskDone::ChunkReady { req, result, .. }, file) = rig.next() else { panic!() };
            let (offset, length) = (ranges[req as usize].0 as usize, ranges[req as usize].1 as usize);
            match (req, result) {
                (6, result) => assert_eq!(result, Err(ServeFailure::OutOfRange)),
                (7, result) => assert!(result == Ok(None) && file.is_some()),
                (_, result) => {
                    assert_eq!(result, Ok(Some(md5_lanes::md5_of(&bytes[offset..offset + length]))));
                    assert!(file.is_some());
                }
            }
        }
    }
}

#[test]
fn a_payload_comes_back_with_its_digests() {
    let mut rig = Rig::empty();
    let bytes = content(8, 1000);
    rig.submit([digest(3, &bytes, Verify::Both)]);
    match report(&rig.reports) {
        Report::Digested { conn: CONN, req: 3, bytes: back, digests } => {
            assert_eq!(back, bytes);
            assert_eq!(digests.blake3, Some(root_of(&bytes).0));
            assert_eq!(digests.md5, Some(md5_lanes::md5_of(&bytes)));
        }
        other => panic!("{other:?}"),
    }
}
