//! `sprat demo`: a small network with a search and a download, with real processes, sockets and
//! files. It prints each step. The exit code is 0 only if every check has succeeded.

mod liar;

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::children::{
    Answer, Children, Daemon, LOOK_AGAIN, PATIENCE, Subnet, failed, interrupt_flag, signal, write_random,
};
use super::process::Sample;
use crate::cli::args::Demo;
use crate::cli::format::{count, source_table};
use crate::cli::oneshot::INTERRUPTED;
use crate::cli::output;
use crate::cli::random::OsEntropy;
use crate::cli::table::table;
use crate::cli::units::{Size, Span};
use crate::config::QUERY_BUDGET;
use crate::error::{Exit, Failure};
use crate::proto::Entropy;
use crate::proto::event::SourceReport;
use crate::wire::Root;
use liar::Liar;

/// Length of the file that is made.
const FILE_BYTES: u64 = 128 << 20;
/// The download of a smaller file would end before a source can be killed.
const FILE_BYTES_MIN: u64 = 32 << 20;
/// Name of the file that is made.
const FILE_NAME: &str = "ocean.bin";
/// A name that no peer has.
const NOBODY_HAS: &str = "the-one-that-got-away";
/// How often other ports are drawn, if another process has used one of them before the daemon
/// starts.
const DRAWS_MAX: u32 = 5;
/// The super peers, in their order in the ring.
const SUPERS: [&str; 4] = ["north", "east", "south", "west"];
/// The real peers, and the super peer of each. The liar, also at `south`, is the fourth source of
/// the file.
const PEERS: [(&str, usize); 5] = [("anna", 2), ("ben", 1), ("carl", 3), ("dora", 0), ("emil", 2)];
/// The peers that have the file from the start.
const HOLDERS: [&str; 2] = ["ben", "carl"];
/// The peer that gets the file while the network runs.
const LATE: &str = "anna";
/// The peer that is killed while it sends.
const VICTIM: &str = "carl";
/// Pieces that the source sends before it is killed. They are few, so that the other sources cannot
/// have sent the rest of the smallest file by then.
const VICTIM_PIECES: u64 = 4;
/// The peer that downloads.
const LOADER: &str = "dora";
/// The content that several peers fetch at the same time, its length, the peer that has it, and the
/// peers that fetch it. Each of these uses another super peer.
const FLEET_NAME: &str = "reef.bin";
const FLEET_BYTES: u64 = 64 << 20;
const SEED: &str = "emil";
const FLEET: [&str; 3] = ["anna", "ben", "dora"];
/// Last byte of the liar's address.
const LIAR_HOST: u8 = 66;

/// Runs the demo.
pub(crate) fn run(args: &Demo) -> Result<u8, Failure> {
    let interrupted = interrupt_flag()?;
    let folder = tempfile::Builder::new().prefix("sprat-demo-").tempdir().map_err(|e| failed("make a folder", &e))?;
    let mut stage = Stage {
        children: Children::new(folder.path(), Arc::clone(&interrupted))?,
        folder: folder.path().to_owned(),
        begun: Instant::now(),
        wrong: 0,
        color: io::stdout().is_terminal(),
    };
    let played = play(&mut stage, args, &interrupted);
    stage.children.end();
    match played {
        Ok(()) if stage.wrong == 0 => Ok(Exit::Ok.code()),
        Ok(()) => Err(Failure::new(Exit::Internal, format!("{} of the demo failed", count(stage.wrong, "check")))),
        Err(_) if interrupted.load(Ordering::Relaxed) => Ok(INTERRUPTED),
        Err(failure) => Err(failure),
    }
}

/// The state that all steps share.
struct Stage {
    children: Children,
    folder: PathBuf,
    begun: Instant,
    wrong: u64,
    color: bool,
}

/// The file that is shared.
struct Treasure {
    path: PathBuf,
    name: String,
    size: u64,
    root: Root,
}

/// The running nodes.
struct Network {
    supers: Vec<Daemon>,
    peers: Vec<Daemon>,
    liar: Liar,
}

impl Network {
    fn peer(&self, name: &str) -> &Daemon {
        self.peers.iter().find(|peer| peer.name == name).unwrap_or(&self.peers[0])
    }

