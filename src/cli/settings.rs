//! The values of options: defaults, bounds and resolved addresses. They are the same for every
//! command.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use super::units::{Rate, Span};
use crate::config::{CONNECT_TIMEOUT, PING_INTERVAL, PING_INTERVAL_MIN, QUERY_BUDGET_MAX, SESSION_SILENCE_MAX};
use crate::error::{Exit, Failure};
use crate::proto::RateLimits;
use crate::trust::Pin;
use crate::wire::HostPort;

/// The name of this program in HELLO.
pub(crate) const AGENT: &str = concat!("sprat/", env!("CARGO_PKG_VERSION"));
/// A look-up in the environment.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;
/// `--name` of a super peer.
pub(crate) const SUPER_NAME: &str = "super";
/// `--name` of a weak peer, and of the peer that one-shot commands ask.
pub(crate) const PEER_NAME: &str = "peer";

/// `--budget`.
pub(crate) fn budget(Span(budget): Span) -> Result<Duration, Failure> {
    if budget < Duration::from_millis(1) || budget > QUERY_BUDGET_MAX {
        return Err(Failure::usage(format!("--budget is a time from 1ms to {}s", QUERY_BUDGET_MAX.as_secs())));
    }
    Ok(budget)
}

/// `--connect-timeout`.
pub(crate) fn connect_timeout(given: Option<Span>) -> Result<Duration, Failure> {
    match given {
        None => Ok(CONNECT_TIMEOUT),
        Some(Span(Duration::ZERO)) => Err(Failure::usage("--connect-timeout must be above 0")),
        Some(Span(timeout)) => Ok(timeout),
    }
}

/// `--timeout` of a download in milliseconds; 0 means no timeout.
pub(crate) fn timeout_ms(Span(timeout): Span) -> u64 {
    let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    ms.max(u64::from(!timeout.is_zero()))
}

/// `--ping`. A session is closed after three times this interval without a message, and after at
/// most [`SESSION_SILENCE_MAX`].
pub(crate) fn ping(given: Option<Span>) -> Result<Duration, Failure> {
    let longest = SESSION_SILENCE_MAX / 3;
    match given {
        None => Ok(PING_INTERVAL),
        // A peer sends PING at most once a second (PROTOCOL.md 4.2, Silence).
        Some(Span(ping)) if ping < PING_INTERVAL_MIN || ping > longest => Err(Failure::usage(format!(
            "--ping is a time from {}s to {}s",
            PING_INTERVAL_MIN.as_secs(),
            longest.as_secs()
        ))),
        Some(Span(ping)) => Ok(ping),
    }
}

/// `--listen`. The default is all addresses of both IP versions. On a host without IPv6, which
/// cannot bind [::], it is all addresses of IPv4.
pub(crate) fn listen(given: Option<&HostPort>, port: u16) -> Result<SocketAddr, Failure> {
    match given {
        None if has_ipv6() => Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        None => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        Some(given) => {
            scoped("--listen", [given])?;
            resolve("--listen", given)
        }
    }
}

/// `--http`: the address of the page, and the host names with which it may be requested. In login
/// mode, other hosts need the token of this run.
pub(crate) fn page(given: Option<&HostPort>, login: bool) -> Result<(Option<SocketAddr>, Vec<String>), Failure> {
    let Some(given) = given else { return Ok((None, Vec::new())) };
    checked_page(Some(given))?;
    let addr = resolve("--http", given)?;
    if !addr.ip().is_loopback() && !login {
        log::warn!(
            "the page at {addr} is open to everyone who can connect to it; --http 127.0.0.1 keeps it to this host"
        );
    }
    let names = if given.literal().is_none() { vec![given.host().to_owned()] } else { Vec::new() };
    Ok((Some(addr), names))
}

/// Checks `--http`, and resolves nothing.
pub(crate) fn checked_page(given: Option<&HostPort>) -> Result<(), Failure> {
    scoped("--http", given)
}

/// Whether this host has IPv6, at least on its loopback interface.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// `--neighbor`. The running super peer resolves names, and resolves them again while a link is
/// down. A socket that is bound to `listen` must be able to send to a given address.
pub(crate) fn neighbors(given: &[Pin], listen: SocketAddr) -> Result<Vec<Pin>, Failure> {
    dialed("--neighbor", given.iter().map(|pin| &pin.at))?;
    let unreachable = |given: &&Pin| given.at.literal().is_some_and(|addr| !reaches(listen, addr));
    match given.iter().find(unreachable) {
        Some(given) => {
            let (theirs, ours) = if listen.is_ipv4() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
            Err(Failure::usage(format!(
                "--neighbor {given} is {theirs} only and --listen {listen} {ours} only; listen on [::] for both"
            )))
        }
        None => Ok(given.to_vec()),
    }
}

