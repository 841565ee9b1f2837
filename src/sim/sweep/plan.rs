//! What a seed draws before its run starts.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use unicode_normalization::UnicodeNormalization;

use crate::sim::content::{ContentId, Contents};
use crate::sim::fault::{Damage, Double, Fault, HoldBack, Lose};
use crate::sim::random::Random;
use crate::sim::topology;
use crate::wire::QueryKind;

const MS: Duration = Duration::from_millis(1);
const MIB: usize = 1 << 20;

/// Words of file names and of patterns. Some are composed and some decomposed, some have marks, and
/// some belong to scripts without spaces.
const WORDS: [&str; 16] = [
    "red",
    "Fox",
    "sea",
    "moon",
    "Live",
    "mix",
    "old",
    "song",
    "paper",
    "zug",
    "2024",
    "näh",
    "Sen\u{303}ora",
    "Straße",
    "上海之夜",
    "เพลงไทย",
];
/// Sizes of the contents of files, in bytes. Each content has a twin that liars serve in its place.
const SIZES: [usize; 16] =
    [0, 1, 17, 700, 701, 4096, 5000, 5001, 60_000, 65_537, 100_000, MIB - 1, MIB, MIB + 1, 2 * MIB + 5, 4 * MIB + 4321];

/// Sizes of the contents of crowds. No peer has these contents before.
const CROWD_SIZES: [usize; 2] = [3 * MIB + 9, 6 * MIB + 77];
/// How many of a thousand networks have crowds.
const CROWDS_OF_1000: u32 = 250;

/// What happens to the only complete source of a crowd once the others together have all pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// The file leaves the share.
    Leaves,
    Dies,
}

/// Peers that fetch one content, at the same time or one after another.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) content: ContentId,
    /// Weak peers, by their place: the peer that has the content first, and the peers that fetch
    /// it.
    pub(super) seed: usize,
    pub(super) members: Vec<usize>,
    pub(super) fate: Fate,
    /// When the first source gets the content, after the beginning of the phase.
    pub(super) begins: Duration,
    /// The time between the starts of two members.
    pub(super) apart: Duration,
    /// Whether the first member leaves in the middle of its download.
    pub(super) one_leaves: bool,
    /// Whether the members share what they have fetched.
    pub(super) shared: bool,
}

impl Crowd {
    /// The crowds of a seed: one under the faults, and one after them.
    pub(super) fn draw(peers: usize, random: &mut Random) -> Vec<Crowd> {
        if !random.chance(CROWDS_OF_1000) {
            return Vec::new();
        }
        (0..CROWD_SIZES.len()).map(|n| Crowd::one(SIZES.len() + n, peers, random)).collect()
    }

    fn one(content: usize, peers: usize, random: &mut Random) -> Crowd {
        let first = random.index(peers);
        let many = 3 + random.index(4);
        // The peers are distinct: the step and any number of peers below 31 have no common divisor.
        let at = |n: usize| (first + n * 31) % peers;
        let together = random.chance(500);
        let apart = random.time(MS, 6000 * MS);
        let fate = *random.pick(&[Fate::Stays, Fate::Leaves, Fate::Leaves, Fate::Dies]);
        Crowd {
            content: library().1[content].0,
            seed: at(0),
            members: (1..=many).map(at).collect(),
            fate,
            begins: random.time(5000 * MS, 200_000 * MS),
            apart: if together { Duration::ZERO } else { apart },
            one_leaves: random.chance(400),
            // Otherwise all peers that have a piece may be gone after a while.
            shared: fate != Fate::Stays || random.chance(500),
        }
    }
}

/// A kind of fault that strikes nodes or paths at random times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    Partition,
    Clog,
    CrashSuper,
    CrashWeak,
    Power,
    Pause,
    Suspend,
    Leap,
    Slow,
    Reset,
    Silence,
    DiskFull,
    DiskErrors,
    Meddle,
    Stray,
}

const BLOWS: [Blow; 15] = [
    Blow::Partition,
    Blow::Clog,
    Blow::CrashSuper,
    Blow::CrashWeak,
    Blow::Power,
    Blow::Pause,
    Blow::Suspend,
    Blow::Leap,
    Blow::Slow,
    Blow::Reset,
    Blow::Silence,
    Blow::DiskFull,
    Blow::DiskErrors,
    Blow::Meddle,
    Blow::Stray,
];

