//! Why a link is not up, in words for the log and for INFO. It only reads.

use std::net::SocketAddr;

use super::neighbor::{Failure, Link, State};
use crate::config::{INFO_LINK_WHY_BYTES_MAX, LINK_RETRY};
use crate::proto::Undelivered;
use crate::time::Time;

/// The likely cause, without the name of the neighbor; none for a link that is up. `alike` is an
/// address that greets us and may be that of the neighbor.
pub(super) fn cause(link: &Link, alike: Option<SocketAddr>, now: Time) -> Option<String> {
    let mut text = match link.state {
        State::Up => return None,
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

fn silent(link: &Link, alike: Option<SocketAddr>, now: Time) -> String {
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
        None => format!(
            "no answer from {list}: it does not run, a firewall drops UDP, or no --neighbor there names this super peer"
        ),
    }
}
