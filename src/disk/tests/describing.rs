//! Paths of the share as contents: files, and folders as collections.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::proto::ClientId;
use crate::proto::disk::Described;
use crate::wire::collection::{Item, Reader};

fn describe(rig: &mut Rig, path: &str) -> Result<Described, (DiskFailureKind, String)> {
    let path = rig.path(path);
    rig.work(DiskWork::Describe { client: ClientId(7), path });
    match rig.next().0 {
        DiskDone::Described { client: ClientId(7), result } => {
            result.map_err(|failure| (failure.kind, failure.message))
        }
        other => panic!("{other:?}"),
    }
}

/// The content with this root, in the bytes that are served.
fn served(rig: &mut Rig, root: Root, size: u64) -> Option<Vec<u8>> {
    let length = u32::try_from(size).unwrap();
    rig.work(DiskWork::PrepareChunk { conn: CONN, from: FROM, req: 1, root, offset: 0, length, bare: false });
    let (done, file) = rig.next();
    let DiskDone::ChunkReady { result: Ok(Some(_)), .. } = done else { return None };
    let mut bytes = vec![0; length as usize];
    file.unwrap().read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn items(bytes: &[u8]) -> Vec<Item> {
    let mut reader = Reader::default();
    reader.feed(bytes);
    let items = std::iter::from_fn(|| reader.item().unwrap()).collect();
    reader.finish().unwrap();
    items
}

#[test]
fn a_folder_is_a_collection_that_is_offered_and_outlives_a_restart() {
    let mut rig = Rig::with(&[("a/b/2", b"two"), ("a/b/1", b"one"), ("a/b-c/3", b"three"), ("x", b"x")]);
    fs::set_permissions(rig.path("a/b/2"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(rig.path("a/.hidden"), "h").unwrap();
    let described = describe(&mut rig, "a").unwrap();
    assert_eq!((described.name.as_str(), described.files, described.bytes), ("a", Some(3), 11));
    let bytes = served(&mut rig, described.root, described.size).unwrap();
    assert_eq!(Root(*blake3::hash(&bytes).as_bytes()), described.root);
    let listed: Vec<_> = items(&bytes).into_iter().map(|item| (item.path, item.size, item.executable)).collect();
    let path = |path: &str| crate::wire::SharePath::new(path).unwrap();
    assert_eq!(listed, [(path("b-c/3"), 5, false), (path("b/1"), 3, false), (path("b/2"), 3, true)]);
    rig.until(|offered| offered.get("a").is_some_and(|record| record.root == described.root));

    let again = describe(&mut rig, "a").unwrap();
    assert_eq!(again.root, described.root, "the same folder is the same content");
    fs::remove_file(rig.path("a/b/1")).unwrap();
    let next = describe(&mut rig, "a").unwrap();
    assert!(next.root != described.root && next.files == Some(2));
    rig.until(|offered| offered.get("a").is_some_and(|record| record.root == next.root));
    assert!(served(&mut rig, described.root, described.size).is_some(), "a collection does not change");

    let mut rig = rig.restart();
    rig.until(|offered| offered.get("a").is_some_and(|record| record.root == next.root));
    assert_eq!(served(&mut rig, described.root, described.size), Some(bytes));
}

#[test]
fn a_file_and_the_share_itself_are_described_as_they_are_now() {
    let mut rig = Rig::with(&[("one", b"1")]);
    let described = describe(&mut rig, "one").unwrap();
    assert_eq!((described.root, described.name.as_str()), (Root(*blake3::hash(b"1").as_bytes()), "one"));
    fs::write(rig.path("new"), "fresh").unwrap();
    let described = describe(&mut rig, "new").unwrap();
    assert_eq!(described.root, Root(*blake3::hash(b"fresh").as_bytes()), "it waits until the file is hashed");
    let all = describe(&mut rig, "").unwrap();
    assert_eq!((all.files, all.bytes), (Some(2), 6));
    assert_eq!(all.name, rig.share.path().file_name().unwrap().to_str().unwrap());
    assert!(rig.offered.contains_key("one"), "nothing was taken back");
}

#[test]
fn what_is_not_shared_is_refused_with_the_reason() {
    let mut rig = Rig::with(&[("one", b"1")]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "secret").unwrap();
    symlink(outside.path(), rig.path("link")).unwrap();
    fs::create_dir(rig.path("empty")).unwrap();
    fs::write(rig.path(".hidden"), "h").unwrap();
    let refused = [
        ("nowhere", DiskFailureKind::Outside, "cannot be found"),
        ("link", DiskFailureKind::Outside, "does not lie in"),
        ("link/f", DiskFailureKind::Outside, "does not lie in"),
        ("..", DiskFailureKind::Outside, "does not lie in"),
        (".hidden", DiskFailureKind::Outside, "begins with a dot"),
        ("empty", DiskFailureKind::Nothing, "no file that is shared"),
    ];
    for (path, kind, part) in refused {
        let (found, message) = describe(&mut rig, path).unwrap_err();
        assert!(found == kind && message.contains(part), "{path}: {message}");
    }
}

#[test]
fn a_collection_that_this_peer_made_is_copied_and_not_fetched() {
    let mut rig = Rig::with(&[("a/1", b"one")]);
    let Described { root, size, .. } = describe(&mut rig, "a").unwrap();
    let files = Destination::Path { path: rig.path("."), name: "b".to_owned() };
    let destination = Destination::Collection(Box::new(files));
    rig.work(DiskWork::OpenPart { download: GET, destination, root, sizes: vec![size] });
    let DiskDone::PartOpened { result: Ok(PartState::Open { verified, .. }), .. } = rig.next().0 else { panic!() };
    assert_eq!(verified, [0]);
    let path = rig.publish().unwrap();
    assert_eq!(root_of(&fs::read(path).unwrap()), root);
}