/// A weak peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// The super peers that it knows, by their numbers.
    pub(super) supers: Vec<usize>,
    /// How many sessions it has at once.
    pub(super) sessions: usize,
    pub(super) files: Vec<(String, ContentId)>,
    /// Contents for which it serves wrong bytes.
    pub(super) lies: Vec<ContentId>,
}

/// The network of one seed, its files and its faults.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) supers: usize,
    pub(super) edges: Vec<(usize, usize)>,
    pub(super) peers: Vec<Peer>,
    pub(super) latency: (Duration, Duration),
    /// Bytes of payload that a node sends per second.
    pub(super) bandwidth: u64,
    /// How many of a thousand messages arrive in parts, and how many of a thousand short parts
    /// arrive byte by byte.
    pub(super) split: (u32, u32),
    pub(super) blows: Vec<Blow>,
    /// The mean time between two faults.
    pub(super) blow_every: Duration,
    pub(super) lose: u32,
    pub(super) double: u32,
    pub(super) hold_back: (u32, Duration),
    pub(super) damage: u32,
    /// The crowds: none, or one for each phase.
    pub(super) crowds: Vec<Crowd>,
}

impl Plan {
    /// The faults of datagrams.
    pub(super) fn weather(&self) -> Vec<Box<dyn Fault>> {
        let mut faults: Vec<Box<dyn Fault>> = Vec::new();
        if self.lose > 0 {
            faults.push(Box::new(Lose(self.lose)));
        }
        if self.double > 0 {
            faults.push(Box::new(Double(self.double)));
        }
        if self.hold_back.0 > 0 {
            faults.push(Box::new(HoldBack(self.hold_back.0, self.hold_back.1)));
        }
        if self.damage > 0 {
            faults.push(Box::new(Damage(self.damage)));
        }
        faults
    }

    /// Draws a plan.
    pub(super) fn draw(root: &Random) -> Plan {
        let (mut net, mut share, mut swarm) =
            (root.child("topology", 0), root.child("share", 0), root.child("swarm", 0));
        let supers = 3 + net.index(5);
        let edges = match net.below(10) {
            0 => topology::line(supers),
            1 => topology::ring(supers),
            _ => {
                let more = net.index(6);
                topology::random(supers, more, &mut net)
            }
        };
        let peers = 10 + net.index(21);
        let crowds = Crowd::draw(peers, &mut root.child("crowd", 0));
        let peers = (0..peers).map(|n| Peer::draw(n, supers, &mut net, &mut share)).collect();
        let latency = match net.below(4) {
            0 => (5 * MS, 80 * MS),
            1 => (MS, 3 * MS),
            _ => (Duration::from_micros(50), Duration::from_micros(600)),
        };
        let bandwidth = *net.pick(&[200 << 10, 1 << 20, 8 << 20, 100 << 20]);
        Plan { supers, edges, peers, latency, bandwidth, crowds, ..Plan::faults(&mut swarm) }.with_liars(&mut swarm)
    }

    /// Which faults there are, and how strong they are.
    fn faults(swarm: &mut Random) -> Plan {
        // There is no fault, all faults, or each fault with a probability of one half.
        let each = match swarm.below(20) {
            0 => 0,
            1 => 1000,
            _ => 150 + u32::try_from(swarm.below(600)).unwrap_or(0),
        };
        let mut strength = |most: u64| {
            let strong = 1 + swarm.below(most);
            let draw = swarm.chance(each);
            u32::try_from(if draw { strong } else { 0 }).unwrap_or(0)
        };
        let (lose, double, held, damage) = (strength(300), strength(200), strength(300), strength(40));
        let (parts, bytes) = (strength(700), strength(200));
        let longest = swarm.time(MS, 250 * MS);
        Plan {
            supers: 0,
            edges: Vec::new(),
            peers: Vec::new(),
            latency: (MS, MS),
            bandwidth: 1,
            split: (parts, bytes),
            blows: BLOWS.into_iter().filter(|_| swarm.chance(each)).collect(),
            blow_every: swarm.time(4000 * MS, 20_000 * MS),
            lose,
            double,
            hold_back: (held, longest),
            damage,
            crowds: Vec::new(),
        }
    }

