//! What options mean: defaults, bounds, and addresses resolved. The same for every command.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::units::Span;
use crate::config::{CONNECT_TIMEOUT, PING_INTERVAL, QUERY_BUDGET_MAX, SESSION_SILENCE_MAX};
use crate::error::{Exit, Failure};
use crate::wire::HostPort;

/// `--name` of a super peer.
pub(crate) const SUPER_NAME: &str = "super";
/// `--name` of a weak peer, and of the one that one-shot commands ask.
pub(crate) const PEER_NAME: &str = "peer";

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// `--budget`.
pub(crate) fn budget(Span(budget): Span) -> Result<Duration, Failure> {
    if budget < Duration::from_millis(1) || budget > QUERY_BUDGET_MAX {
        return Err(usage(format!("--budget is a time from 1ms to {}s", QUERY_BUDGET_MAX.as_secs())));
    }
    Ok(budget)
}

/// `--connect-timeout`.
pub(crate) fn connect_timeout(given: Option<Span>) -> Result<Duration, Failure> {
    match given {
        None => Ok(CONNECT_TIMEOUT),
        Some(Span(Duration::ZERO)) => Err(usage("--connect-timeout is a time above 0".into())),
        Some(Span(timeout)) => Ok(timeout),
    }
}

/// `--ping`: a session is closed after [`SESSION_SILENCE_MAX`] of silence, so that two pings may get lost.
pub(crate) fn ping(given: Option<Span>) -> Result<Duration, Failure> {
    let longest = SESSION_SILENCE_MAX / 3;
    match given {
        None => Ok(PING_INTERVAL),
        Some(Span(ping)) if ping < Duration::from_millis(100) || ping > longest => {
            Err(usage(format!("--ping is a time from 100ms to {}s", longest.as_secs())))
        }
        Some(Span(ping)) => Ok(ping),
    }
}

/// `--listen`, by default all IPv4 addresses: a host without IPv6 cannot bind [::].
pub(crate) fn listen(given: Option<&HostPort>, port: u16) -> Result<SocketAddr, Failure> {
    match given {
        None => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        Some(given) => resolve("--listen", given),
    }
}

/// The first address of a host.
pub(crate) fn resolve(flag: &str, host: &HostPort) -> Result<SocketAddr, Failure> {
    if let Some(addr) = host.literal() {
        return Ok(addr);
    }
    let failed = |why: String| Failure::new(Exit::Unreachable, format!("{flag} {host} cannot be resolved: {why}"));
    let mut found = (host.host(), host.port()).to_socket_addrs().map_err(|e| failed(e.to_string()))?;
    let first = found.next().ok_or_else(|| failed("the name has no address".into()))?;
    Ok(SocketAddr::new(first.ip().to_canonical(), first.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told_by_the_flag() {
        assert!(budget(Span(Duration::ZERO)).unwrap_err().message.contains("--budget"));
        assert!(budget(Span(QUERY_BUDGET_MAX)).is_ok());
        assert!(ping(Some(Span(Duration::from_secs(60)))).is_err());
        assert_eq!(ping(None), Ok(PING_INTERVAL));
        assert!(connect_timeout(Some(Span(Duration::ZERO))).is_err());
    }

    #[test]
    fn the_default_address_takes_all_of_ipv4() {
        assert_eq!(listen(None, 4777).unwrap().to_string(), "0.0.0.0:4777");
    }
}
