//! Graphs of neighbors: edges between nodes that are numbered from 0.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::random::Random;
use crate::config::LINKS_MAX;

/// Two neighbors.
pub type Edge = (usize, usize);

/// How often a random construction is tried.
const TRIES: usize = 100;
/// The most nodes that an edge list may have.
const LISTED_NODES_MAX: usize = 1 << 20;

/// The line 0–1–2–…
#[must_use]
pub fn line(n: usize) -> Vec<(usize, usize)> {
    (1..n).map(|node| (node - 1, node)).collect()
}

/// A line whose two ends are connected.
#[must_use]
pub fn ring(n: usize) -> Vec<(usize, usize)> {
    let close = (n > 2).then(|| (n - 1, 0));
    line(n).into_iter().chain(close).collect()
}

/// A random tree and this many more random edges, if there is room for them.
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

/// A tree in which every inner node has `degree` neighbors. It is filled level by level, beginning
/// at the root.
#[must_use]
pub fn tree(n: usize, degree: usize) -> Vec<Edge> {
    let below = degree.saturating_sub(1).max(1);
    // The root has no parent, and one more child than other nodes.
    let parent = |node: usize| if node <= degree { 0 } else { (node - degree - 1) / below + 1 };
    (1..n).map(|node| (parent(node), node)).collect()
}

/// A connected graph in which every node has exactly `degree` neighbors. Stubs are paired at
/// random. Then edges are switched until there are no loops and no double edges, and the graph is
/// connected. None if there is no such graph.
#[must_use]
pub fn random_regular(n: usize, degree: usize, random: &mut Random) -> Option<Vec<Edge>> {
    let possible = match (n, degree) {
        (0 | 1, _) => degree == 0,
        (2, _) => degree == 1,
        _ => degree >= 2 && degree < n && (n * degree).is_multiple_of(2),
    };
    if !possible {
        return None;
    }
    (0..TRIES).find_map(|_| paired(n, degree, random)).map(sorted)
}

fn paired(n: usize, degree: usize, random: &mut Random) -> Option<Vec<Edge>> {
    let mut stubs: Vec<usize> = (0..n * degree).map(|stub| stub / degree).collect();
    for last in (1..stubs.len()).rev() {
        stubs.swap(last, random.index(last + 1));
    }
    let mut edges: Vec<Edge> = stubs.chunks_exact(2).map(|pair| ordered(pair[0], pair[1])).collect();
    let mut times: BTreeMap<Edge, usize> = BTreeMap::new();
    edges.iter().for_each(|edge| *times.entry(*edge).or_default() += 1);
    let is_bad = |edge: Edge, times: &BTreeMap<Edge, usize>| edge.0 == edge.1 || times[&edge] > 1;
    for at in 0..edges.len() {
        let mut tries = 0;
        while is_bad(edges[at], &times) {
            tries += 1;
            if tries > TRIES * 10 {
                return None;
            }
            let other = random.index(edges.len());
            switch(&mut edges, at, other, &mut times);
        }
    }
    // One switch joins two components, unless both of its edges were bridges.
    for _ in 0..TRIES * n {
        let component = components(n, &edges);
        let Some(apart) = edges.iter().position(|edge| component[edge.0] != component[edges[0].0]) else {
            return Some(edges);
        };
        let before = component.iter().max().copied().unwrap_or(0);
        let first = random.index(edges.len());
        let other = if component[edges[first].0] == component[edges[apart].0] { 0 } else { apart };
        let saved = (edges[first], edges[other]);
        if switch(&mut edges, first, other, &mut times)
            && components(n, &edges).iter().max().copied().unwrap_or(0) >= before
        {
            for (at, edge) in [(first, saved.0), (other, saved.1)] {
                drop_one(&mut times, edges[at]);
                edges[at] = edge;
                *times.entry(edge).or_default() += 1;
            }
        }
    }
    None
}

