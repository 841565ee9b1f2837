//! `hash` and `verify`: what they print and how they end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn sprat(folder: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
    command.args(args).current_dir(folder).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // A child that does not read its input may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    child.wait_with_output().expect("it ends")
}

fn exit(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn root(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

/// A folder with files of several sizes and names.
fn files() -> (tempfile::TempDir, Vec<(&'static str, Vec<u8>)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = vec![
        ("empty", Vec::new()),
        ("a b", b"hello\n".to_vec()),
        ("big", vec![7; (2 << 20) + 5]),
        ("back\\slash", b"x".to_vec()),
        ("two\nlines\r", b"y".to_vec()),
        ("\u{1b}[31mred ü", b"z".to_vec()),
    ];
    for (name, bytes) in &files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    (folder, files)
}

#[test]
fn hash_ends_without_an_error_when_its_reader_has_left() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("x"), "x").expect("written");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
    command.args(["hash", "x"]).current_dir(folder.path()).env_clear().stdout(writer);
    let ended = command.output().expect("the binary runs");
    assert_eq!((exit(&ended), text(&ended.stderr)), (0, ""));
}

#[test]
fn hash_prints_what_b3sum_prints() {
    let (folder, files) = files();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let ran = sprat(folder.path(), &[&["hash"], &names[..]].concat(), b"");
    let lines: Vec<String> = files
        .iter()
        .map(|(name, bytes)| {
            let (mark, name) = match *name {
                "back\\slash" => ("\\", "back\\\\slash"),
                "two\nlines\r" => ("\\", "two\\nlines\\r"),
                name => ("", name),
            };
            format!("{mark}{}  {name}\n", root(bytes))
        })
        .collect();
    assert_eq!((exit(&ran), text(&ran.stdout), text(&ran.stderr)), (0, lines.concat().as_str(), ""));
    // The original program, if it is installed. Older versions of it do not escape `\r`.
    let plain: Vec<&str> = names.into_iter().filter(|name| !name.contains('\r')).collect();
    if let Ok(b3sum) = Command::new("b3sum").args(&plain).current_dir(folder.path()).output() {
        let ran = sprat(folder.path(), &[&["hash"], &plain[..]].concat(), b"");
        assert_eq!(text(&b3sum.stdout), text(&ran.stdout));
    }
}

#[test]
fn hash_reads_standard_input() {
    let (folder, _) = files();
    let line = format!("{}  -\n", root(b"typed"));
    for args in [&["hash"][..], &["hash", "-"], &["hash", "--", "-"]] {
        let ran = sprat(folder.path(), args, b"typed");
        assert_eq!((exit(&ran), text(&ran.stdout)), (0, line.as_str()), "{args:?}");
    }
    let ran = sprat(folder.path(), &["hash", "empty", "-", "a b"], b"typed");
    assert_eq!(text(&ran.stdout), format!("{}  empty\n{line}{}  a b\n", root(b""), root(b"hello\n")));
}

#[test]
fn hash_goes_on_after_a_file_that_cannot_be_read() {
    let (folder, _) = files();
    let ran = sprat(folder.path(), &["hash", "missing", "empty", "."], b"");
    assert_eq!((exit(&ran), text(&ran.stdout)), (8, format!("{}  empty\n", root(b"")).as_str()));
    assert!(text(&ran.stderr).starts_with("sprat: missing: No such file"), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stderr).lines().count(), 2);
    assert_eq!(exit(&sprat(folder.path(), &["hash", "missing"], b"")), 9);
}

#[test]
fn hash_checks_its_own_lists() {
    let (folder, files) = files();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let list = sprat(folder.path(), &[&["hash"], &names[..]].concat(), b"").stdout;
    fs::write(folder.path().join("list"), &list).expect("written");
    for (args, stdin) in [(["hash", "--check", "list"], &b""[..]), (["hash", "-c", "-"], &list)] {
        let ran = sprat(folder.path(), &args, stdin);
        assert_eq!(exit(&ran), 0, "{}", text(&ran.stderr));
        let printed = text(&ran.stdout);
        assert_eq!(printed.lines().filter(|line| line.ends_with(": OK")).count(), files.len(), "{printed}");
        assert!(printed.contains("\n\\two\\nlines\\r: OK\n"), "{printed}");
    }
    assert_eq!(sprat(folder.path(), &["hash", "-q", "-c", "list"], b"").stdout, b"");

    fs::write(folder.path().join("big"), "changed").expect("written");
    fs::remove_file(folder.path().join("empty")).expect("removed");
    let ran = sprat(folder.path(), &["hash", "-q", "-c", "list"], b"");
    let printed = text(&ran.stdout);
    assert_eq!(exit(&ran), 6);
    assert!(printed.starts_with("empty: FAILED (No such file") && printed.ends_with("\nbig: FAILED\n"), "{printed}");

    let ran = sprat(folder.path(), &["hash", "-c", "-"], format!("{}  a b\nnonsense\n", root(b"hello\n")).as_bytes());
    assert_eq!((exit(&ran), text(&ran.stdout)), (8, "a b: OK\n"));
    assert!(text(&ran.stderr).contains("line 2 of -"), "{}", text(&ran.stderr));
    assert_eq!(exit(&sprat(folder.path(), &["hash", "-c", "missing"], b"")), 9);
}