/// Whether a socket that is bound to this address can send datagrams to that one.
fn reaches(listen: SocketAddr, to: SocketAddr) -> bool {
    let both = listen.is_ipv6() && listen.ip().is_unspecified();
    both || listen.is_ipv4() == to.is_ipv4()
}

/// Checks that addresses to dial have a port, and that link-local ones have their interface.
pub(crate) fn dialed<'a>(flag: &str, hosts: impl IntoIterator<Item = &'a HostPort> + Clone) -> Result<(), Failure> {
    match hosts.clone().into_iter().find(|host| host.port() == 0) {
        Some(host) => {
            Err(Failure::usage(format!("{flag} {host} has port 0, at which nothing can answer; write HOST:PORT")))
        }
        None => scoped(flag, hosts),
    }
}

/// A link-local address is only valid together with an interface.
fn scoped<'a>(flag: &str, hosts: impl IntoIterator<Item = &'a HostPort>) -> Result<(), Failure> {
    match hosts.into_iter().find(|host| host.lacks_scope()) {
        Some(host) => Err(Failure::usage(format!(
            "{flag} {host} is a link-local address, which needs its interface; write [{}%eth0]:{}, with the \
             interface of this machine in place of eth0",
            host.host(),
            host.port()
        ))),
        None => Ok(()),
    }
}

/// The first address of a host.
pub(crate) fn resolve(flag: &str, host: &HostPort) -> Result<SocketAddr, Failure> {
    addresses(flag, host).map(|addrs| addrs[0])
}

/// The addresses of a host, at least one.
fn addresses(flag: &str, host: &HostPort) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(addr) = host.literal() {
        return Ok(vec![addr]);
    }
    let failed = |why: String| Failure::new(Exit::Unreachable, format!("{flag} {host} cannot be resolved: {why}"));
    let found = (host.host(), host.port()).to_socket_addrs().map_err(|e| failed(e.to_string()))?;
    let found: Vec<_> = found.map(canonical).collect();
    if found.is_empty() { Err(failed("the name has no address".into())) } else { Ok(found) }
}

/// The address. If it is an IPv4 address in its mapped form, its plain form.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// The limits that the options set; none if no option sets one.
pub(crate) fn limits(upload: Option<Rate>, download: Option<Rate>) -> RateLimits {
    let rate = |limit: Option<Rate>| limit.map_or(0, |Rate(rate)| rate);
    RateLimits { upload: rate(upload), download: rate(download) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_flag() {
        assert!(budget(Span(Duration::ZERO)).unwrap_err().message.contains("--budget"));
        assert!(budget(Span(QUERY_BUDGET_MAX)).is_ok());
        assert!(ping(Some(Span(Duration::from_secs(60)))).is_err());
        assert!(ping(Some(Span(PING_INTERVAL_MIN))).is_ok());
        assert!(ping(Some(Span(PING_INTERVAL_MIN / 2))).is_err(), "no peer can be heard so often");
        assert_eq!(ping(None), Ok(PING_INTERVAL));
        assert!(connect_timeout(Some(Span(Duration::ZERO))).is_err());
    }

    #[test]
    fn a_neighbor_must_be_of_a_family_that_the_socket_speaks() {
        let neighbor = |given: &str, listen: &str| neighbors(&[given.parse().unwrap()], listen.parse().unwrap());
        assert!(neighbor("127.0.0.1:1", "0.0.0.0:4777").is_ok());
        assert!(neighbor("127.0.0.1:1", "[::]:4777").is_ok());
        assert!(neighbor("[::1]:1", "[::1]:4777").is_ok());
        assert!(neighbor("a-name.invalid:1", "127.0.0.1:4777").is_ok(), "it is resolved later");
        for (given, listen) in [("[::1]:1", "127.0.0.1:4777"), ("127.0.0.1:1", "[::1]:4777")] {
            let failure = neighbor(given, listen).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(given) && failure.message.contains("[::]"), "{}", failure.message);
        }
    }

    #[test]
    fn the_default_address_takes_both_families_where_there_are_both() {
        let expected = if has_ipv6() { "[::]:4777" } else { "0.0.0.0:4777" };
        assert_eq!(listen(None, 4777).unwrap().to_string(), expected);
    }
}