/// The edges a–b and c–d become a–c and b–d, unless one of the new edges is a loop or exists
/// already.
fn switch(edges: &mut [Edge], one: usize, other: usize, times: &mut BTreeMap<Edge, usize>) -> bool {
    let ((a, b), (c, d)) = (edges[one], edges[other]);
    let (left, right) = (ordered(a, c), ordered(b, d));
    if one == other || a == c || b == d || left == right || times.contains_key(&left) || times.contains_key(&right) {
        return false;
    }
    for (at, edge) in [(one, left), (other, right)] {
        drop_one(times, edges[at]);
        edges[at] = edge;
        times.insert(edge, 1);
    }
    true
}

fn drop_one(times: &mut BTreeMap<Edge, usize>, edge: Edge) {
    if let Some(count) = times.get_mut(&edge) {
        *count -= 1;
        if *count == 0 {
            times.remove(&edge);
        }
    }
}

/// Every new node gets `degree / 2` older nodes as its neighbors. A node with more neighbors is
/// chosen with a higher probability (Barabási and Albert 1999). So the mean number of neighbors is
/// `degree`. A node that has as many neighbors as a super peer may have is not chosen.
#[must_use]
pub fn scale_free(n: usize, degree: usize, random: &mut Random) -> Vec<Edge> {
    let mut edges: BTreeSet<Edge> = BTreeSet::new();
    let mut degrees = vec![0_usize; n];
    // Each node is in this list as often as it has neighbors.
    let mut weighted: Vec<usize> = Vec::new();
    for node in 1..n {
        // For an odd degree, the two nearest numbers are used in turn.
        let wanted = (degree / 2 + (degree % 2) * (node % 2)).clamp(1, node);
        let (mut taken, mut tries) = (0, 0);
        while taken < wanted && tries < TRIES * wanted {
            tries += 1;
            let other = if weighted.is_empty() { 0 } else { weighted[random.index(weighted.len())] };
            let other = if other >= node { random.index(node) } else { other };
            if degrees[other] < LINKS_MAX && edges.insert((other, node)) {
                degrees[other] += 1;
                degrees[node] += 1;
                weighted.push(other);
                taken += 1;
            }
        }
        weighted.extend(std::iter::repeat_n(node, taken));
    }
    edges.into_iter().collect()
}

/// Reads an edge list, with two numbers per line. `#` begins a comment. Returns the number of nodes
/// (the highest number plus one) and the edges.
///
/// # Errors
/// A sentence that names the line.
pub fn parse(text: &str) -> Result<(usize, Vec<Edge>), String> {
    let mut edges: BTreeMap<Edge, usize> = BTreeMap::new();
    let mut degrees: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()).collect();
        let (a, b) = match words.as_slice() {
            [] => continue,
            [a, b] => (node(a, number)?, node(b, number)?),
            _ => return Err(format!("line {number}: two numbers are wanted, such as 0 1")),
        };
        if a == b {
            return Err(format!("line {number}: {a} is no neighbor of itself"));
        }
        if let Some(before) = edges.insert(ordered(a, b), number) {
            return Err(format!("line {number}: {a} and {b} are neighbors since line {before}"));
        }
        for node in [a, b] {
            let degree = degrees.entry(node).or_default();
            *degree += 1;
            if *degree > LINKS_MAX {
                return Err(format!("line {number}: {node} has more than {LINKS_MAX} neighbors"));
            }
        }
    }
    let nodes = degrees.keys().next_back().map_or(0, |highest| highest + 1);
    if nodes == 0 {
        return Err("there are no edges; write two numbers a line, such as 0 1".to_owned());
    }
    Ok((nodes, edges.into_keys().collect()))
}

fn node(word: &str, line: usize) -> Result<usize, String> {
    let number: usize =
        word.parse().map_err(|_| format!("line {line}: {word:?} is no number of a node; they are 0, 1, 2, …"))?;
    if number >= LISTED_NODES_MAX {
        return Err(format!("line {line}: node {number} is above {}", LISTED_NODES_MAX - 1));
    }
    Ok(number)
}

/// For each node, the number of its component. Components are counted from 0, in the order of their
/// lowest nodes.
#[must_use]
pub fn components(n: usize, edges: &[Edge]) -> Vec<usize> {
    let neighbors = neighbors(n, edges);
    let mut component = vec![usize::MAX; n];
    let mut next = 0;
    for start in 0..n {
        if component[start] != usize::MAX {
            continue;
        }
        component[start] = next;
        let mut edge = VecDeque::from([start]);
        while let Some(node) = edge.pop_front() {
            for &other in &neighbors[node] {
                if component[other] == usize::MAX {
                    component[other] = next;
                    edge.push_back(other);
                }
            }
        }
        next += 1;
    }
    component
}

