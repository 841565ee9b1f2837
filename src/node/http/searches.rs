//! The latest answers to the queries of sessions, as the page of a super peer shows them. It keeps
//! only figures, so that a viewer does not learn what others search for.

use std::collections::VecDeque;

use serde::Serialize;

use crate::config::HTTP_ANSWERS_KEPT;
use crate::proto::Event;

/// The latest answers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Searches {
    kept: VecDeque<Answered>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Answered {
    hits: u32,
    reached: u32,
    complete: bool,
    ms: u32,
}

/// The field `searches` of a snapshot.
#[derive(Debug, Serialize)]
pub(super) struct Searched<'a> {
    answers: usize,
    complete: usize,
    ms_p50: Option<u32>,
    ms_p99: Option<u32>,
    last: &'a VecDeque<Answered>,
}

impl Searches {
    /// Keeps the answer, if the event is an answer.
    pub(super) fn note(&mut self, event: &Event) {
        let Event::Answered { hits, reached, cut, ms, .. } = event else { return };
        if self.kept.len() == HTTP_ANSWERS_KEPT {
            self.kept.pop_front();
        }
        let (hits, reached, complete, ms) = (*hits, *reached, cut.is_none(), *ms);
        self.kept.push_back(Answered { hits, reached, complete, ms });
    }

    /// The answers, and the median and 99th percentile of their times in milliseconds.
    pub(super) fn shown(&self) -> Searched<'_> {
        let mut times: Vec<u32> = self.kept.iter().map(|answer| answer.ms).collect();
        times.sort_unstable();
        let quantile = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Searched {
            answers: times.len(),
            complete: self.kept.iter().filter(|answer| answer.complete).count(),
            ms_p50: quantile(50),
            ms_p99: quantile(99),
            last: &self.kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ConnId;
    use crate::wire::Cut;

    #[test]
    fn quantiles_are_those_of_the_answers_that_are_kept() {
        let mut searches = Searches::default();
        assert_eq!(searches.shown().ms_p50, None);
        for ms in 0..=u32::try_from(HTTP_ANSWERS_KEPT).unwrap() {
            let cut = if ms % 2 == 0 { Cut::NONE } else { Cut { ttl: 1, ..Cut::NONE } };
            let (session, req, hits, reached) = (ConnId { index: 0, generation: 0 }, 1, 2, 3);
            searches.note(&Event::Answered { session, req, hits, reached, cut, ms });
        }
        let shown = searches.shown();
        let kept = HTTP_ANSWERS_KEPT;
        assert_eq!((shown.answers, shown.complete), (kept, kept / 2));
        let ms = |at: usize| u32::try_from(at).ok();
        assert_eq!((shown.ms_p50, shown.ms_p99), (ms(kept / 2), ms(kept - 1)));
        assert_eq!((shown.last[0].ms, shown.last[0].reached), (1, 3));
    }
}