    fn address(&self, name: &str) -> String {
        self.peer(name).listen.to_string()
    }

    /// The name of the peer with this address.
    fn who(&self, address: &str) -> &str {
        if self.liar.addr.to_string() == address {
            return "liar";
        }
        self.peers.iter().find(|peer| peer.listen.to_string() == address).map_or("?", |peer| peer.name)
    }
}

impl Stage {
    fn say(&self, text: &str) {
        let at = self.begun.elapsed();
        out(&format!("[{:>5.2} s] {text}", at.as_secs_f64()));
    }

    fn check(&mut self, holds: bool, text: &str) {
        let (mark, color) = if holds { ("ok   ", "32") } else { ("WRONG", "31") };
        let mark = if self.color { format!("\x1b[{color}m{mark}\x1b[0m") } else { mark.to_owned() };
        let _ = output::styled(&format!("          {mark} {}\n", output::visible(text)));
        self.wrong += u64::from(!holds);
    }

    /// Repeats a command until its answer is the wanted one. Returns the last answer.
    fn ask_until(&self, args: &[&str], wanted: impl Fn(&Answer) -> bool) -> Result<Answer, Failure> {
        let begun = Instant::now();
        loop {
            let answer = self.children.ask(args)?;
            if wanted(&answer) || begun.elapsed() > PATIENCE {
                return Ok(answer);
            }
            self.children.pause()?;
        }
    }
}

fn out(line: &str) {
    // If standard output is closed, the exit code still reports the result.
    let _ = output::line(line);
}

fn play(stage: &mut Stage, args: &Demo, interrupted: &AtomicBool) -> Result<(), Failure> {
    out("sprat demo: real processes on loopback; all of them and their files are removed at the end");
    let treasure = make_treasure(stage, args.file.as_deref())?;
    let network = set_up(stage, &treasure)?;
    search(stage, &network, &treasure)?;
    let published = download(stage, &network, &treasure)?;
    prove(stage, &network, &treasure, published.as_deref())?;
    fleet(stage, &network)?;
    memory(stage, &network);
    let verdict = if stage.wrong == 0 { "every check held" } else { "not every check held" };
    stage.say(verdict);
    if args.stay {
        stay(stage, &network, &treasure, interrupted);
    }
    Ok(())
}

// ---- the file -----------------------------------------------------------------------------------

fn make_treasure(stage: &Stage, given: Option<&Path>) -> Result<Treasure, Failure> {
    let (name, path) = match given {
        None => (FILE_NAME.to_owned(), stage.folder.join(FILE_NAME)),
        Some(given) => {
            let unreadable = |why: &str| Failure::new(Exit::Disk, format!("--file {}: {why}", given.display()));
            let size = fs::metadata(given).map_err(|e| unreadable(&e.to_string()))?.len();
            if size < FILE_BYTES_MIN {
                let least = Size(FILE_BYTES_MIN);
                let message =
                    format!("--file must have at least {least}: a smaller download ends before a source is killed");
                return Err(Failure::usage(message));
            }
            let name = given.file_name().and_then(|name| name.to_str()).ok_or_else(|| unreadable("no UTF-8 name"))?;
            (name.to_owned(), given.to_owned())
        }
    };
    if given.is_none() {
        write_random(&path, FILE_BYTES).map_err(|e| failed("write the file of the demo", &e))?;
    }
    let (root, size) = plain_hash(&path).map_err(|e| failed("hash the file", &e))?;
    stage.say(&format!("the file: {name}, {}, b3sum {:.16}…", Size(size), root.to_string()));
    Ok(Treasure { path, name, size, root })
}

/// The hash that `b3sum` computes, without the code of downloads.
fn plain_hash(path: &Path) -> io::Result<(Root, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((Root(*hasher.finalize().as_bytes()), hasher.count()))
}

// ---- the network --------------------------------------------------------------------------------

