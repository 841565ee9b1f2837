//! The outputs that the driver has not taken yet.

use crate::proto::Output;

/// A queue of outputs. The driver empties it after each input, so a list is enough. An output is
/// large: it is written here once, and moved once, when it is taken.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Those that were taken are `None`.
    list: Vec<Option<Output>>,
    taken: usize,
}

impl Outputs {
    /// Always inline: so the output is written to its place at once.
    #[inline(always)]
    pub(super) fn push(&mut self, output: Output) {
        self.list.push(Some(output));
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() - self.taken
    }

    /// Takes the output that was pushed first.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Output> {
        if self.taken == self.list.len() {
            self.list.clear();
            self.taken = 0;
            return None;
        }
        self.taken += 1;
        self.list[self.taken - 1].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ConnId;

    #[test]
    fn outputs_are_taken_in_the_order_in_which_they_were_pushed() {
        let close = |index| Output::Close { conn: ConnId { index, generation: 0 } };
        let mut outputs = Outputs::default();
        outputs.push(close(1));
        outputs.push(close(2));
        assert_eq!((outputs.len(), outputs.pop()), (2, Some(close(1))));
        outputs.push(close(3));
        assert_eq!((outputs.pop(), outputs.pop()), (Some(close(2)), Some(close(3))));
        assert_eq!((outputs.len(), outputs.pop()), (0, None));
        outputs.push(close(4));
        assert_eq!((outputs.pop(), outputs.pop()), (Some(close(4)), None));
    }
}
