//! A text about the node that many clients may request at once. It is made at most once in a turn
//! and [`HTTP_TEXTS_PER_SECOND`] times in a second, so that a crowd of clients does not delay the
//! searches of others.

use std::rc::Rc;
use std::time::Duration;

use crate::config::HTTP_TEXTS_PER_SECOND;
use crate::time::Time;

/// The latest text.
#[derive(Debug, Default)]
pub(super) struct Kept {
    latest: Option<(Time, Rc<str>)>,
    /// When the present second began, and how many texts were made since then.
    second: Option<(Time, u32)>,
}

impl Kept {
    /// The text to send; none if a new one may be made.
    pub(super) fn text(&self, now: Time) -> Option<Rc<str>> {
        let (at, text) = self.latest.as_ref()?;
        let is_used_up = self.made(now).is_some_and(|made| made >= HTTP_TEXTS_PER_SECOND);
        (*at == now || is_used_up).then(|| text.clone())
    }

    /// Keeps a text that was just made.
    pub(super) fn keep(&mut self, text: String, now: Time) -> Rc<str> {
        self.second = match (self.second, self.made(now)) {
            (Some((since, made)), Some(_)) => Some((since, made + 1)),
            (_, _) => Some((now, 1)),
        };
        let text: Rc<str> = text.into();
        self.latest = Some((now, text.clone()));
        text
    }

    /// How many texts were made in the present second; none if the next text begins a second.
    fn made(&self, now: Time) -> Option<u32> {
        self.second.filter(|(since, _)| now.since(*since) < Duration::from_secs(1)).map(|(_, made)| made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_once_a_turn_and_some_times_a_second() {
        let (mut kept, mut made) = (Kept::default(), 0);
        let mut ask = |at_ms: u64| {
            let now = Time::ZERO + Duration::from_millis(at_ms);
            kept.text(now).unwrap_or_else(|| {
                made += 1;
                kept.keep(made.to_string(), now)
            })
        };
        assert_eq!((&*ask(5), &*ask(5), &*ask(6)), ("1", "1", "2"));
        let most = HTTP_TEXTS_PER_SECOND.to_string();
        let last = (7..1005).map(&mut ask).last().unwrap();
        assert_eq!(*last, *most, "the latest one");
        assert_eq!(*ask(1005), (HTTP_TEXTS_PER_SECOND + 1).to_string(), "the next second");
    }
}
