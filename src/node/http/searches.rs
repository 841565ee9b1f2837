//! The latest answers to the queries of sessions, as the page of a super peer shows them. It keeps
//! only figures, so that a viewer does not learn what others search for.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::config::HTTP_ANSWERS_KEPT;
use crate::proto::Event;

/// The latest answers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Searches {
    kept: VecDeque<Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    hits: u32,
    reached: u32,
    complete: bool,
    ms: u32,
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
    pub(super) fn shown(&self) -> Value {
        let mut times: Vec<u32> = self.kept.iter().map(|answer| answer.ms).collect();
        times.sort_unstable();
        let quantile = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let complete = self.kept.iter().filter(|answer| answer.complete).count();
        let last = self.kept.iter().map(|Answered { hits, reached, complete, ms }| {
            json!({ "hits": hits, "reached": reached, "complete": complete, "ms": ms })
        });
        json!({
            "answers": times.len(), "complete": complete, "ms_p50": quantile(50), "ms_p99": quantile(99),
            "last": last.collect::<Vec<_>>(),
        })
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
        assert_eq!(searches.shown()["ms_p50"], Value::Null);
        for ms in 0..=u32::try_from(HTTP_ANSWERS_KEPT).unwrap() {
            let cut = if ms % 2 == 0 { Cut::NONE } else { Cut { ttl: 1, ..Cut::NONE } };
            let (session, req, hits, reached) = (ConnId { index: 0, generation: 0 }, 1, 2, 3);
            searches.note(&Event::Answered { session, req, hits, reached, cut, ms });
        }
        let shown = searches.shown();
        let kept = HTTP_ANSWERS_KEPT;
        assert_eq!((shown["answers"].as_u64(), shown["complete"].as_u64()), (Some(kept as u64), Some(kept as u64 / 2)));
        assert_eq!(
            (shown["ms_p50"].as_u64(), shown["ms_p99"].as_u64()),
            (Some(kept as u64 / 2), Some(kept as u64 - 1))
        );
        assert_eq!((shown["last"][0]["ms"].as_u64(), shown["last"][0]["reached"].as_u64()), (Some(1), Some(3)));
    }
}