#[test]
fn verify_compares_a_file_with_a_uri_or_a_root() {
    let (folder, _) = files();
    let right = root(b"hello\n");
    let uri = format!("sprat:{right},size=6,super=192.0.2.1:4777,name=other");
    for what in [&right, &right.to_uppercase(), &uri, &format!(" {uri}\n")] {
        let ran = sprat(folder.path(), &["verify", "a b", what], b"");
        assert_eq!((exit(&ran), text(&ran.stdout)), (0, "a b: OK\n"), "{what}: {}", text(&ran.stderr));
    }
    assert_eq!(exit(&sprat(folder.path(), &["verify", "-", &right], b"hello\n")), 0);
    assert_eq!(sprat(folder.path(), &["verify", "-q", "a b", &right], b"").stdout, b"");
    let wrong = uri.replace("size=6", "size=7");
    for (path, what, code, part) in [
        ("big", right.as_str(), 6, "its root is"),
        ("a b", &wrong, 6, "it has 6 bytes, and not 7"),
        ("-", &right, 6, "another content"),
        (".", &right, 6, "it has 6 files"),
        ("missing", &right, 9, "cannot read missing"),
        ("a b", "sprat:12", 2, "64 hex digits"),
        ("a b", "abc", 2, "neither a URI"),
    ] {
        let ran = sprat(folder.path(), &["verify", path, what], b"");
        assert_eq!(exit(&ran), code, "{path} {what}: {}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(part), "{path} {what}: {}", text(&ran.stderr));
        assert!(ran.stdout.is_empty());
    }
}

#[test]
fn verify_compares_a_folder_with_its_collection() {
    use sprat::wire::collection::{Item, Writer};
    use sprat::wire::{Root, SharePath};
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join("holiday").join(path);
    fs::create_dir_all(at("sub")).expect("a folder");
    let mut list = Vec::new();
    let mut writer = Writer::default();
    for (path, bytes, executable) in [("a.txt", &b"one"[..], false), ("sub/run", b"two", true)] {
        fs::write(at(path), bytes).expect("written");
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).expect("a mode");
        let root = Root(*blake3::hash(bytes).as_bytes());
        let path = SharePath::new(path).expect("a path");
        writer.add(&Item { path, size: bytes.len() as u64, root, executable }, &mut list).expect("in order");
    }
    let uri = format!("sprat:{},size={},name=holiday", root(&list), list.len());
    // Files that are never shared change nothing.
    fs::write(at(".hidden"), "x").expect("written");
    let verify = || sprat(folder.path(), &["verify", "holiday/", &uri], b"");
    let ran = verify();
    assert_eq!((exit(&ran), text(&ran.stdout)), (0, "holiday/: OK\n"), "{}", text(&ran.stderr));
    for change in ["content", "mode", "more"] {
        match change {
            "content" => fs::write(at("a.txt"), "eno").expect("written"),
            "mode" => fs::set_permissions(at("a.txt"), fs::Permissions::from_mode(0o744)).expect("a mode"),
            _ => fs::write(at("b"), "x").expect("written"),
        }
        let ran = verify();
        assert_eq!(exit(&ran), 6, "{change}");
        assert!(text(&ran.stderr).contains("hidden: 1"), "{}", text(&ran.stderr));
        fs::write(at("a.txt"), "one").expect("written");
        fs::set_permissions(at("a.txt"), fs::Permissions::from_mode(0o644)).expect("a mode");
        let _ = fs::remove_file(at("b"));
    }
    assert_eq!(exit(&verify()), 0);
}
