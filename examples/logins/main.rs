//! Many peers of a network with a login, in one process, to load a super peer.
//!
//! ```text
//! cargo run --release --features measure --example logins -- TASK
//!     operator                                     print the key that signs the credentials
//!     peers ADDR COUNT [DIALS]                     peers that stay, and return when they lose it;
//!                                                  at most DIALS (256) dials are under way
//!     visits ADDR PER_SECOND SECONDS               peers that log in and leave
//!     readers ADDR SESSIONS UNREAD PER_SECOND SECONDS
//!                                                  sessions of which some stop reading
//! ```
//!
//! The super peer at ADDR must run with `--operator` and the key. Each peer has a key and a
//! credential of its own, which are the same in each run. The peers dial from 250 loopback
//! addresses, so that the limits for one address apply to them as to peers of many hosts. Events
//! are printed as JSON, one object per line, with the wall clock in seconds.

mod members;
mod peers;
mod readers;
mod visits;

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use sprat::node::{Flow, Host, Node, Options};
use sprat::proto::{Event, Role};
use sprat::wire::HostPort;

use members::Members;

/// Loopback addresses from which the peers dial.
const SOURCES: u8 = 250;

const USAGE: &str = "usage: logins operator | peers ADDR COUNT [DIALS] | visits ADDR PER_SECOND SECONDS | \
                     readers ADDR SESSIONS UNREAD PER_SECOND SECONDS";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0).ok_or(USAGE);
    match args[..] {
        ["operator"] => {
            writeln!(io::stdout(), "{}", members::operator().public())?;
            Ok(())
        }
        ["peers", addr, count, ref dials @ ..] if dials.len() <= 1 => {
            let members = Members::new(number(count)?)?;
            let dials = dials.first().map_or(Ok(peers::DIALS), |dials| number(dials))?;
            let role = peers::Peers::new(&members, &addr.parse()?, dials);
            run(&members, role)
        }
        ["visits", addr, rate, seconds] => {
            let members = Members::new(visits::MEMBERS)?;
            let role = visits::Visits::new(members.all.clone(), at(addr)?, number(rate)?, number(seconds)?);
            run(&members, role)
        }
        ["readers", addr, sessions, unread, rate, seconds] => {
            let [sessions, unread] = [number(sessions)?, number(unread)?];
            if unread + 2 > sessions {
                return Err("SESSIONS must be at least UNREAD and two".into());
            }
            let members = Members::new(sessions)?;
            let plan = readers::Plan { target: at(addr)?, unread, rate: number(rate)?, seconds: number(seconds)? };
            let role = readers::Readers::new(members.all.clone(), plan);
            run(&members, role)
        }
        _ => Err(USAGE.into()),
    }
}

fn at(addr: &str) -> Result<HostPort, Box<dyn Error>> {
    Ok(HostPort::from(addr.parse::<std::net::SocketAddr>()?))
}

/// Runs the machine in the loop of a node, until it ends the process.
fn run(members: &Members, role: impl Role) -> Result<(), Box<dyn Error>> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let sources = (1..=SOURCES).map(|n| IpAddr::V4(Ipv4Addr::new(127, 20, 0, n))).collect();
    let options = Options { sources, tls: Some(members.tls.clone()), ..Options::default() };
    let node = Node::open(options).map_err(|failure| failure.message)?;
    node.run(role, &mut Silent).map_err(|failure| failure.message)?;
    Ok(())
}

/// The machines print what they have to report themselves.
struct Silent;

impl Host for Silent {
    fn on_event(&mut self, _: Event) -> Flow {
        Flow::Continue
    }
}

/// The wall clock, in seconds.
fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Prints an event.
fn say(event: &str, mut fields: Value) {
    fields["event"] = json!(event);
    fields["unix"] = json!(unix());
    let mut out = io::stdout().lock();
    // The program that reads the events may end first.
    if writeln!(out, "{fields}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// A histogram of microseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds that it accepts")
}

/// The figures of such a histogram, in milliseconds.
fn figures(times: &Histogram<u64>) -> Value {
    let ms = |us: u64| us as f64 / 1000.0;
    json!({
        "count": times.len(),
        "p50_ms": ms(times.value_at_quantile(0.5)),
        "p99_ms": ms(times.value_at_quantile(0.99)),
        "p999_ms": ms(times.value_at_quantile(0.999)),
        "max_ms": ms(times.max()),
    })
}
