//! `sprat bench get`: peers that share one file, and downloads of this file, each in a process of
//! its own.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::limits::{Limits, first_super};
use super::report::{Env, Report, Watched};
use super::rig::{Rig, say};
use crate::bench::{Mode, Tally};
use crate::cli::args::Bench;
use crate::cli::random::OsEntropy;
use crate::cli::tools::children::{Children, Subnet};
use crate::cli::tools::figures::Form;
use crate::error::{Exit, Failure};
use crate::proto::{Entropy, Verify};
use crate::time::Time;

/// The name of the file.
const NAME: &str = "bench.bin";

pub(super) fn run(args: &Bench, limits: &Limits, nofile: u64, mut rig: Rig, form: Form) -> Result<u8, Failure> {
    let (super_peer, what, size) = if args.own {
        let subnet = Subnet::draw(OsEntropy.next_u64());
        let super_peer = rig.start_super(subnet, None, None)?.to_string();
        rig.start_sources(subnet, limits.sources, limits.size, NAME)?;
        (super_peer, NAME.to_owned(), limits.size)
    } else {
        let super_peer = first_super(args)?.to_string();
        let (what, size) = longest(&rig, &super_peer, limits.size)?;
        (super_peer, what, size)
    };
    if rig.talks {
        say("measuring");
    }
    let verify = match args.verify.unwrap_or_default() {
        Verify::Both => "both",
        Verify::Blake3 => "blake3",
        Verify::Md5 => "md5",
    };
    let mut tally = Tally::default();
    let mut client = Watched::new(std::process::id());
    let served_by = if args.own { rig.source_pids.clone() } else { args.pid.into_iter().collect() };
    let mut servers: Vec<Watched> = served_by.into_iter().map(Watched::new).collect();
    tally.look(Duration::ZERO);
    client.begin();
    servers.iter_mut().for_each(Watched::begin);
    let begun = Instant::now();
    let (downloads, ended) = mpsc::channel();
    thread::scope(|scope| {
        for n in 0..limits.depth {
            let (downloads, out) = (downloads.clone(), rig.path().join(format!("out{n}")));
            let order = Repeated { what: &what, super_peer: &super_peer, verify, size };
            let children = &rig.children;
            scope.spawn(move || {
                while begun.elapsed() < limits.length {
                    let end = order.download(children, &out);
                    let stop = end.is_err();
                    if downloads.send(end).is_err() || stop {
                        return;
                    }
                }
            });
        }
        drop(downloads);
        for end in &ended {
            match end? {
                Ok(took) => {
                    tally.count += 1;
                    tally.took_for(took);
                }
                Err(class) => tally.error(&class),
            }
            tally.look(begun.elapsed());
        }
        Ok::<(), Failure>(())
    })?;
    let spent = begun.elapsed();
    client.end();
    servers.iter_mut().for_each(Watched::end);
    tally.span = Some((Time::ZERO, Time::ZERO + spent));
    let bytes = tally.count * size;
    let report = Report::new(Mode::Get, &tally, false, &client, &servers, Env::here(nofile)).with_bytes(bytes);
    report.publish(args, form)
}

/// The download that is repeated.
struct Repeated<'a> {
    what: &'a str,
    super_peer: &'a str,
    verify: &'a str,
    size: u64,
}

impl Repeated<'_> {
    /// Downloads once. Returns the duration, or the class of the error. Removes the file, so that
    /// the next download fetches everything again.
    fn download(&self, children: &Children, out: &Path) -> Result<Result<Duration, String>, Failure> {
        let from = Instant::now();
        let path = out.display().to_string();
        let answer =
            children.ask(&["get", self.what, "--super", self.super_peer, "-o", &path, "--verify", self.verify])?;
        let took = from.elapsed();
        if std::fs::remove_file(out).is_err() && answer.code == 0 {
            return Ok(Err("no_file".to_owned()));
        }
        let whole = answer.code == 0 && answer.done()["bytes"].as_u64() == Some(self.size);
        Ok(if whole { Ok(took) } else { Err(format!("exit_{}", answer.code)) })
    }
}

/// The longest file at a super peer with at most this length: its root and its length.
fn longest(rig: &Rig, super_peer: &str, longest: u64) -> Result<(String, u64), Failure> {
    let answer = rig.children.ask(&["list", "--super", super_peer])?;
    if answer.code != 0 {
        let why = answer.done()["error"].as_str().unwrap_or("it cannot be listed");
        return Err(Failure::new(Exit::Unreachable, format!("the super peer at {super_peer}: {why}")));
    }
    let files = answer.of("file").filter_map(|file| Some((file["size"].as_u64()?, file["root"].as_str()?.to_owned())));
    let found = files.filter(|(size, _)| (1..=longest).contains(size)).max();
    let none = || {
        let why = format!("the super peer at {super_peer} knows no file of 1 to {longest} bytes; say more with --size");
        Failure::new(Exit::NotFound, why)
    };
    found.map(|(size, root)| (root, size)).ok_or_else(none)
}
