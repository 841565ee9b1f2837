//! The lines of a swarm, and how fast each payload flows over them.
//!
//! The model: if a line carries `n` flows, each of them gets an n-th of its rate, and a flow is as
//! fast as the slowest of its lines allows. The rate of a flow is computed again when a flow starts
//! or ends on one of its lines. This is not max-min fair: if a flow cannot use its part of a line,
//! because another line is slower, no other flow gets the rest. So the model is a little slower
//! than TCP on a line without loss.
//!
//! It knows no peers and no messages. Flows have numbers, which are used again.

use slab::Slab;

use crate::time::Time;

/// The most lines of a flow: from the sender, out of its zone, into the other zone, and to the
/// receiver.
const LINES_MAX: usize = 4;

/// A line in one direction.
#[derive(Debug)]
struct Line {
    /// Bytes per second.
    rate: f64,
    flows: Vec<u32>,
}

/// A payload on its way.
#[derive(Debug)]
struct Flow<T> {
    lines: [u32; LINES_MAX],
    lines_len: usize,
    /// Its place in each line.
    places: [u32; LINES_MAX],
    length: f64,
    moved: f64,
    /// Bytes per second, since `since`.
    rate: f64,
    since: Time,
    payload: T,
}

/// All lines, and what flows on them.
#[derive(Debug)]
pub(super) struct Lines<T> {
    lines: Vec<Line>,
    flows: Slab<Flow<T>>,
    /// Flows that may now reach a mark earlier than before.
    faster: Vec<u32>,
}

impl<T> Lines<T> {
    pub(super) fn new() -> Lines<T> {
        Lines { lines: Vec::new(), flows: Slab::new(), faster: Vec::new() }
    }

    /// Adds a line with this many bytes per second.
    pub(super) fn add(&mut self, rate: u64) -> u32 {
        self.lines.push(Line { rate: rate as f64, flows: Vec::new() });
        self.lines.len() as u32 - 1
    }

    /// Starts a flow over these lines.
    pub(super) fn start(&mut self, now: Time, over: &[u32], length: u32, payload: T) -> u32 {
        debug_assert!(over.len() <= LINES_MAX);
        let mut lines = [0; LINES_MAX];
        lines[..over.len()].copy_from_slice(over);
        let (length, places) = (f64::from(length), [0; LINES_MAX]);
        let flow = Flow { lines, lines_len: over.len(), places, length, moved: 0.0, rate: 0.0, since: now, payload };
        let id = self.flows.insert(flow) as u32;
        for (at, line) in over.iter().enumerate() {
            let flows = &mut self.lines[*line as usize].flows;
            self.flows[id as usize].places[at] = flows.len() as u32;
            flows.push(id);
        }
        self.share_out(now, over);
        id
    }

    /// Ends a flow. Returns its payload, and how many bytes have passed.
    pub(super) fn end(&mut self, now: Time, id: u32) -> (T, f64) {
        self.settle(now, id);
        let flow = self.flows.remove(id as usize);
        for at in 0..flow.lines_len {
            let line = &mut self.lines[flow.lines[at] as usize];
            let place = flow.places[at];
            line.flows.swap_remove(place as usize);
            if let Some(&moved) = line.flows.get(place as usize) {
                let number = flow.lines[at];
                let other = &mut self.flows[moved as usize];
                let own = other.lines[..other.lines_len].iter().position(|line| *line == number);
                other.places[own.expect("a flow knows its lines")] = place;
            }
        }
        self.share_out(now, &flow.lines[..flow.lines_len]);
        (flow.payload, flow.moved.min(flow.length))
    }

    /// The payload of a flow.
    pub(super) fn payload(&mut self, id: u32) -> Option<&mut T> {
        self.flows.get_mut(id as usize).map(|flow| &mut flow.payload)
    }

    /// How many bytes of a flow have passed, and how many have not.
    pub(super) fn progress(&mut self, now: Time, id: u32) -> (f64, f64) {
        self.settle(now, id);
        let flow = &self.flows[id as usize];
        (flow.moved, (flow.length - flow.moved).max(0.0))
    }

    /// When this many more bytes of a flow will have passed, if no flow starts or ends.
    pub(super) fn after(&self, now: Time, id: u32, bytes: f64) -> Time {
        let micros = (bytes / self.flows[id as usize].rate * 1e6).ceil();
        now + std::time::Duration::from_micros(if micros < 1e15 { micros as u64 } else { 1_000_000_000_000_000 })
    }

    /// The next flow whose rate has risen since it was last returned.
    pub(super) fn next_faster(&mut self) -> Option<u32> {
        while let Some(id) = self.faster.pop() {
            if self.flows.contains(id as usize) {
                return Some(id);
            }
        }
        None
    }

    fn settle(&mut self, now: Time, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.moved += flow.rate * now.since(flow.since).as_secs_f64();
        flow.since = now;
    }

    fn share_out(&mut self, now: Time, lines: &[u32]) {
        for line in lines {
            for at in 0..self.lines[*line as usize].flows.len() {
                let id = self.lines[*line as usize].flows[at];
                let flow = &self.flows[id as usize];
                let shares = flow.lines[..flow.lines_len].iter().map(|line| {
                    let line = &self.lines[*line as usize];
                    line.rate / line.flows.len() as f64
                });
                let rate = shares.fold(f64::INFINITY, f64::min);
                let before = flow.rate;
                if rate != before {
                    self.settle(now, id);
                    self.flows[id as usize].rate = rate;
                    if rate > before {
                        self.faster.push(id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn flows_share_the_lines_at_both_ends() {
        let mut lines = Lines::new();
        let (up, down, other) = (lines.add(1000), lines.add(500), lines.add(1000));
        let start = Time::from_micros(1);
        let alone = lines.start(start, &[up, down], 1000, 'a');
        assert_eq!(lines.after(start, alone, 1000.0), start + Duration::from_secs(2));
        let second = start + Duration::from_secs(1);
        let more = lines.start(second, &[up, other], 1000, 'b');
        // Both get half of the sender's line; the first one had no more before.
        assert_eq!(lines.progress(second, alone), (500.0, 500.0));
        assert_eq!(lines.after(second, more, 1000.0), second + Duration::from_secs(2));
        while lines.next_faster().is_some() {}
        let third = second + Duration::from_secs(1);
        assert_eq!(lines.end(third, alone), ('a', 1000.0));
        assert_eq!(std::iter::from_fn(|| lines.next_faster()).collect::<Vec<_>>(), [more]);
        assert_eq!(lines.after(third, more, 500.0), third + Duration::from_millis(500));
        assert_eq!(lines.end(third, more), ('b', 500.0));
    }
}
