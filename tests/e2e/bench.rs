//! The load generator against its own processes. The tests check the form of its reports, never its
//! speed.

use serde_json::Value;

use super::common::{World, noise};

fn done(args: &[&str]) -> Value {
    World::new().run(args).done()
}

#[test]
fn a_bench_of_queries_reports_every_figure() {
    let done = done(&["bench", "--self", "query", "--json", "--seconds", "1", "--sessions", "10"]);
    assert_eq!((&done["event"], &done["mode"], &done["ok"]), (&"done".into(), &"query".into(), &true.into()), "{done}");
    let count = done["count"].as_u64().expect("a count");
    assert!(count > 0 && done["hits"] == count, "every name that is asked for is there: {done}");
    for figure in ["rate_per_s", "client_cpu_share", "setup_s", "seconds"] {
        assert!(done[figure].is_f64(), "{figure}: {done}");
    }
    for quantile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(done["latency_us"][quantile].is_u64(), "{quantile}: {done}");
    }
    for figure in ["pid", "rss_kib", "private_kib", "context_switches"] {
        assert!(done["server"][figure].is_u64(), "{figure}: {done}");
    }
    assert!(done["server"]["cpu_s"].is_f64() && done["client_bound"].is_boolean());
    assert_eq!(done["errors"], serde_json::json!({}));
    assert_eq!(done["env"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(done["env"]["args"][1], "--self");
    assert!(done["env"]["kernel"].is_string());
    for figure in ["cpus", "nofile"] {
        assert!(done["env"][figure].is_u64(), "{figure}: {done}");
    }
}

/// The keys that every mode has.
fn assert_shape(done: &Value, mode: &str) {
    assert_eq!((&done["mode"], &done["event"], &done["ok"]), (&mode.into(), &"done".into(), &true.into()), "{done}");
    assert!(done["count"].as_u64() > Some(0) && done["rate_per_s"].as_f64() > Some(0.0), "{done}");
    for quantile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(done["latency_us"][quantile].is_u64(), "{quantile}: {done}");
    }
    assert_eq!(done["errors"], serde_json::json!({}));
    assert!(done["client_cpu_share"].is_f64() && done["client_bound"].is_boolean(), "{done}");
    for figure in ["pid", "rss_kib", "private_kib", "cpu_s", "context_switches"] {
        assert!(done["server"][figure].is_number(), "{figure}: {done}");
    }
    for fact in ["version", "kernel", "cpus", "nofile", "args"] {
        assert!(!done["env"][fact].is_null(), "{fact}: {done}");
    }
}

#[test]
fn every_mode_reports_the_same_fields() {
    for (mode, more) in [
        ("idle", &["--sessions", "20", "--seconds", "0.2"][..]),
        ("connect", &["--sessions", "50"]),
        ("register", &["--sessions", "2", "--files", "3000"]),
        ("flood", &["--files", "500", "--seconds", "0.3"]),
        ("get", &["--size", "3M", "--seconds", "0.2", "--verify", "blake3"]),
    ] {
        let args = [&["bench", mode, "--self", "--json"], more].concat();
        let done = done(&args);
        assert_shape(&done, mode);
        let expected = match mode {
            "idle" => Some(20),
            "connect" => Some(50),
            "register" => Some(3000),
            _ => None,
        };
        assert!(expected.is_none_or(|count| done["count"] == count), "{done}");
    }
}

