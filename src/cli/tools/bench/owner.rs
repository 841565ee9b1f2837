//! Finds the process that listens at an address, in `/proc`. Returns none if there is no `/proc`,
//! if the address belongs to another machine, or if this process may not inspect the other one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The state of a socket that listens (`TCP_LISTEN` of Linux).
const LISTEN: &str = "0A";

/// The process that listens at a TCP address.
pub(super) fn listening_at(addr: SocketAddr) -> Option<u32> {
    // A socket can only be bound to an address of this machine.
    UdpSocket::bind((addr.ip(), 0)).ok()?;
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let at_port = || {
        tables.iter().flat_map(|table| table.lines()).filter_map(listener).filter(|(at, _)| at.port() == addr.port())
    };
    let exactly = at_port().find(|(at, _)| at.ip().to_canonical() == addr.ip());
    let (_, inode) = exactly.or_else(|| at_port().find(|(at, _)| at.ip().is_unspecified()))?;
    owner(&format!("socket:[{inode}]"))
}

/// The address and the inode of a line of `/proc/net/tcp`, if that socket listens.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    (state == LISTEN).then_some((SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?), inode))
}

/// The kernel prints the address as 32-bit words in the byte order of this host. The address itself
/// is in network byte order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(1)?, word(2)?, word(3)?];
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into())
}

/// The first process that has this descriptor.
fn owner(descriptor: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.into_iter().find(|pid: &u32| {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == descriptor))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        for at in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(
                listening_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
                Some(std::process::id()),
                "{at}"
            );
        }
    }

    #[test]
    fn no_process_is_found_at_another_address_of_the_port_or_on_another_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for ip in [[127, 0, 0, 2], [192, 0, 2, 1]] {
            assert_eq!(listening_at(SocketAddr::new(Ipv4Addr::from(ip).into(), port)), None, "{ip:?}");
        }
    }

    #[test]
    fn lines_of_both_tables_are_read() {
        let v4 = "   0: 0100007F:3039 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0";
        let v6 = "   1: 0000000000000000FFFF00000100007F:12A9 00000000000000000000000000000000:0000 0A 00000000:00000000 \
                  00:00000000 00000000     0        0 77 1 0 100 0 0 10 0";
        let other = v4.replace(" 0A ", " 01 ");
        assert_eq!(listener(v4), Some(("127.0.0.1:12345".parse().unwrap(), 4242)));
        assert_eq!(
            listener(v6).map(|(at, inode)| (at.ip().to_canonical(), at.port(), inode)),
            Some(("127.0.0.1".parse().unwrap(), 4777, 77))
        );
        assert_eq!(listener(&other), None);
        assert_eq!(
            listener(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
            ),
            None
        );
    }
}
