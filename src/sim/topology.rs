//! Who is whose neighbour: edges between nodes numbered from 0.

use std::collections::BTreeSet;

use super::random::Random;

/// 0–1–2–…
#[must_use]
pub fn line(n: usize) -> Vec<(usize, usize)> {
    (1..n).map(|node| (node - 1, node)).collect()
}

/// A line whose ends meet.
#[must_use]
pub fn ring(n: usize) -> Vec<(usize, usize)> {
    let close = (n > 2).then(|| (n - 1, 0));
    line(n).into_iter().chain(close).collect()
}

/// Connected at random: a random tree, and so many edges more as far as there is room.
#[must_use]
pub fn random(n: usize, more: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let mut edges: BTreeSet<(usize, usize)> = (1..n).map(|node| (random.index(node), node)).collect();
    for _ in 0..more * 4 {
        if edges.len() >= n.saturating_sub(1) + more || n < 2 {
            break;
        }
        let (a, b) = (random.index(n), random.index(n));
        if a != b {
            edges.insert((a.min(b), a.max(b)));
        }
    }
    edges.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_their_shapes() {
        assert_eq!(line(3), [(0, 1), (1, 2)]);
        assert_eq!(ring(3), [(0, 1), (1, 2), (2, 0)]);
        assert_eq!(ring(2), [(0, 1)]);
        let edges = random(8, 3, &mut Random::new(1));
        assert_eq!(edges.len(), 10);
        assert!((1..8).all(|node| edges.iter().any(|(a, b)| *b == node && *a < node)));
    }
}
