//! The lines below the answers of the prompt: what is missing, such as a super peer, and a bar for
//! each download. It only makes text.

use super::output::Bars;
use crate::cli::columns::cut;
use crate::cli::format::{count, percent};
use crate::cli::progress::{self, Bar};
use crate::cli::units::Size;
use crate::wire::HostPort;
use crate::wire::name::printable;

/// The super peers of this peer, as far as the prompt knows them.
#[derive(Debug, Default)]
pub(super) struct Supers {
    connected: Vec<HostPort>,
    /// The largest number of super peers that were connected at once.
    most: usize,
    /// The super peer that was lost last, and the reason. It is kept until as many are connected as
    /// before.
    lost: Option<(HostPort, String)>,
}

impl Supers {
    pub(super) fn welcomed(&mut self, super_peer: HostPort) {
        if !self.connected.contains(&super_peer) {
            self.connected.push(super_peer);
        }
        self.most = self.most.max(self.connected.len());
        self.lost.take_if(|_| self.connected.len() >= self.most);
    }

    pub(super) fn lost(&mut self, super_peer: HostPort, why: String) {
        self.connected.retain(|connected| *connected != super_peer);
        self.lost = Some((super_peer, why));
    }

    /// If no super peer is connected: why no search is possible.
    pub(super) fn absence(&self) -> Option<String> {
        let (lost, why) = self.lost.as_ref().filter(|_| self.connected.is_empty())?;
        Some(format!("no super peer is connected: {lost} was lost ({}), and is dialed again", printable(why)))
    }

    /// The line about a super peer that was lost.
    fn line(&self) -> Option<String> {
        let (lost, why) = self.lost.as_ref()?;
        let (left, most) = (self.connected.len(), self.most);
        let left = if left == 0 { "no super peer".to_owned() } else { format!("{left} of {most} super peers") };
        Some(format!("{left}: lost {lost} ({}), dialing again", printable(why)))
    }
}

/// The line about the hashing of the share; none if no file is left.
pub(super) fn hashing(files: u64, bytes: u64, size: u64) -> Option<String> {
    let done = percent(bytes, size);
    (files > 0).then(|| format!("hashing the share: {} left, {done} % of {}", count(files, "file"), Size(size)))
}

/// A function that makes all lines for the window in which they are drawn.
pub(super) fn lines(supers: &Supers, hashing: Option<String>, bars: Vec<Bar>) -> Bars {
    let notes: Vec<String> = supers.line().into_iter().chain(hashing).collect();
    Box::new(move |columns, rows| {
        let room = rows.saturating_sub(notes.len());
        let bars = progress::all(bars.iter(), columns, room);
        notes.iter().map(|note| cut(note, columns)).take(rows).chain(bars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_a_super_peer_is_shown_until_one_is_back() {
        let at = |port| HostPort::new("h", port).unwrap();
        let mut supers = Supers::default();
        assert_eq!((supers.absence(), supers.line()), (None, None), "it is dialed for the first time");
        supers.welcomed(at(1));
        supers.lost(at(1), "it closed\x1b[2J".into());
        assert!(supers.absence().unwrap().contains("h:1 was lost (it closed\\u{1b}[2J)"));
        assert!(lines(&supers, None, Vec::new())(20, 5)[0].starts_with("no super peer: lost"));
        supers.welcomed(at(2));
        assert_eq!((supers.absence(), supers.line()), (None, None));
        supers.welcomed(at(1));
        supers.lost(at(2), "why".into());
        assert!(supers.absence().is_none() && supers.line().unwrap().starts_with("1 of 2 super peers"));
        supers.welcomed(at(2));
        assert_eq!(supers.line(), None);
    }

    #[test]
    fn the_hashing_of_the_share_is_shown_while_files_are_left() {
        let line = hashing(12, 1 << 30, 4 << 30);
        assert_eq!(line.as_deref(), Some("hashing the share: 12 files left, 25 % of 4.0 GiB"));
        assert_eq!(hashing(0, 0, 0), None);
        let supers = Supers::default();
        assert_eq!(lines(&supers, line, vec![Bar::new("x")])(80, 5).len(), 2);
        assert_eq!(lines(&supers, hashing(1, 0, 1), vec![Bar::new("x")])(80, 1).len(), 1);
    }
}