/// The neighbors of every node, in the order of the edges.
#[must_use]
pub fn neighbors(n: usize, edges: &[Edge]) -> Vec<Vec<usize>> {
    let mut neighbors = vec![Vec::new(); n];
    for &(a, b) in edges {
        neighbors[a].push(b);
        neighbors[b].push(a);
    }
    neighbors
}

fn ordered(a: usize, b: usize) -> Edge {
    (a.min(b), a.max(b))
}

fn sorted(mut edges: Vec<Edge>) -> Vec<Edge> {
    edges.sort_unstable();
    edges
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

    fn degrees(n: usize, edges: &[Edge]) -> Vec<usize> {
        neighbors(n, edges).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_random_regular_graph_is_regular_simple_and_connected() {
        for (n, degree) in [(1, 0), (2, 1), (3, 2), (6, 2), (50, 2), (8, 7), (100, 6), (1000, 4), (7, 4)] {
            for seed in 0..10 {
                let edges = random_regular(n, degree, &mut Random::new(seed)).expect("there is one");
                assert_eq!(edges.iter().collect::<BTreeSet<_>>().len(), edges.len(), "no edge is double");
                assert!(edges.iter().all(|(a, b)| a < b), "no loops");
                assert!(degrees(n, &edges).iter().all(|&d| d == degree), "{n} {degree} {seed}");
                assert!(components(n, &edges).iter().all(|&c| c == 0), "{n} {degree} {seed}");
                assert_eq!(
                    random_regular(n, degree, &mut Random::new(seed)),
                    Some(edges),
                    "the same seed, the same graph"
                );
            }
        }
        for (n, degree) in [(5, 3), (4, 4), (4, 1), (2, 2), (10, 0)] {
            assert_eq!(random_regular(n, degree, &mut Random::new(1)), None, "{n} {degree}");
        }
    }

    #[test]
    fn a_scale_free_graph_is_connected_has_its_mean_and_hubs() {
        for degree in [2, 4, 5, 6] {
            let edges = scale_free(2000, degree, &mut Random::new(7));
            let degrees = degrees(2000, &edges);
            let mean = degrees.iter().sum::<usize>() as f64 / 2000.0;
            assert!((mean - degree as f64).abs() < 0.05, "{degree}: {mean}");
            assert!(*degrees.iter().max().unwrap() > 8 * degree, "{degree}: no hub");
            assert!(components(2000, &edges).iter().all(|&c| c == 0));
        }
        let many = degrees(20_000, &scale_free(20_000, 8, &mut Random::new(7)));
        assert!(many.iter().all(|&d| d <= LINKS_MAX));
    }

    #[test]
    fn a_tree_is_filled_level_by_level() {
        assert_eq!(tree(7, 3), [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (2, 6)]);
        assert_eq!(tree(4, 2), [(0, 1), (0, 2), (1, 3)]);
        assert!(degrees(100, &tree(100, 5)).iter().all(|&d| d <= 5));
    }

    #[test]
    fn an_edge_list_is_read_and_refused_by_its_line() {
        assert_eq!(parse("# a ring\n0 1\n1,2\n\n2\t0 # closed\n"), Ok((3, vec![(0, 1), (0, 2), (1, 2)])));
        for (text, part) in [
            ("0 1\n1", "line 2: two numbers"),
            ("0 x", "line 1: \"x\""),
            ("0 0", "line 1: 0 is no neighbor of itself"),
            ("0 1\n\n1 0", "line 3: 1 and 0 are neighbors since line 1"),
            ("0 9999999", "line 1: node 9999999"),
            ("# nothing", "no edges"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let star: String = (1..=LINKS_MAX + 1).map(|leaf| format!("0 {leaf}\n")).collect();
        assert!(parse(&star).unwrap_err().contains("line 257"));
    }
}
