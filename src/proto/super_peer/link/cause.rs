//! The reason why a link is not up, in words for the log and for INFO. It only reads.

use std::net::SocketAddr;

use super::neighbor::{Failure, Hint, Link, State};
use crate::config::{INFO_LINK_WHY_BYTES_MAX, LINK_RETRY, LINK_TROUBLE_AFTER};
use crate::proto::{Unanswered, Undelivered};
use crate::time::Time;

/// The likely cause, without the name of the neighbor; none for a link that is up. `alike` is an
/// address that sends HELLOs and that may be an address of the neighbor.
pub(super) fn cause(link: &Link, alike: Option<SocketAddr>, now: Time) -> Option<String> {
    let mut text = match link.state {
        State::Up => return None,
        State::Removed => "it is no neighbor any more".to_owned(),
        State::Itself => "it is this super peer itself".to_owned(),
        State::Twin(_) => "it is the same super peer as another neighbor, whose link is used".to_owned(),
        State::Half => half(link),
        State::Down if link.name_taken => {
            "a super peer there uses the node id of this one; give each a state folder of its own".to_owned()
        }
        State::Down if link.addrs.is_empty() => unresolved(link),
        State::Down => silent(link, alike, now),
    };
    if text.len() > INFO_LINK_WHY_BYTES_MAX {
        text.truncate(text.floor_char_boundary(INFO_LINK_WHY_BYTES_MAX));
    }
    Some(text)
}

fn half(link: &Link) -> String {
    let at = link.at.map(|at| format!(" from {at}")).unwrap_or_default();
    format!(
        "it is heard{at} and does not hear this super peer: a firewall drops UDP in that direction, or it names \
         another address of this super peer"
    )
}

fn unresolved(link: &Link) -> String {
    match link.lookup.failed() {
        Some(why) => format!("its name does not resolve: {why}"),
        None if link.is_shadowed => "another neighbor has all of its addresses".to_owned(),
        None => "its name is being resolved".to_owned(),
    }
}

/// Why a greeting of another super peer gets no answer.
pub(super) fn unanswered(from: SocketAddr, why: Unanswered) -> String {
    match why {
        Unanswered::Open => {
            format!("{from} greets in open mode, and this super peer is in login mode; both must be in one mode")
        }
        Unanswered::Login => {
            format!("{from} greets in login mode, and this super peer is open; both must be in one mode")
        }
        Unanswered::OtherKey => format!(
            "{from} greets another key than that of this super peer; its --neighbor must name the key that `sprat id` \
             prints here"
        ),
        Unanswered::Stranger(key) => format!("{from} has the key {key}, which no --neighbor names"),
        Unanswered::Counter(key) => format!(
            "{from} greets with a counter that the key {key} has used before: two super peers run with that key, or \
             somebody repeats its datagrams"
        ),
    }
}

fn silent(link: &Link, alike: Option<SocketAddr>, now: Time) -> String {
    if let Some(Hint { from, why, .. }) = link.hint.filter(|hint| hint.at + LINK_TROUBLE_AFTER > now) {
        let rest = match why {
            Unanswered::Stranger(key) => format!("; if it is this neighbor, name --neighbor {key}@{}", link.name),
            Unanswered::Open | Unanswered::Login | Unanswered::OtherKey | Unanswered::Counter(_) => String::new(),
        };
        return unanswered(from, why) + &rest;
    }
    if let Some(Failure { to, why, .. }) = link.failure.as_ref().filter(|failure| failure.at + LINK_RETRY * 3 > now) {
        return match why {
            Undelivered::Refused => format!("nothing listens at {to} (UDP): it does not run, or has another port"),
            Undelivered::Failed(why) => format!("{to} cannot be reached: {why}"),
        };
    }
    let list: Vec<String> = link.addrs.iter().map(ToString::to_string).collect();
    let list = list.join(" and ");
    match alike {
        Some(alike) => format!(
            "no answer from {list}, but {alike} greets this super peer; if that is the same one, add --neighbor {alike}"
        ),
        None if link.key.is_some() => format!(
            "no answer from {list}: it does not run, a firewall drops UDP, it has another key than --neighbor names, \
             or no --neighbor there names the key of this super peer"
        ),
        None => format!(
            "no answer from {list}: it does not run, a firewall drops UDP, or no --neighbor there names this super peer"
        ),
    }
}
