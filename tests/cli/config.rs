//! The configuration file of the daemons: how it is checked and shown, and which layers are above
//! it.

use std::process::{Command, Output};

fn sprat(folder: &tempfile::TempDir, args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
    command.args(args).env_clear().env("HOME", folder.path()).envs(env.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = [stdout, stderr].concat();
    (status.code().expect("no signal"), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn a_file_is_checked_and_each_value_is_shown_with_its_origin() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.toml");
    let file = path.to_str().expect("UTF-8");
    let write = |text: &str| std::fs::write(&path, text).expect("the file is written");

    write("log_level = \"warn\"\n[peer]\nshare = \"/srv\"\nhttp_files = true\nparallel = 2\n[super]\nttl = 3\n");
    let (code, text) = sprat(&folder, &["config", "check", file], &[]);
    assert_eq!((code, text), (0, format!("{file} is right for sprat super and sprat peer\n")));

    let env = [("SPRAT_CONFIG", file), ("SPRAT_PARALLEL", "3")];
    let (code, text) = sprat(&folder, &["config", "show", "--origin", "--", "peer", "--uploads", "5"], &env);
    let origin = |key: &str, value: &str| {
        let line = text.lines().find(|line| line.starts_with(value)).unwrap_or_else(|| panic!("{key}: {text}"));
        line.rsplit_once("# ").expect("an origin").1.to_owned()
    };
    assert_eq!(code, 0, "{text}");
    assert_eq!(origin("a flag", "uploads = 5 "), "flag");
    assert_eq!(origin("a variable", "parallel = 3 "), "SPRAT_PARALLEL");
    assert_eq!(origin("a switch of the file", "http_files = true "), format!("{file}:4"));
    assert_eq!(origin("a list of the file", "share = [\"/srv\"] "), format!("{file}:3"));
    assert_eq!(origin("a default", "# sessions: 1 "), "default");
    let (_, text) = sprat(&folder, &["config", "show"], &env);
    write(&text);
    assert_eq!(sprat(&folder, &["config", "check", file], &[]).0, 0, "what is shown is a file: {text}");

    for (wrong, why) in [
        ("[peer]\nparalel = 2", "c.toml:2: there is no key paralel; did you mean parallel?"),
        ("[super]\nping = \"1h\"", "from 1s to 30s (from "),
        ("ttl = 3\nhttp_files = true", "c.toml:1: ttl is no option of sprat peer"),
    ] {
        write(wrong);
        let (code, text) = sprat(&folder, &["config", "check", file], &[]);
        assert!(code == 2 && text.contains(why), "{wrong}: {text}");
        let (code, text) = sprat(&folder, &["super", "--config", file], &[]);
        assert!(code == 2 && text.contains("c.toml:"), "{wrong}: {text}");
    }
}

#[test]
fn a_file_with_which_a_daemon_does_not_start_is_not_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.toml");
    let file = path.to_str().expect("UTF-8");
    let check = |text: &str| {
        std::fs::write(&path, text).expect("the file is written");
        sprat(&folder, &["config", "check", file], &[])
    };
    for (wrong, why) in [
        ("[super]\nname = \"a/b\"", "c.toml:2"),
        ("[super]\nhttp = \"[fe80::1]:4779\"", "c.toml:2"),
        ("[super]\ncontrol = \"\"", "c.toml:2"),
        ("[super]\nready_file = \"\"", "c.toml:2"),
        ("[peer]\nshare = \"/srv\"\ndownloads = \"\"", "c.toml:3"),
        ("[peer]\nshare = \"/srv\"\nlisten = \"[fe80::1]:4778\"", "c.toml:3"),
        ("[peer]\nshare = [\"share\", \"share2\"]", "c.toml:2"),
        ("[peer]\nsuper = [\"127.77.0.1\"]", "[peer] names no folder"),
    ] {
        let (code, text) = check(wrong);
        assert!(code == 2 && text.contains(why), "{wrong}: {text}");
    }
    let (code, text) = check("log_level = \"warn\"");
    assert!(code == 0 && text.contains("sprat peer also needs --share DIR"), "{text}");
}
