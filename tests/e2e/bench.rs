//! The load generator against processes of its own: the shape of what it tells, never how fast it is.

use serde_json::Value;

use super::common::World;

fn done(args: &[&str]) -> Value {
    World::new().run(args).done()
}

#[test]
fn a_bench_of_queries_tells_every_figure() {
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
    for figure in ["cpus", "nofile"] {
        assert!(done["env"][figure].is_u64(), "{figure}: {done}");
    }
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