#[test]
fn every_mode_takes_every_option_and_reports_those_that_it_does_not_use() {
    let shape = "--sessions 3 --depth 2 --rate 100 --seconds 0.2 --files 5 --sources 2 --size 64K --login --json";
    for (mode, unused) in [
        ("idle", "--depth, --rate, --sources, --size"),
        ("connect", "--depth, --rate, --seconds, --sources, --size"),
        ("register", "--depth, --rate, --seconds, --sources, --size"),
        ("query", "--sources, --size"),
        ("flood", "--sessions, --sources, --size, --login"),
        ("get", "--sessions, --rate, --files, --login"),
        ("churn", "--depth, --rate, --login"),
    ] {
        let args = ["bench", mode, "--self"].into_iter().chain(shape.split(' '));
        let output = World::new().sprat(args).output().expect("sprat runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim_end(), format!("bench: {mode} has no use for {unused}"), "{mode}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_shape(&serde_json::from_str(text.trim_end()).expect("one line of JSON"), mode);
    }
}

#[test]
fn a_flood_reaches_a_super_peer_that_names_the_bench() {
    let world = World::new();
    let port = world.free_port();
    let daemon = world.super_peer_at("super", 0, &[port], &[]);
    let listen = format!("{}:{port}", world.ip());
    let bench = ["bench", "flood", "--super", daemon.addr(), "--listen", &listen, "--files", "100"];
    let done = world.run([&bench[..], &["--seconds", "0.2", "--json"]].concat()).done();
    assert_eq!((&done["mode"], &done["ok"]), (&"flood".into(), &true.into()), "{done}");
    assert!(done["hits"].as_u64() > Some(0), "{done}");
    assert_eq!(done["server"]["pid"], daemon.ready["pid"], "the process that listens there: {done}");
}

#[test]
fn an_open_loop_sends_as_many_as_were_asked_for() {
    let args = ["bench", "query", "--self", "--json", "--rate", "400", "--seconds", "0.5", "--sessions", "4"];
    let done = done(&[&args[..], &["--files", "100"]].concat());
    assert_shape(&done, "query");
    assert_eq!((&done["count"], &done["hits"]), (&200.into(), &200.into()), "{done}");
    assert!(done["late"].is_u64());
    assert!(done["rate_over_time"].as_array().is_some_and(|rates| rates.len() > 5), "{done}");
}

#[test]
fn downloads_of_a_super_peer_that_is_there_take_its_longest_file() {
    let world = World::new();
    let daemon = world.super_peer("super");
    for (name, length) in [("a.bin", 3000), ("b.bin", 2000), ("c.bin", 9000)] {
        world.share("peer", name, &noise(1, length));
    }
    let _peer = world.peer("peer", &[&daemon]);
    world.hits(&daemon, "*.bin", 3);
    let bench = ["bench", "get", "--super", daemon.addr(), "--json", "--seconds", "0.1", "--size", "4K"];
    let done = world.run(bench).done();
    assert_eq!((&done["mode"], &done["errors"]), (&"get".into(), &serde_json::json!({})), "{done}");
    let (count, bytes, seconds) = (&done["count"], &done["bytes_per_s"], &done["seconds"]);
    let (Some(count), Some(bytes), Some(seconds)) = (count.as_u64(), bytes.as_f64(), seconds.as_f64()) else {
        panic!("{done}");
    };
    let expected = count as f64 * 3000.0 / seconds;
    assert!(count > 0 && (bytes - expected).abs() <= expected / 1000.0 + 1.0, "the longest up to 4 KiB: {done}");
}

#[test]
fn figures_are_written_in_every_form_and_compared() {
    let world = World::new();
    let bench = ["bench", "connect", "--self", "--sessions", "5"];
    let run = |more: &[&str]| {
        let output = world.sprat([&bench[..], more].concat()).output().expect("sprat runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let picture = world.path("picture.svg");
    let csv = run(&["--csv", "--svg", picture.to_str().expect("text")]);
    assert!(csv.lines().count() == 2 && csv.starts_with("\"mode\",\"set-ups\""), "{csv}");
    let svg = std::fs::read_to_string(&picture).expect("the picture is there");
    assert!(svg.starts_with("<svg ") && svg.contains("<polyline") && !svg.contains("NaN"), "{svg}");
    assert!(run(&["--md"]).starts_with("| figure | value |\n| --- | ---: |\n| mode | connect |"));

    let [a, b] = ["a.json", "b.json"].map(|name| world.path(name));
    std::fs::write(&a, run(&["--json"]).repeat(3)).expect("written");
    std::fs::write(&b, run(&["--json"])).expect("written");
    let [a, b] = [&a, &b].map(|path| path.to_str().expect("text"));
    let done = world.run(["bench", "compare", a, b, "--json"]).done();
    assert_eq!((&done["mode"], &done["runs"]), (&"connect".into(), &serde_json::json!([3, 1])), "{done}");
    let figures = done["figures"].as_array().expect("figures");
    assert!(figures.len() >= 10, "{done}");
    for figure in figures {
        assert!(figure["a"].is_f64() && figure["b"].is_f64() && figure["verdict"] == "unknown", "{figure}");
    }
    let refused = world.sprat(["bench", "compare", a]).output().expect("sprat runs");
    assert_eq!(refused.status.code(), Some(2), "two files, not one");
}

#[test]
fn visitors_of_a_bench_download_what_they_find() {
    let done = done(&["bench", "churn", "--self", "--json", "--seconds", "0.5", "--sessions", "3", "--sources", "2"]);
    assert!(done["count"].as_u64() > Some(0) && done["hits"].as_u64() >= done["count"].as_u64(), "{done}");
    assert_eq!(done["errors"], serde_json::json!({}));
}

#[test]
fn a_bench_that_does_not_fit_says_so() {
    let world = World::new();
    let mut run = world.sprat(["bench", "idle", "--self", "--sessions", "9000000000"]);
    let output = run.output().expect("sprat runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("sprat: 9000000000 sessions do not fit"), "{text}");
}

#[test]
fn a_bench_of_a_swarm_counts_what_the_seed_sends_and_what_comes_twice() {
    let done = done(&["bench", "swarm", "--self", "--peers", "3", "--size", "4M", "--json"]);
    assert_eq!((&done["mode"], &done["finished"], &done["failed"]), (&"swarm".into(), &3.into(), &0.into()), "{done}");
    for figure in ["first_s", "p50_s", "last_s", "duplicates", "cpu_s_per_gib"] {
        assert!(done[figure].is_f64(), "{figure}: {done}");
    }
    let egress = done["seed_egress"].as_f64().expect("a share of the file");
    assert!((1.0..=3.5).contains(&egress), "{done}");
}
