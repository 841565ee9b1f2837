//! Which hosts stand for this node in a request for its page.
//!
//! The owner of another site can make its host name resolve to the address of this node (DNS
//! rebinding). A browser would then let that site read the page as its own. So a host name is
//! accepted only if the user has configured it. An address in Host is safe, because it belongs to
//! no other site.

use std::net::IpAddr;

use super::authority::Authority;
use super::head::Refusal;

/// Whether the value of Host is an address, `localhost`, or one of these names.
#[must_use]
pub fn is_own(host: &str, names: &[String]) -> bool {
    match Authority::read(host) {
        Some(Authority::Address) => true,
        Some(Authority::Name(name)) => {
            name.eq_ignore_ascii_case("localhost") || names.iter().any(|own| own.eq_ignore_ascii_case(name))
        }
        None => false,
    }
}

/// Why a request is not answered in login mode. A request from another host needs the token. A
/// request from this host needs the token or a Host that is a name or address of this node.
#[must_use]
pub fn refusal(from: IpAddr, has_token: bool, host: &str, names: &[String]) -> Option<Refusal> {
    match (has_token, from.is_loopback()) {
        (true, _) => None,
        (false, false) => Some(Refusal::Token),
        (false, true) => (!is_own(host, names)).then_some(Refusal::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_names_of_the_user_are_own() {
        let names = vec!["nas.example".to_owned()];
        for own in ["127.0.0.1", "127.0.0.1:4779", "[::1]:4779", "[::1]", "LOCALHOST:1", "192.0.2.1", "NAS.example:80"]
        {
            assert!(is_own(own, &names), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[x]",
            "127.0.0.1:x",
            "a:b:c",
            "127.0.0.1:99999",
        ] {
            assert!(!is_own(other, &names), "{other}");
        }
    }

    #[test]
    fn in_login_mode_other_hosts_need_the_token_and_this_one_its_own_name() {
        let ask = |from: &str, has_token, host| refusal(from.parse().unwrap(), has_token, host, &[]);
        assert_eq!(ask("192.0.2.7", false, "192.0.2.1:4778"), Some(Refusal::Token));
        assert_eq!(ask("192.0.2.7", true, "peer.example"), None);
        assert_eq!(ask("127.0.0.1", false, "127.0.0.1:4778"), None);
        assert_eq!(ask("::1", false, "localhost"), None);
        assert_eq!(ask("127.0.0.1", false, "rebound.example"), Some(Refusal::Host));
    }
}
