//! File systems that are mounted and unmounted on and below a share. The peer runs in a mount
//! namespace of its own, so that nothing is mounted for other processes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::common::session::Speaker;
use super::common::{Daemon, World, eventually};

/// Makes processes of this world run in a mount namespace of their own. False if this user may not
/// do that; root may.
fn may_mount(world: &mut World) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let unshare = if is_root { "unshare -m" } else { "unshare -rm" };
    let tried = format!("{unshare} sh -c 'mount -t tmpfs none /mnt && umount /mnt'");
    let ran = Command::new("sh").args(["-c", &tried]).output().expect("a shell");
    if ran.status.success() {
        world.limit(&format!("exec {unshare} \"$@\"; true"));
        return true;
    }
    let why = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!(is_root && std::env::var_os("CI").is_some()), "root of a CI cannot mount: {why}");
    let skipped = format!("skipped: this user cannot mount: {why}\n");
    std::io::stderr().write_all(skipped.as_bytes()).expect("stderr");
    false
}

/// Runs a command in the mount namespace of a daemon.
fn inside(daemon: &Daemon, command: &str) {
    let pid = daemon.pid().to_string();
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["-t", &pid, "-m"]);
    if !rustix::process::geteuid().is_root() {
        nsenter.args(["-U", "--preserve-credentials"]);
    }
    let ran = nsenter.args(["sh", "-c", command]).stdout(Stdio::null()).output().expect("nsenter");
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Waits until exactly these paths are listed.
fn lists(daemon: &Daemon, wanted: &[&str]) {
    eventually(&format!("{wanted:?} are listed"), || {
        let mut paths: Vec<String> =
            Speaker::session(daemon.addr()).list().iter().map(|file| file.path.as_str().to_owned()).collect();
        paths.sort();
        (paths == wanted).then_some(())
    });
}

fn warnings(daemon: &Daemon) -> usize {
    daemon.log().lines().filter(|line| line.to_lowercase().contains("warn")).count()
}

fn mount(daemon: &Daemon, at: &Path, file: &str) {
    let at = at.display();
    inside(daemon, &format!("mount -t tmpfs none '{at}' && echo {file} > '{at}/{file}'"));
}

#[test]
fn a_drive_that_is_mounted_into_a_share_is_shared_until_it_is_unmounted() {
    let mut world = World::new();
    if !may_mount(&mut world) {
        return;
    }
    let daemon = world.super_peer("s");
    world.share("p", "here.txt", b"here");
    world.share("p", "usb/covered.txt", b"covered");
    let peer = world.peer("p", &[&daemon]);
    lists(&daemon, &["here.txt", "usb/covered.txt"]);
    let usb = world.path("p/usb");
    for unmount in ["umount", "umount -l"] {
        let before = warnings(&peer);
        mount(&peer, &usb, "stick.txt");
        lists(&daemon, &["here.txt", "usb/stick.txt"]);
        inside(&peer, &format!("mkdir '{0}/d' && echo later > '{0}/d/later.txt'", usb.display()));
        lists(&daemon, &["here.txt", "usb/d/later.txt", "usb/stick.txt"]);
        inside(&peer, &format!("{unmount} '{}'", usb.display()));
        lists(&daemon, &["here.txt", "usb/covered.txt"]);
        assert_eq!(warnings(&peer), before + 1, "{}", peer.log());
    }
}

#[test]
fn a_share_that_is_unmounted_and_mounted_again_is_followed() {
    let mut world = World::new();
    if !may_mount(&mut world) {
        return;
    }
    let daemon = world.super_peer("s");
    let share = world.folder("p");
    let peer = world.peer("p", &[&daemon]);
    for (n, unmount) in ["umount", "umount -l"].into_iter().enumerate() {
        let file = format!("disk{n}.txt");
        let before = warnings(&peer);
        mount(&peer, &share, &file);
        lists(&daemon, &[&file]);
        let root = super::common::root_of(format!("{file}\n").as_bytes());
        let out = world.path(format!("got{n}"));
        let out = out.to_str().expect("UTF-8");
        assert_eq!(world.run(["get", &root, "-o", out, "--super", daemon.addr()]).exit, Some(0));
        // When the connections are closed, neither the share nor the files that it serves prevent
        // the drive from being unmounted.
        let unmounted = format!("{unmount} '{}'", share.display());
        inside(&peer, &format!("for n in $(seq 100); do {unmounted} 2>/dev/null && exit; sleep .1; done; {unmounted}"));
        lists(&daemon, &[]);
        assert_eq!(warnings(&peer), before + 2, "{}", peer.log());
    }
    assert!(fs::read_dir(&share).expect("the share").next().is_none());
}

#[test]
fn what_was_unmounted_is_not_served_though_it_is_still_there() {
    let mut world = World::new();
    if !may_mount(&mut world) {
        return;
    }
    let daemon = world.super_peer("s");
    let share = world.folder("p");
    world.share("p", "stays.txt", b"stays");
    fs::create_dir(share.join("usb")).expect("a folder");
    let peer = world.peer("p", &[&daemon]);
    mount(&peer, &share.join("usb"), "stick.txt");
    lists(&daemon, &["stays.txt", "usb/stick.txt"]);
    let root = super::common::root_of(b"stick.txt\n");
    let from = peer.addr().to_owned();
    let get =
        || world.run(["get", &root, "-o", "-", "--from", &from, "--timeout", "1s", "--super", daemon.addr()]).exit;
    assert_eq!(get(), Some(0));
    // A process of the namespace uses the drive, so the file system of the drive stays in use.
    let usb = share.join("usb").display().to_string();
    inside(&peer, &format!("cd '{usb}' && (sleep 60 >/dev/null 2>&1 & echo $! > '{}')", world.path("pid").display()));
    inside(&peer, &format!("umount -l '{usb}'"));
    assert_ne!(get(), Some(0));
    lists(&daemon, &["stays.txt"]);
    inside(&peer, &format!("kill $(cat '{}')", world.path("pid").display()));
}
