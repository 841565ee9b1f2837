//! Draws a map as a picture, for a browser or for the programs of Graphviz. The same map gives the
//! same picture. Names from the network are drawn as text only.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;

use super::graph::{Map, Super};
use crate::cli::format::count;
use crate::wire::message::LinkState;
use crate::wire::name::printable;

/// The distance of two rings, and the margin of the picture, in pixels.
const RING: f64 = 150.0;
const MARGIN: f64 = 110.0;
const STYLE: &str = "text{font:12px sans-serif;text-anchor:middle;fill:#444}line{stroke:#888;stroke-width:1.5}\
                     line.bad{stroke:#c33;stroke-dasharray:5 4}circle{fill:#2b6cb0}circle.bad{fill:#c33}\
                     @media(prefers-color-scheme:dark){text{fill:#ccc}}";

/// The super peer that was asked first is in the middle. The others are on rings, by their number
/// of hops.
pub(super) fn svg(map: &Map) -> String {
    let places = places(map);
    let radius = map.supers.iter().map(|one| ring_of(map, one.hops)).fold(0.0, f64::max);
    let (half, mut text) = (radius + MARGIN, String::new());
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{:.0} {:.0} {:.0} {:.0}\" role=\"img\">\n\
         <title>{}, {}</title>\n<style>{STYLE}</style>",
        -half,
        -half,
        2.0 * half,
        2.0 * half,
        count(map.supers.len() as u64, "super peer"),
        count(map.links.len() as u64, "link")
    );
    for link in map.links.values() {
        let ((x1, y1), (x2, y2)) = (places[link.from], places[link.to]);
        let class = if link.state == LinkState::Up { "" } else { " class=\"bad\"" };
        let _ = writeln!(text, "<line{class} x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    }
    for (one, (x, y)) in map.supers.iter().zip(&places) {
        let class = if one.why.is_some() { " class=\"bad\"" } else { "" };
        let _ = writeln!(
            text,
            "<circle{class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\"><title>{}</title></circle>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            escaped(&words(one)),
            y + 25.0,
            escaped(&one.addr.to_string())
        );
    }
    text.push_str("</svg>\n");
    text
}

/// The graph for `dot`, `neato` and similar programs.
pub(super) fn dot(map: &Map) -> String {
    let quoted = |text: &str| printable(text).replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = String::from("graph sprat {\n  node [shape=box];\n");
    for one in &map.supers {
        let style = if one.why.is_some() { ", color=red" } else { "" };
        let (addr, words) = (quoted(&one.addr.to_string()), quoted(&words(one)));
        let _ = writeln!(text, "  s{} [label=\"{addr}\", tooltip=\"{words}\"{style}];", one.id);
    }
    for link in map.links.values() {
        let style = if link.state == LinkState::Up { "" } else { " [color=red, style=dashed]" };
        let _ = writeln!(text, "  s{} -- s{}{style};", link.from, link.to);
    }
    text.push_str("}\n");
    text
}

fn words(one: &Super) -> String {
    match (&one.why, one.sessions, one.files) {
        (Some(why), ..) => format!("{}: {why}", one.addr),
        (None, Some(sessions), Some(files)) => {
            format!("{}: {}, {}", one.addr, count(sessions, "session"), count(files, "file"))
        }
        (None, ..) => one.addr.to_string(),
    }
}

/// The radius of a ring. The labels on it must not overlap.
fn ring_of(map: &Map, hops: usize) -> f64 {
    let on_ring = map.supers.iter().filter(|one| one.hops == hops).count();
    let first = if hops == 0 && on_ring < 2 { 0.0 } else { RING };
    (first + hops as f64 * RING - if hops > 0 && first > 0.0 { RING } else { 0.0 })
        .max(on_ring as f64 * 90.0 / TAU * f64::from(on_ring > 1))
}

/// The place of each super peer. On a ring, super peers follow the order of the super peers through
/// which they were found.
fn places(map: &Map) -> Vec<(f64, f64)> {
    let mut angles = vec![0.0; map.supers.len()];
    let mut places = vec![(0.0, 0.0); map.supers.len()];
    let mut rings: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    map.supers.iter().for_each(|one| rings.entry(one.hops).or_default().push(one.id));
    for (hops, ring) in rings {
        let parent = |id: usize| {
            let of = map.links.values().filter(|link| link.from == id || link.to == id);
            let others = of.map(|link| if link.from == id { link.to } else { link.from });
            others.filter(|other| map.supers[*other].hops < hops).map(|other| angles[other]).fold(f64::MAX, f64::min)
        };
        let mut ordered: Vec<(f64, String, usize)> =
            ring.iter().map(|id| (parent(*id), map.supers[*id].addr.to_string(), *id)).collect();
        ordered.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let (step, radius) = (TAU / ordered.len() as f64, ring_of(map, hops));
        for (n, (.., id)) in ordered.into_iter().enumerate() {
            let angle = n as f64 * step;
            angles[id] = angle;
            places[id] = (radius * angle.sin(), -radius * angle.cos());
        }
    }
    places
}

fn escaped(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::LinkRow;

    fn map(links: &[(usize, usize, LinkState)]) -> Map {
        let mut map = Map::default();
        for (from, to, state) in links {
            for (id, hops) in [(*from, *from), (*to, from + 1)] {
                map.place(&format!("192.0.2.{}:1", id + 1).parse().unwrap(), None, hops.min(2));
            }
            let (name, at, why) = (String::new(), Vec::new(), None);
            map.link(*from, *to, &LinkRow { name, at, node: None, state: *state, since: 0, rtt: None, key: None, why });
        }
        map
    }

    #[test]
    fn a_picture_has_each_super_peer_and_link_once_at_a_place_of_its_own() {
        let map = map(&[(0, 1, LinkState::Up), (1, 0, LinkState::Down), (0, 2, LinkState::Up), (1, 3, LinkState::Up)]);
        let text = svg(&map);
        assert_eq!((text.matches("<circle").count(), text.matches("<line").count()), (4, 3), "{text}");
        assert!(text.contains("<title>4 super peers, 3 links</title>"), "{text}");
        assert_eq!(text.matches("<line class=\"bad\"").count(), 1, "one end says that it is down");
        assert_eq!(text, svg(&map));
        let places = places(&map);
        assert!(places.iter().enumerate().all(|(n, place)| !places[..n].contains(place)), "{places:?}");
        let text = dot(&map);
        assert!(text.contains("  s0 -- s1 [color=red, style=dashed];\n") && text.contains("  s1 -- s3;\n"), "{text}");
    }

    #[test]
    fn a_name_from_the_network_is_text() {
        assert_eq!(escaped("<a & \"b\">\u{1b}"), "&lt;a &amp; &quot;b&quot;&gt;\\u{1b}");
    }
}