fn set_up(stage: &mut Stage, treasure: &Treasure) -> Result<Network, Failure> {
    for (name, _) in PEERS {
        let share = stage.folder.join(name);
        fs::create_dir(&share).map_err(|e| failed("make a share", &e))?;
        if HOLDERS.contains(&name) {
            fs::copy(&treasure.path, share.join(&treasure.name)).map_err(|e| failed("fill a share", &e))?;
        }
    }
    let letter = stage.folder.join("emil").join("letter.txt");
    fs::write(letter, "This file is not downloaded.\n").map_err(|e| failed("fill a share", &e))?;
    let (subnet, supers) = raise_supers(stage)?;
    for (i, (name, at)) in PEERS.into_iter().enumerate() {
        let host = subnet.host(11 + u8::try_from(i).unwrap_or(0));
        let share = stage.folder.join(name).display().to_string();
        let socket = stage.children.socket(name).display().to_string();
        let listen = format!("{host}:0");
        let super_peer = supers[at].listen.to_string();
        let mut args =
            vec!["peer", "--super", &super_peer, "--share", &share, "--listen", &listen, "--control", &socket];
        if name == LOADER {
            args.extend(["--http", &listen]);
        }
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        stage.children.start(name, &args)?;
    }
    let mut peers = Vec::new();
    for (name, at) in PEERS {
        let peer = stage.children.ready(name)?;
        stage.say(&format!("peer {name:<5} {:<21} at super peer {}", peer.listen.to_string(), SUPERS[at]));
        if name == LOADER {
            say_page(stage, &peer);
        }
        peers.push(peer);
    }
    let host = subnet.host(LIAR_HOST);
    let liar = Liar::start(supers[2].listen, host, &treasure.path, &treasure.name, treasure.root)
        .map_err(|e| failed("start the liar", &e))?;
    stage.say(&format!(
        "peer liar  {:<21} at super peer {}: sends one wrong bit in each piece",
        liar.addr.to_string(),
        SUPERS[2]
    ));
    Ok(Network { supers, peers, liar })
}

fn say_page(stage: &Stage, daemon: &Daemon) {
    if let Some(page) = &daemon.page {
        stage.say(&format!("the page about {}: http://{page}/", daemon.name));
    }
}

fn raise_supers(stage: &mut Stage) -> Result<(Subnet, Vec<Daemon>), Failure> {
    let mut draws = 0;
    loop {
        draws += 1;
        let subnet = Subnet::draw(OsEntropy.next_u64());
        match try_raise_supers(stage, subnet) {
            Ok(supers) => {
                let ring: Vec<String> = supers.iter().map(|one| format!("{} {}", one.name, one.listen)).collect();
                stage.say(&format!("super peers in a ring: {}", ring.join(" - ")));
                say_page(stage, &supers[0]);
                return Ok((subnet, supers));
            }
            Err(failure) if failure.exit == Exit::Unreachable && draws < DRAWS_MAX => stage.children.end(),
            Err(failure) => return Err(failure),
        }
    }
}

fn try_raise_supers(stage: &mut Stage, subnet: Subnet) -> Result<Vec<Daemon>, Failure> {
    let addrs = subnet.free_ports(&[1, 2, 3, 4]).map_err(|e| failed("find free ports", &e))?;
    for (i, name) in SUPERS.into_iter().enumerate() {
        let next = addrs[(i + 1) % addrs.len()].to_string();
        let last = addrs[(i + addrs.len() - 1) % addrs.len()].to_string();
        let listen = addrs[i].to_string();
        let page = format!("{}:0", addrs[i].ip());
        let args = ["super", "--listen", &listen, "--neighbor", &next, "--neighbor", &last, "--http", &page];
        stage.children.start(name, &args.map(str::to_owned))?;
    }
    SUPERS.into_iter().map(|name| stage.children.ready(name)).collect()
}

// ---- searching ----------------------------------------------------------------------------------

