//! The destination of a download: the folder that was named, the name on disk, and disks that
//! refuse a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::common::{World, noise, root_of};

const MIB: usize = 1 << 20;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_slash_at_the_end_of_the_destination_makes_a_folder() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "a.txt", b"a");
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "a.txt", 1);
    let ran = world.run(["get", "a.txt", "-o", "music/new/", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert_eq!(names(&world.path("music/new")), ["a.txt"]);
    let ran = world.run(["get", "a.txt", "-o", "other/", "--json", "--control", peer.control()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert_eq!(names(&world.path("other")), ["a.txt"]);
    let ran = world.run(["get", "nothing-of-this-name", "-o", "third/", "--json", "--super", daemon.addr()]);
    assert!(ran.exit == Some(3) && !world.path("third").exists());
}

#[test]
fn names_are_kept_as_the_disk_takes_them() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let long = "長".repeat(70);
    let kept = [
        "12:30 What?.txt",
        "👩\u{200d}👧.jpg",
        "می\u{200c}خواهم.mp3",
        "a\"b\" <c> d|e.txt",
        &"n".repeat(255),
        &format!("{long}-01.mkv"),
        &format!("{long}-02.mkv"),
    ];
    for (seed, name) in kept.iter().enumerate() {
        world.share("p", name, &noise(seed as u64, 100));
    }
    let _peer = world.peer("p", &[&daemon]);
    for (seed, name) in kept.iter().enumerate() {
        world.hits(&daemon, &root_of(&noise(seed as u64, 100)), 1);
        let root = root_of(&noise(seed as u64, 100));
        let ran = world.run(["get", &root, "-o", "got/", "--json", "--super", daemon.addr()]);
        assert_eq!(ran.exit, Some(0), "{name}: {:?}", ran.done());
        assert!(fs::read(world.path("got").join(name)).expect("under its name") == noise(seed as u64, 100));
    }
    assert_eq!(names(&world.path("got")).len(), kept.len());
    let chosen = "c".repeat(250);
    let ran = world.run(["get", &root_of(&noise(0, 100)), "-o", &chosen, "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(world.path(&chosen).is_file());
}

#[test]
fn holes_stay_holes() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let image = fs::File::create(world.folder("p").join("disk.img")).expect("an image");
    image.set_len(20 << 20).expect("sparse");
    let mut content = vec![0; 20 << 20];
    for at in [5_000_000, 20_000_000] {
        std::os::unix::fs::FileExt::write_all_at(&image, b"data", at).expect("written");
        content[at as usize..at as usize + 4].copy_from_slice(b"data");
    }
    drop(image);
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "disk.img", 1);
    let ran = world.run(["get", "disk.img", "-o", "got", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(fs::read(world.path("got")).expect("published") == content);
    let used = fs::metadata(world.path("got")).expect("published").blocks() * 512;
    assert!(used <= 64 << 10, "{used} bytes of the disk are used");
}

#[test]
fn a_limit_on_file_sizes_fails_the_download_and_not_the_daemon() {
    let mut world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(3, 3 * MIB);
    world.share("p", "big.bin", &content);
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "big.bin", 1);
    world.limit("ulimit -f 1000");
    let mut second = world.peer("q", &[&daemon]);
    world.limit("");
    for _ in 0..2 {
        let ran = world.run(["get", "big.bin", "--json", "--control", second.control()]);
        assert_eq!(ran.exit, Some(9), "{:?}", ran.done());
        let done = ran.done();
        let error = done["error"].as_str().expect("an error");
        assert!(error.contains("ulimit -f"), "{error}");
    }
    let ran = world.run(["status", "--json", "--control", second.control()]);
    assert_eq!(ran.exit, Some(0), "the daemon serves on");
    second.signal(rustix::process::Signal::TERM);
    assert_eq!(second.wait(), Some(0));
}

#[test]
fn a_dash_writes_the_content_to_standard_output() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let big = noise(4, 5 * MIB + 17);
    for (name, content) in [("big.bin", &big[..]), ("small.txt", b"small"), ("empty", b"")] {
        world.share("p", name, content);
    }
    let peer = world.peer("p", &[&daemon]);
    let second = world.peer("q", &[&daemon]);
    world.hits(&daemon, "big.bin", 1);
    world.hits(&daemon, "empty", 1);
    let temporary = world.folder("tmp");
    let get = |args: &[&str]| {
        let mut command = world.sprat(["get", "-o", "-", "-q"].iter().chain(args));
        command.env("TMPDIR", &temporary).output().expect("sprat runs")
    };
    for (name, content) in [("big.bin", &big[..]), ("small.txt", b"small"), ("empty", b"")] {
        for target in [["--super", daemon.addr()], ["--control", second.control()]] {
            let ran = get(&[name, target[0], target[1]]);
            assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
            assert!(ran.stdout == content, "{name}: {} bytes", ran.stdout.len());
        }
    }
    assert!(!world.path("-").exists() && names(&temporary).is_empty());
    let ran = get(&["nothing-of-this-name", "--super", daemon.addr()]);
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(3), 0));
    let ran = get(&["small.txt", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.status.code(), Some(2));
    // A pattern and a folder are several files, which have no order.
    let folder = world.run(["uri", world.path("p").to_str().expect("UTF-8"), "--control", peer.control()]);
    world.hits(&daemon, &folder.text["sprat:".len()..][..64], 1);
    for several in ["*", folder.text.trim_end()] {
        let ran = get(&[several, "--super", daemon.addr()]);
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{several}: {stderr}");
        assert!(stderr.contains("-o DIR/"), "{several}: {stderr}");
    }
    assert!(names(&temporary).is_empty());
    drop(peer);
}

#[test]
fn a_reader_that_has_enough_ends_the_download() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(5, 8 * MIB);
    world.share("p", "big.bin", &content);
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "big.bin", 1);
    let mut command = world.sprat(["get", "big.bin", "-o", "-", "-q", "--super", daemon.addr()]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("sprat starts");
    let mut start = vec![0; 1000];
    let mut out = child.stdout.take().expect("piped");
    std::io::Read::read_exact(&mut out, &mut start).expect("the start");
    assert!(start == content[..1000]);
    drop(out);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
