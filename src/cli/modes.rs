//! The mode of a node, which follows from its options, its state and its address.

use std::net::{IpAddr, SocketAddr};

use crate::error::Failure;

/// How the nodes of a network prove their identity. A node has one mode, and refuses nodes in the
/// other mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Plain TCP and unsealed datagrams. The id of a node is only a claim.
    Open,
    /// TLS 1.3 on every connection, and sealed links. Keys are proven, and credentials are checked.
    Login,
}

/// The mode of a super peer. `open` is its option. `knows` says whether it has users, operators or
/// keys of neighbors.
///
/// # Errors
/// Exit 2 if other hosts could connect and nothing says who may do so.
pub(crate) fn of_super_peer(open: bool, knows: bool, listen: SocketAddr) -> Result<Mode, Failure> {
    if open {
        if !is_loopback(listen) {
            log::warn!(
                "this super peer is open: everyone who can reach {listen} can take part, and nothing is encrypted"
            );
        }
        return Ok(Mode::Open);
    }
    if knows {
        return Ok(Mode::Login);
    }
    if is_loopback(listen) {
        return Ok(Mode::Open);
    }
    Err(Failure::usage(format!(
        "other hosts can connect to {listen}, and this super peer has no users: invite one with `sprat user add NAME`, \
         or let everybody take part with --open (SPRAT_OPEN=1)"
    )))
}

fn is_loopback(listen: SocketAddr) -> bool {
    match listen.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_super_peer_is_never_open_to_others_by_accident() {
        let mode = |open, knows, listen: &str| of_super_peer(open, knows, listen.parse().unwrap());
        for listen in ["127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(mode(false, false, listen), Ok(Mode::Open), "{listen}");
            assert_eq!(mode(false, true, listen), Ok(Mode::Login), "{listen}");
            assert_eq!(mode(true, true, listen), Ok(Mode::Open), "{listen}");
        }
        for listen in ["[::]:5", "0.0.0.0:5", "192.0.2.1:5", "[2001:db8::1]:5", "[::ffff:192.0.2.1]:5"] {
            let failure = mode(false, false, listen).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("--open") && failure.message.contains("SPRAT_OPEN=1"), "{failure}");
            assert_eq!(mode(false, true, listen), Ok(Mode::Login), "{listen}");
            assert_eq!(mode(true, false, listen), Ok(Mode::Open), "{listen}");
        }
    }
}