fn sources(answer: &Answer) -> Vec<String> {
    let mut sources: Vec<String> =
        answer.of("hit").filter_map(|hit| hit["source"].as_str()).map(str::to_owned).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn names(network: &Network, answer: &Answer) -> String {
    let mut names: Vec<&str> =
        answer.of("hit").filter_map(|hit| hit["source"].as_str()).map(|source| network.who(source)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

fn search(stage: &mut Stage, network: &Network, treasure: &Treasure) -> Result<(), Failure> {
    let north = network.supers[0].listen.to_string();
    let name = treasure.name.as_str();
    let ask = |stage: &Stage, args: &[&str], wanted: &dyn Fn(&Answer) -> bool| {
        stage.ask_until(&[&["query", "--super", &north], args].concat(), wanted)
    };

    let answer = ask(stage, &[NOBODY_HAS], &|answer| {
        answer.done()["complete"] == true && answer.done()["reached"] == SUPERS.len()
    })?;
    let done = answer.done();
    let took = Duration::from_millis(done["elapsed_ms"].as_u64().unwrap_or(u64::MAX));
    stage.say(&format!("asked north for a name that no peer has: \"{NOBODY_HAS}\""));
    let reached = done["reached"].as_u64().unwrap_or(0);
    stage.check(
        answer.code == i32::from(Exit::NotFound.code()) && done["complete"] == true,
        &format!("not found: {reached} super peers searched, complete: {}, exit {}", done["complete"], answer.code),
    );
    stage
        .check(took < QUERY_BUDGET / 2, &format!("the answer came after {}, long before the budget ended", Span(took)));

    let early = [network.address("ben"), network.address("carl"), network.liar.addr.to_string()];
    ask(stage, &[name], &|answer| early.iter().all(|source| sources(answer).contains(source)))?;
    let one_hop = ask(stage, &["--ttl", "1", name], &|_| true)?;
    stage.say(&format!("asked north with --ttl 1: {} (one hop away)", names(network, &one_hop)));
    stage.check(one_hop.done()["complete"] == false, "the answer says that it is not complete");

    drop_late(stage, treasure)?;
    let dropped = Instant::now();
    let late = network.address(LATE);
    let found = ask(stage, &[name], &|answer| sources(answer).contains(&late))?;
    stage.say(&format!("asked north again: {}", names(network, &found)));
    stage.check(
        sources(&found).contains(&late) && !sources(&one_hop).contains(&late),
        &format!("{LATE}, two hops away, was found after {}", Span(dropped.elapsed())),
    );
    let roots = found.of("hit").all(|hit| hit["root"] == treasure.root.to_string());
    stage.check(roots && sources(&found).len() == 4, "four sources of one content");
    stage.check(
        found.done()["complete"] == true,
        "complete, although the ring carried the query to one super peer twice",
    );
    Ok(())
}

/// Moves the file into a share with a rename.
fn drop_late(stage: &Stage, treasure: &Treasure) -> Result<(), Failure> {
    let aside = stage.folder.join("aside");
    fs::copy(&treasure.path, &aside)
        .and_then(|_| fs::rename(&aside, stage.folder.join(LATE).join(&treasure.name)))
        .map_err(|e| failed("drop the file", &e))?;
    stage.say(&format!("{LATE} gets the file into its share"));
    Ok(())
}

// ---- downloading --------------------------------------------------------------------------------

/// Figures of the download while it runs.
#[derive(Default)]
struct Seen {
    pieces: u64,
    of_victim: u64,
    killed_at: Option<u64>,
    lines: Vec<String>,
}

fn download(stage: &mut Stage, network: &Network, treasure: &Treasure) -> Result<Option<PathBuf>, Failure> {
    let socket = stage.children.socket(LOADER).display().to_string();
    stage.say(&format!("{LOADER} downloads it; {VICTIM} will be killed after it has sent {VICTIM_PIECES} pieces"));
    let victim = network.peer(VICTIM);
    let victim_source = victim.listen.to_string();
    let victim_pid = victim.pid;
    let mut seen = Seen::default();
    let begun = stage.begun;
    let answer = stage.children.ask_live(&["get", &treasure.name, "--control", &socket], |event| {
        watch(event, network, &mut seen, begun);
        if event["event"] == "piece" && event["source"] == victim_source {
            seen.of_victim += 1;
        }
        if seen.killed_at.is_none() && seen.of_victim >= VICTIM_PIECES {
            signal(victim_pid, Signal::KILL);
            seen.killed_at = Some(seen.pieces);
            let at = begun.elapsed().as_secs_f64();
            out(&format!("[{at:>5.2} s]   kill -9 {VICTIM} after {}", count(seen.pieces, "piece")));
        }
    })?;
    stage.children.kill(VICTIM);
    let done = answer.done();
    let took = Duration::from_millis(done["elapsed_ms"].as_u64().unwrap_or(0));
    let rate = treasure.size * 1000 / u64::try_from(took.as_millis()).unwrap_or(1).max(1);
    stage.say(&format!("done: {} in {}, {}/s", Size(treasure.size), Span(took), Size(rate)));
    let reports: Vec<SourceReport> = serde_json::from_value(done["sources"].clone()).unwrap_or_default();
    out(&indented(&named_table(network, &reports)));
    if answer.code != 0 {
        out(&format!("          error: {}", done["error"].as_str().unwrap_or("nothing")));
    }
    stage.check(answer.code == 0 && done["root"] == treasure.root.to_string(), "the download succeeded");
    let of = |name: &str| reports.iter().find(|report| network.who(&report.source.to_string()) == name);
    stage.check(reports.len() == 4, "four sources were in use");
    let total = treasure.size.div_ceil(1 << 20);
    stage.check(
        seen.killed_at.is_some_and(|pieces| pieces < total) && of(VICTIM).is_some_and(|report| report.pieces > 0),
        &format!("{VICTIM} was killed during the download, and the others took over"),
    );
    let lies = network.liar.lies.load(Ordering::Relaxed);
    let dropped = of("liar").is_some_and(|report| report.bad > 0 && report.pieces == 0);
    stage.check(dropped, &format!("the liar was dropped after {}", count(lies, "wrong piece")));
    Ok(done["path"].as_str().map(PathBuf::from))
}

fn watch(event: &Value, network: &Network, seen: &mut Seen, begun: Instant) {
    let at = begun.elapsed().as_secs_f64();
    match event["event"].as_str() {
        Some("piece") => seen.pieces += 1,
        Some("source") => {
            let (source, state) = (event["source"].as_str().unwrap_or("?"), event["state"].as_str().unwrap_or("?"));
            let why = event["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let line = format!("  {:<5} {state}{why}", network.who(source));
            if seen.lines.last() != Some(&line) {
                out(&format!("[{at:>5.2} s] {line}"));
                seen.lines.push(line);
            }
        }
        Some("progress") => {
            let (bytes, size) = (event["bytes"].as_u64().unwrap_or(0), event["size"].as_u64().unwrap_or(1));
            out(&format!("[{at:>5.2} s]   {} of {}", Size(bytes), Size(size)));
        }
        _ => {}
    }
}

fn named_table(network: &Network, reports: &[SourceReport]) -> String {
    let plain = source_table(reports, None);
    let mut lines = plain.lines();
    let mut text = format!("who    {}\n", lines.next().unwrap_or_default());
    for (line, report) in lines.zip(reports) {
        text.push_str(&format!("{:<5}  {line}\n", network.who(&report.source.to_string())));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}

// ---- proving ------------------------------------------------------------------------------------

fn prove(stage: &mut Stage, network: &Network, treasure: &Treasure, published: Option<&Path>) -> Result<(), Failure> {
    let path = published.map_or_else(|| stage.folder.join(LOADER).join(&treasure.name), Path::to_owned);
    let hashed = plain_hash(&path).map(|(root, _)| root);
    out(&format!("          root   {}", treasure.root));
    let b3sum = hashed.as_ref().map_or_else(ToString::to_string, ToString::to_string);
    out(&format!("          b3sum  {b3sum}"));
    stage.check(hashed.is_ok_and(|root| root == treasure.root), "the downloaded file has the root of the original");
    let west = network.supers[3].listen.to_string();
    let loader = network.address(LOADER);
    let answer = stage.ask_until(&["query", &treasure.root.to_string(), "--super", &west], |answer| {
        sources(answer).contains(&loader)
    })?;
    stage.say(&format!("asked west for the root: {}", names(network, &answer)));
    stage.check(sources(&answer).contains(&loader), &format!("{LOADER} is a source now"));
    stage.check(
        !sources(&answer).contains(&network.address(VICTIM)),
        &format!("the files of {VICTIM} are no longer found"),
    );
    Ok(())
}

// ---- a fleet ------------------------------------------------------------------------------------

/// Several peers fetch one content at the same time and serve it to each other.
fn fleet(stage: &mut Stage, network: &Network) -> Result<(), Failure> {
    let aside = stage.folder.join("aside");
    write_random(&aside, FLEET_BYTES)
        .and_then(|()| fs::rename(&aside, stage.folder.join(SEED).join(FLEET_NAME)))
        .map_err(|e| failed("drop the file", &e))?;
    let north = network.supers[0].listen.to_string();
    let seed = network.address(SEED);
    stage.ask_until(&["query", FLEET_NAME, "--super", &north], |answer| sources(answer).contains(&seed))?;
    let before = sent_by(stage, SEED)?;
    stage.say(&format!(
        "{} fetch {FLEET_NAME}, {}, at the same time; only {SEED} has it",
        FLEET.join(", "),
        Size(FLEET_BYTES)
    ));
    let children = &stage.children;
    let answers: Vec<Result<Answer, Failure>> = thread::scope(|scope| {
        let fetch = |name| {
            let socket = children.socket(name).display().to_string();
            scope.spawn(move || children.ask(&["get", FLEET_NAME, "--control", &socket]))
        };
        let running = FLEET.map(fetch);
        running.into_iter().map(|one| one.join().expect("a command does not panic")).collect()
    });
    let mut fetched = 0;
    for (name, answer) in FLEET.iter().zip(answers) {
        let answer = answer?;
        let reports: Vec<SourceReport> = serde_json::from_value(answer.done()["sources"].clone()).unwrap_or_default();
        let pieces = |is_seed: bool| {
            let of = reports.iter().filter(|report| (report.source.to_string() == seed) == is_seed);
            of.map(|report| u64::from(report.pieces)).sum::<u64>()
        };
        out(&format!(
            "          {name:<5} {} from {SEED}, {} from the others",
            count(pieces(true), "piece"),
            count(pieces(false), "piece")
        ));
        fetched += u64::from(answer.code == 0);
    }
    let sent = sent_by(stage, SEED)?.saturating_sub(before);
    let copies = FLEET.len() as u64;
    stage.check(fetched == copies, &format!("all {copies} have it"));
    stage.check(
        sent < copies * FLEET_BYTES,
        &format!(
            "they served each other: {SEED} sent {}, and {copies} copies are {}",
            Size(sent),
            Size(copies * FLEET_BYTES)
        ),
    );
    Ok(())
}

/// Bytes of chunks that a peer has sent.
fn sent_by(stage: &Stage, name: &str) -> Result<u64, Failure> {
    let socket = stage.children.socket(name).display().to_string();
    let answer = stage.children.ask(&["status", "--control", &socket])?;
    Ok(answer.of("status").filter_map(|status| status["peer"]["bytes_sent"].as_u64()).sum())
}

fn memory(stage: &Stage, network: &Network) {
    let rows = network.supers.iter().chain(&network.peers).map(|daemon| {
        let resident =
            Sample::of(daemon.pid).map_or("gone".to_owned(), |sample| Size(sample.rss_kib * 1024).to_string());
        vec![daemon.name.to_owned(), daemon.pid.to_string(), resident]
    });
    stage.say("memory of each process");
    out(&indented(&table(&["who", "pid", "resident"], &[false, true, true], rows)));
}

fn stay(stage: &Stage, network: &Network, treasure: &Treasure, interrupted: &AtomicBool) {
    let program = stage.children.program().display();
    let north = network.supers[0].listen;
    let socket = stage.children.socket(LOADER);
    let socket = socket.display();
    let name = &treasure.name;
    out("\nThe network stays up until Ctrl-C. Try:");
    for line in [
        format!("{program} query '*' --super {north}"),
        format!("{program} get {name} --super {north} -o /tmp/{name}"),
        format!("{program} list --control {socket}"),
        format!("{program} status --super {north}"),
        format!("xdg-open http://{}/", network.supers[0].page.as_deref().unwrap_or_default()),
        format!("{program} peer --super {north} --share . --listen {}:0 --name visitor --prompt", north.ip()),
    ] {
        out(&format!("  {line}"));
    }
    while !interrupted.load(Ordering::Relaxed) {
        thread::sleep(LOOK_AGAIN * 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_loopback_and_not_the_usual_one() {
        for random in [0, 1, u64::MAX, 0x7f00] {
            let host = Subnet::draw(random).host(1).to_string();
            assert!(host.starts_with("127.") && !host.starts_with("127.0."), "{host}");
        }
    }
}
