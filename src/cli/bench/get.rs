//! `sprat bench get`: real peers that share one file, and real downloads of it, each a process of its own.

use std::time::{Duration, Instant};

use super::report::{Env, Report, Watched};
use super::{Limits, Rig, first_super, say, tell};
use crate::bench::Mode;
use crate::bench::Tally;
use crate::cli::args::Bench;
use crate::cli::demo::children::Subnet;
use crate::cli::random::OsEntropy;
use crate::error::{Exit, Failure};
use crate::proto::{Entropy, Verify};
use crate::time::Time;

/// The file.
const NAME: &str = "bench.bin";

pub(super) fn run(args: &Bench, limits: &Limits, nofile: u64) -> Result<u8, Failure> {
    if limits.depth > 1 {
        return Err(Failure::new(Exit::Usage, "bench get makes one download after the other: --depth is 1"));
    }
    let mut rig = Rig::new(args, Mode::Get)?;
    let (home, what, size) = if args.own {
        let subnet = Subnet::draw(OsEntropy.next_u64());
        let home = rig.start_super(subnet, None)?.to_string();
        rig.start_sources(subnet, limits.sources, limits.size, NAME)?;
        (home, NAME.to_owned(), limits.size)
    } else {
        let home = first_super(args)?.to_string();
        let (what, size) = longest(&rig, &home, limits.size)?;
        (home, what, size)
    };
    if rig.tells {
        say("measuring");
    }
    let verify = match args.verify.unwrap_or_default() {
        Verify::Both => "both",
        Verify::Blake3 => "blake3",
        Verify::Md5 => "md5",
    };
    let out = rig.path().join("out");
    let out = out.display().to_string();
    let mut tally = Tally::default();
    let mut client = Watched::new(std::process::id());
    let served_by = if args.own { rig.source_pids.clone() } else { args.pid.into_iter().collect() };
    let mut servers: Vec<Watched> = served_by.into_iter().map(Watched::new).collect();
    tally.look(Duration::ZERO);
    client.begin();
    servers.iter_mut().for_each(Watched::begin);
    let begun = Instant::now();
    let mut spent = Duration::ZERO;
    while spent < limits.length {
        let from = Instant::now();
        let answer = rig.children.ask(&["get", &what, "--super", &home, "-o", &out, "--verify", verify])?;
        let took = from.elapsed();
        if answer.code == 0 && answer.done()["bytes"].as_u64() == Some(size) {
            tally.count += 1;
            tally.took_for(took);
        } else {
            tally.error(&format!("exit_{}", answer.code));
        }
        spent = begun.elapsed();
        tally.look(spent);
        // The next one must fetch it all again.
        if std::fs::remove_file(&out).is_err() && answer.code == 0 {
            tally.error("no_file");
        }
    }
    client.end();
    servers.iter_mut().for_each(Watched::end);
    let end = Time::ZERO + spent;
    tally.span = Some((Time::ZERO, end));
    let bytes = tally.count * size;
    let report = Report::new(Mode::Get, &tally, false, &client, &servers, Env::here(nofile)).with_bytes(bytes);
    tell(args, report)
}

/// The longest file at a super peer that is not longer than this: its root, and its length.
fn longest(rig: &Rig, home: &str, longest: u64) -> Result<(String, u64), Failure> {
    let answer = rig.children.ask(&["list", "--super", home])?;
    if answer.code != 0 {
        let why = answer.done()["error"].as_str().unwrap_or("it cannot be listed");
        return Err(Failure::new(Exit::Unreachable, format!("the super peer at {home}: {why}")));
    }
    let files = answer.of("file").filter_map(|file| Some((file["size"].as_u64()?, file["root"].as_str()?.to_owned())));
    let found = files.filter(|(size, _)| (1..=longest).contains(size)).max();
    let none = || {
        let why = format!("the super peer at {home} knows no file of 1 to {longest} bytes; say more with --size");
        Failure::new(Exit::NotFound, why)
    };
    found.map(|(size, root)| (root, size)).ok_or_else(none)
}