    fn with_liars(mut self, swarm: &mut Random) -> Plan {
        let some = swarm.chance(300);
        for peer in self.peers.iter_mut().skip(1).filter(|_| some) {
            if swarm.chance(150) {
                peer.lies = peer.files.iter().map(|(_, content)| *content).collect();
            }
        }
        self
    }
}

impl Peer {
    fn draw(number: usize, supers: usize, net: &mut Random, share: &mut Random) -> Peer {
        let mut knows = Vec::new();
        for _ in 0..=net.index(3) {
            let one = net.index(supers);
            if !knows.contains(&one) {
                knows.push(one);
            }
        }
        let mut paths = BTreeSet::new();
        // The first few peers share much, and some share nothing.
        let files = if number < 3 { 6 } else { share.index(7) };
        for _ in 0..files {
            paths.insert(path(share));
        }
        let files = paths.into_iter().map(|path| (path, content(share))).collect();
        let sessions = if net.chance(250) { knows.len().min(2) } else { 1 };
        Peer { supers: knows, sessions, files, lies: Vec::new() }
    }
}

/// A path for a file.
pub(super) fn path(random: &mut Random) -> String {
    let mut path = String::new();
    if random.chance(300) {
        path.push_str(&folder(random));
        path.push('/');
    }
    for n in 0..=random.index(3) {
        if n > 0 {
            path.push(*random.pick(&[' ', '-', '_']));
        }
        path.push_str(random.pick::<&str>(&WORDS));
    }
    if random.chance(500) {
        path.push_str(random.pick::<&str>(&[".txt", ".ogg", ".7z"]));
    }
    path
}

/// One of the contents. Small ones are drawn more often than large ones.
pub(super) fn content(random: &mut Random) -> ContentId {
    let small = 11;
    let at = if random.chance(300) { small + random.index(SIZES.len() - small) } else { random.index(small) };
    library().1[at].0
}

/// A search: for words, a glob, a name, a path, a folder or a root, or with a pattern without
/// matches.
pub(super) fn search(random: &mut Random) -> (QueryKind, String) {
    let pattern = match random.below(12) {
        0..4 => typed(random),
        4 => format!("{} {}", typed(random), typed(random)),
        5 => format!("*{}*", typed(random)),
        6 => format!("{}*", typed(random).chars().next().unwrap_or('x')),
        7 => path(random),
        8 => library().0.root(content(random)).to_string(),
        9 => return (QueryKind::Path, path(random)),
        10 => return (QueryKind::Below, format!("{}{}", folder(random), random.pick(&["", "/"]))),
        _ => "nobody has it".to_owned(),
    };
    (QueryKind::of(&pattern), pattern)
}

/// A word as a person may type it: maybe in another case, and composed or decomposed.
fn typed(random: &mut Random) -> String {
    let word = *random.pick(&WORDS);
    match random.below(5) {
        0 => word.to_uppercase(),
        1 => word.nfc().collect(),
        2 => word.nfd().collect(),
        3 => word.chars().take(2).collect(),
        _ => word.to_owned(),
    }
}

/// One or two folders of a path.
fn folder(random: &mut Random) -> String {
    let top = *random.pick(&WORDS[8..]);
    if random.chance(700) { top.to_owned() } else { format!("{top}/{}", random.pick(&WORDS[..4])) }
}

/// All contents, each with its wrong twin. They are the same for every seed, so that each digest is
/// computed only once.
pub(super) fn library() -> &'static (Contents, Vec<(ContentId, ContentId)>) {
    static LIBRARY: OnceLock<(Contents, Vec<(ContentId, ContentId)>)> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut contents = Contents::default();
        let mut random = Random::new(0x5b_5a_17);
        let mut make = |size: &usize| {
            let content = contents.make(*size, &mut random);
            let wrong: Vec<usize> = (0..*size).step_by(MIB).collect();
            // An empty content has no wrong twin.
            let twin = if wrong.is_empty() { content } else { contents.falsify(content, &wrong) };
            (content, twin)
        };
        let list = SIZES.iter().chain(&CROWD_SIZES).map(&mut make).collect();
        contents.warm();
        (contents, list)
    })
}
