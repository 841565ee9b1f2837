//! `sprat sim` on the command line: the same seed prints the same figures, the documented keys are
//! there, and options that make no sense are refused with exit 2.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sprat")).arg("sim").args(args).env_clear().output().expect("the binary runs")
}

/// The output of a run that ends well.
fn printed(args: &[&str]) -> String {
    let output = sim(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn lines(args: &[&str]) -> Vec<Value> {
    printed(args).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A small network whose run is short.
const SMALL: [&str; 10] = ["--supers", "12", "--degree", "3", "--queries", "20", "--interval", "20ms", "--ttl", "20"];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().chain(more).copied().collect()
}

/// Removes the fields that may differ between two runs of one seed.
fn without_wall(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|key, _| !key.starts_with("wall_"));
        map.values_mut().for_each(without_wall);
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn done_carries_the_keys_that_are_promised_and_a_quiet_network_finds_all() {
    let lines = lines(&small(&["--json"]));
    let [result, done] = lines.as_slice() else { panic!("a result and a done: {lines:?}") };
    assert_eq!((&result["event"], &done["event"]), (&"result".into(), &"done".into()));
    let promised = [
        "v",
        "event",
        "ok",
        "exit",
        "supers",
        "peers",
        "records",
        "queries",
        "reach",
        "recall",
        "complete_share",
        "complete_wrong",
        "messages_per_query",
        "bytes_per_query",
        "duplicates_per_query",
        "answer_ms",
        "load_max_over_mean",
        "virtual_s",
        "wall_s",
    ];
    assert_eq!(keys(done), promised.into());
    assert_eq!(keys(&done["messages_per_query"]), ["query", "hit", "done", "other", "total"].into());
    assert_eq!(keys(&done["answer_ms"]), ["first", "last", "done"].into());
    for which in ["first", "last", "done"] {
        assert_eq!(keys(&done["answer_ms"][which]), ["p50", "p99"].into());
    }
    assert_eq!((&done["ok"], &done["exit"], &done["complete_wrong"]), (&true.into(), &0.into(), &0.into()));
    assert_eq!(done["supers"], 12);
    assert_eq!((&done["peers"], &done["records"], &done["queries"]), (&120.into(), &120.into(), &20.into()));
    assert_eq!((done["recall"].as_f64(), done["complete_share"].as_f64()), (Some(1.0), Some(1.0)));
    let messages = &done["messages_per_query"];
    let sum: f64 = ["query", "hit", "done", "other"].iter().map(|kind| messages[kind].as_f64().unwrap()).sum();
    assert!((messages["total"].as_f64().unwrap() - sum).abs() < 1e-3 && sum > 10.0, "{messages}");
}

#[test]
fn the_same_seed_prints_the_same_with_any_number_of_threads() {
    let faults = ["--loss", "10", "--churn", "50", "--json"];
    let run = |more: &[&str]| {
        let mut lines = lines(&small(&[&faults, more].concat()));
        lines.iter_mut().for_each(without_wall);
        lines
    };
    let one = run(&["--seed", "7", "--threads", "1"]);
    assert_eq!(run(&["--seed", "7", "--threads", "1"]), one);
    assert_eq!(run(&["--seed", "7", "--threads", "2"]), one);
    assert_ne!(run(&["--seed", "8", "--threads", "1"]), one);
}

#[test]
fn a_sweep_has_a_row_for_each_combination() {
    let sweep = ["--sweep", "loss=0,20", "--sweep", "policy=flood,tree"];
    let rows = lines(&small(&[&sweep[..], &["--json"]].concat()));
    let of: Vec<(String, String)> = rows[..4]
        .iter()
        .map(|row| (row["sweep"]["loss"].as_str().unwrap().into(), row["sweep"]["policy"].as_str().unwrap().into()))
        .collect();
    let all = [("0", "flood"), ("0", "tree"), ("20", "flood"), ("20", "tree")];
    assert_eq!(of, all.map(|(loss, policy)| (loss.to_owned(), policy.to_owned())));
    assert_eq!((&rows[4]["event"], &rows[4]["results"]), (&"done".into(), &4.into()));
    let csv = printed(&small(&[&sweep[..], &["--csv"]].concat()));
    let columns: BTreeSet<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(csv.lines().count() == 5 && columns.len() == 1, "{csv}");
    let markdown = printed(&small(&[&sweep[..], &["--md"]].concat()));
    assert!(markdown.lines().count() == 6 && markdown.lines().all(|line| line.starts_with('|')), "{markdown}");
}

#[test]
fn pictures_are_drawn_of_the_network_and_of_what_was_swept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("picture.svg");
    let draw = |more: &[&str]| {
        printed(&small(&[&["--svg", path.to_str().unwrap()], more].concat()));
        std::fs::read_to_string(&path).expect("it was written")
    };
    let network = draw(&[]);
    assert!(network.starts_with("<svg ") && network.matches("<circle").count() == 12, "{network}");
    let curves = draw(&["--sweep", "ttl=1,2,3"]);
    assert_eq!((curves.matches("<polyline").count(), curves.matches("<circle").count()), (9, 27));
}

#[test]
fn a_network_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |text: &str| {
        let path = folder.path().join("links");
        std::fs::write(&path, text).expect("it is written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let path = file("# a star\n0 1\n0 2\n0 3\n");
    let done = lines(&["--topology", &path, "--queries", "5", "--json"]).pop().expect("a done");
    assert_eq!((&done["supers"], done["reach"].as_f64()), (&4.into(), Some(1.0)));
    for (text, part) in [("0 1\n1 two\n", "line 2"), ("0 1\n\n2 2\n", "line 3"), ("", "no edges")] {
        let path = file(text);
        refused(&["--topology", &path], &[part, &path]);
    }
    let path = file("0 1\n1 2\n");
    refused(&["--topology", &path, "--supers", "2"], &["3 super peers"]);
    assert!(!Path::new(&path).with_extension("svg").exists());
}

/// Asserts that a command ends with exit 2 and a sentence with these parts.
fn refused(args: &[&str], parts: &[&str]) {
    let output = sim(args);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    let first = stderr.lines().next().unwrap_or_default();
    assert!(parts.iter().all(|part| first.contains(part)), "{args:?}: {first}");
    assert!(stderr.contains("\nUsage: sprat sim"), "{args:?}: {stderr}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused(&["--supers", "0"], &["--supers"]);
    refused(&["--supers", "5", "--degree", "3"], &["5 super peers with --degree 3", "even"]);
    refused(&["--supers", "5", "--degree", "5"], &["from 2 to 4"]);
    refused(&["--degree", "1", "--topology", "tree"], &["--degree"]);
    refused(&["--topology", "torus"], &["random-regular", "torus"]);
    refused(&["--loss", "101"], &["--loss", "percentage"]);
    refused(&["--loss", "some"], &["--loss"]);
    refused(&["--ttl", "65"], &["--ttl"]);
    refused(&["--files", "3", "--files-per-peer", "4"], &["--files-per-peer"]);
    refused(&["--zipf", "-1"], &["--zipf"]);
    refused(&["--churn", "-1"], &["--churn"]);
    refused(&["--budget", "2m"], &["--budget"]);
    refused(&["--policy", "gossip"], &["gossip"]);
    refused(&["--threads", "0"], &["--threads"]);
    refused(&["--json", "--csv"], &["exclude"]);
    refused(&["--sweep", "loss"], &["NAME=VALUE"]);
    refused(&["--sweep", "moon=1,2"], &["moon", "there are supers"]);
    refused(&["--sweep", "loss=1,x"], &["loss", "\"x\""]);
    refused(&["--sweep", "degree=2,200"], &["--degree 200"]);
    refused(&["--sweep", "loss=1", "--sweep", "loss=2"], &["twice"]);
}

#[test]
fn a_swarm_prints_its_figures_and_the_same_seed_gives_the_same_ones() {
    let done = || {
        let mut lines = lines(&["--swarm", "6", "--pieces", "8", "--zones", "2", "--seed", "5", "--json"]);
        let mut done = lines.pop().expect("two lines");
        without_wall(&mut done);
        done
    };
    let figures = done();
    assert_eq!(figures["event"], "done");
    for name in ["bound_s", "first_over_bound", "p50_over_bound", "last_over_bound", "seed_egress", "cross_zone"] {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {figures}");
    }
    for name in ["duplicates", "control", "joins", "messages_super"] {
        assert!(figures[name].is_number(), "{name}: {figures}");
    }
    assert_eq!(done(), figures);
}

#[test]
fn options_of_a_swarm_and_of_searches_exclude_each_other() {
    for args in [&["--pieces", "8"][..], &["--swarm", "8", "--ttl", "3"], &["--swarm", "0"]] {
        assert_eq!(sim(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_sweep_of_swarms_prints_a_result_for_each_and_draws_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("growth.svg");
    let svg = svg.to_str().expect("UTF-8");
    let swarm = ["--swarm", "4", "--sweep", "swarm=3,6", "--sweep", "pieces=2,4", "--json", "--svg", svg];
    let lines = lines(&swarm);
    let sizes: Vec<_> = lines[..4].iter().map(|line| (line["peers"].as_u64(), line["pieces"].as_u64())).collect();
    assert_eq!(sizes, [(3, 2), (3, 4), (6, 2), (6, 4)].map(|(n, k)| (Some(n), Some(k))));
    assert_eq!((&lines[4]["event"], &lines[4]["results"]), (&"done".into(), &4.into()));
    assert_eq!(lines[0]["sweep"], serde_json::json!({"swarm": "3", "pieces": "2"}));
    let drawn = std::fs::read_to_string(svg).expect("a picture");
    assert!(drawn.contains("pieces 2") && drawn.contains("pieces 4"), "{drawn}");
    refused(&["--swarm", "4", "--sweep", "loss=1,2"], &["loss", "there are swarm"]);
    refused(&["--swarm", "4", "--sweep", "zones=1,5"], &["--zones"]);
}
