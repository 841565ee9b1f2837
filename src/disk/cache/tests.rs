use super::*;
use crate::wire::ids::Cv;

fn stamp(n: u64, size: u64) -> Stamp {
    Stamp { dev: 1, ino: n, size, mtime_ns: -5, ctime_ns: i64::MAX }
}

fn digest(n: u8, pieces: usize) -> ContentDigest {
    let cvs = if pieces > 1 { (0..pieces).map(|piece| Cv([piece as u8 ^ n; 32])).collect() } else { Vec::new() };
    ContentDigest { root: Root([n; 32]), cvs }
}

fn filled(path: &Path) -> Cache {
    let mut cache = Cache::open(Some(path));
    cache.insert(&stamp(1, 10), &digest(1, 1));
    cache.insert(&stamp(2, 3 << 20), &digest(2, 3));
    cache.insert(&stamp(3, 10), &digest(3, 1));
    cache.flush();
    cache
}

#[test]
fn digests_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/digests");
    drop(filled(&path));
    let mut cache = Cache::open(Some(&path));
    assert_eq!(cache.root(&stamp(1, 10)), Some(Root([1; 32])));
    assert_eq!(cache.manifest(&stamp(1, 10), Root([1; 32])), None);
    assert_eq!(cvs_of(&cache.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap()), digest(2, 3).cvs);
    assert_eq!(cache.root(&Stamp { ctime_ns: 0, ..stamp(1, 10) }), None);
}

#[test]
fn a_torn_tail_is_dropped_and_the_rest_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests");
    drop(filled(&path));
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() - 1, whole.len() - 100, 20, 3, 0] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut cache = Cache::open(Some(&path));
        assert_eq!(cache.root(&stamp(3, 10)), None, "cut at {cut}");
        cache.insert(&stamp(4, 10), &digest(4, 1));
        cache.flush();
        drop(cache);
        assert_eq!(Cache::open(Some(&path)).root(&stamp(4, 10)), Some(Root([4; 32])), "cut at {cut}");
    }
    let mut flipped = whole.clone();
    let last = flipped.len() - 60;
    flipped[last] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let cache = Cache::open(Some(&path));
    assert_eq!(cache.root(&stamp(2, 3 << 20)), Some(Root([2; 32])));
    assert_eq!(cache.root(&stamp(3, 10)), None);
}

#[test]
fn garbage_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests");
    let mut cache = filled(&path);
    for n in 10..10 + GARBAGE_ENTRIES_MIN as u64 {
        cache.insert(&stamp(n, 1), &digest(9, 1));
    }
    let live = [stamp(2, 3 << 20), stamp(3, 10)];
    cache.flush();
    let before = std::fs::metadata(&path).unwrap().len();
    cache.compact(live.len(), live.iter());
    cache.insert(&stamp(5, 10), &digest(5, 1));
    cache.flush();
    assert!(std::fs::metadata(&path).unwrap().len() < before / 100);
    drop(cache);
    let mut cache = Cache::open(Some(&path));
    assert_eq!(cache.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap().len(), 96);
    assert_eq!(cache.root(&stamp(5, 10)), Some(Root([5; 32])));
    assert_eq!(cache.root(&stamp(10, 1)), None);
}

#[test]
fn a_second_user_of_the_file_gets_memory_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests");
    let _first = filled(&path);
    let mut second = Cache::open(Some(&path));
    assert_eq!(second.root(&stamp(1, 10)), None);
    second.insert(&stamp(2, 3 << 20), &digest(2, 3));
    assert_eq!(second.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap().len(), 96);
}

#[test]
fn a_half_written_log_beside_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests");
    drop(filled(&path));
    std::fs::write(folder.path().join("digests.new"), "half").unwrap();
    let cache = Cache::open(Some(&path));
    assert_eq!(cache.root(&stamp(1, 10)), Some(Root([1; 32])));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_log_that_cannot_be_written_again_stays_and_is_not_tried_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests");
    let mut cache = filled(&path);
    for n in 10..10 + GARBAGE_ENTRIES_MIN as u64 {
        cache.insert(&stamp(n, 1), &digest(9, 1));
    }
    // No file can be created at the place of the new log.
    std::fs::create_dir(folder.path().join("digests.new")).unwrap();
    let live = [stamp(2, 3 << 20), stamp(3, 10)];
    cache.compact(live.len(), live.iter());
    assert_eq!(cache.log.as_ref().unwrap().entries, live.len());
    cache.insert(&stamp(5, 10), &digest(5, 1));
    cache.flush();
    drop(cache);
    let cache = Cache::open(Some(&path));
    assert_eq!(cache.root(&stamp(5, 10)), Some(Root([5; 32])));
    assert_eq!(cache.root(&stamp(3, 10)), Some(Root([3; 32])));
}
