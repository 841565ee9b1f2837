//! Pictures as SVG: curves and networks. It only makes text. The same figures give the same bytes.

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::wire::name::printable;

/// Colors of curves and rings that color-blind readers can distinguish (Okabe and Ito).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];
const WIDTH: f64 = 720.0;
/// Height of one chart with its title and its axis.
const CHART_HEIGHT: f64 = 300.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Side of the picture of a network.
const NETWORK_SIDE: f64 = 1000.0;

/// The attribute of a title.
const TITLE: &str = "class=\"title\"";
const MIDDLE: &str = "text-anchor=\"middle\"";

/// A curve.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One chart of a picture.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: String,
    /// Names that replace the numbers at the axis.
    pub(crate) names: Vec<String>,
    /// Whether the axis begins at zero. Otherwise it begins at the lowest value.
    pub(crate) from_zero: bool,
    /// Whether both axes have a logarithmic scale.
    pub(crate) logarithmic: bool,
    pub(crate) curves: Vec<Curve>,
}

/// Charts, one below the other.
pub(crate) fn charts(title: &str, charts: &[Chart]) -> String {
    let height = CHART_HEIGHT * charts.len() as f64 + 30.0;
    let mut svg = head(WIDTH, height, title);
    text(&mut svg, (LEFT, 20.0), TITLE, &escape(title));
    for (at, chart) in charts.iter().enumerate() {
        draw(&mut svg, chart, 30.0 + CHART_HEIGHT * at as f64);
    }
    svg.push_str("</svg>\n");
    svg
}

/// An axis, which converts values to places.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from_zero: bool, logarithmic: bool) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() || !high.is_finite() {
            return Axis { low: 0.0, high: 1.0, logarithmic: false };
        }
        let logarithmic = logarithmic && low > 0.0 && high > 3.0 * low;
        if logarithmic {
            return Axis { low: 10_f64.powf(low.log10().floor()), high: 10_f64.powf(high.log10().ceil()), logarithmic };
        }
        let low = if from_zero { low.min(0.0) } else { low };
        let high = if high > low { high } else { low + if low == 0.0 { 1.0 } else { low.abs() * 0.1 } };
        Axis { low, high, logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

fn draw(svg: &mut String, chart: &Chart, top: f64) {
    let points = || chart.curves.iter().flat_map(|curve| &curve.points).copied();
    let x_axis = Axis::over(points().map(|(x, _)| x), false, chart.logarithmic && chart.names.is_empty());
    let y_axis = Axis::over(points().map(|(_, y)| y), chart.from_zero, chart.logarithmic);
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let (up, down) = (top + TOP, top + CHART_HEIGHT - BOTTOM);
    let x = |value: f64| left + x_axis.place(value) * (right - left);
    let y = |value: f64| down - y_axis.place(value) * (down - up);
    text(svg, (left, up - 12.0), "class=\"name\"", &escape(&chart.title));
    for tick in y_axis.ticks() {
        let at = y(tick);
        let _ = writeln!(svg, "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" class=\"grid\"/>");
        text(svg, (left - 8.0, at + 4.0), "text-anchor=\"end\"", &number(tick));
    }
    let named: Vec<(f64, String)> = if chart.names.is_empty() {
        x_axis.ticks().into_iter().map(|tick| (tick, number(tick))).collect()
    } else {
        chart.names.iter().enumerate().map(|(at, name)| (at as f64, escape(name))).collect()
    };
    for (tick, name) in named {
        let at = x(tick);
        let _ =
            writeln!(svg, "<line x1=\"{at:.1}\" y1=\"{down}\" x2=\"{at:.1}\" y2=\"{}\" class=\"axis\"/>", down + 5.0);
        text(svg, (at, down + 18.0), MIDDLE, &name);
    }
    let _ = writeln!(svg, "<path d=\"M{left} {up}V{down}H{right}\" class=\"axis\"/>");
    text(svg, ((left + right) / 2.0, down + 36.0), MIDDLE, &escape(&chart.x));
    for (at, curve) in chart.curves.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        let line: Vec<String> = curve.points.iter().map(|&(px, py)| format!("{:.1},{:.1}", x(px), y(py))).collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{color}\" class=\"curve\"/>", line.join(" "));
        for &(px, py) in &curve.points {
            let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"/>", x(px), y(py));
        }
        let row = up + 8.0 + 16.0 * at as f64;
        let (x, y) = (right + 12.0, row - 4.0);
        let _ = writeln!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"3\" fill=\"{color}\"/>");
        text(svg, (right + 30.0, row), "", &escape(&curve.name));
    }
}

/// A network. The node with most neighbors is in the middle. The others are on rings, by their
/// distance from it.
pub(crate) fn network(title: &str, neighbors: &[Vec<usize>]) -> String {
    let mut svg = head(NETWORK_SIDE, NETWORK_SIDE + 40.0, title);
    text(&mut svg, (20.0, 26.0), TITLE, &escape(title));
    let places = places(neighbors);
    let many = neighbors.len() > 500;
    let _ = writeln!(svg, "<g class=\"{}\">", if many { "thin" } else { "link" });
    let mut path = String::new();
    for (node, others) in neighbors.iter().enumerate() {
        for &other in others.iter().filter(|other| **other > node) {
            let ((ax, ay, _), (bx, by, _)) = (places[node], places[other]);
            let _ = write!(path, "M{ax:.1} {ay:.1}L{bx:.1} {by:.1}");
        }
    }
    let _ = writeln!(svg, "<path d=\"{path}\"/></g>");
    let most = neighbors.iter().map(Vec::len).max().unwrap_or(1).max(1) as f64;
    let base = if many { 1.5 } else { 4.0 };
    for (node, &(x, y, ring)) in places.iter().enumerate() {
        let radius = base * (1.0 + 2.0 * (neighbors[node].len() as f64 / most).sqrt()) / 2.0;
        let color = COLORS[ring % COLORS.len()];
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{color}\"/>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The place of each node, and its ring. The angle of a node is the middle of the angles of the
/// nodes that are reached through it.
fn places(neighbors: &[Vec<usize>]) -> Vec<(f64, f64, usize)> {
    let n = neighbors.len();
    let (ring, parent, order) = rings(neighbors);
    // The number of leaves below each node of the breadth-first tree. Each leaf gets the same
    // angle.
    let mut leaves = vec![0_usize; n];
    for &node in order.iter().rev() {
        leaves[node] = leaves[node].max(1);
        if let Some(above) = parent[node] {
            leaves[above] += leaves[node];
        }
    }
    let all: usize = order.iter().filter(|node| parent[**node].is_none()).map(|node| leaves[*node]).sum();
    let turn = std::f64::consts::TAU / all.max(1) as f64;
    let deepest = ring.iter().max().copied().unwrap_or(0).max(1) as f64;
    let mut next = vec![0.0; n];
    let mut start = 0.0;
    let mut places = vec![(0.0, 0.0, 0); n];
    for &node in &order {
        let begin = match parent[node] {
            None => {
                let begin = start;
                start += leaves[node] as f64;
                begin
            }
            Some(above) => {
                let begin = next[above];
                next[above] += leaves[node] as f64;
                begin
            }
        };
        next[node] = begin;
        let angle = (begin + leaves[node] as f64 / 2.0) * turn;
        let radius = (NETWORK_SIDE / 2.0 - 30.0) * ring[node] as f64 / deepest;
        let middle = NETWORK_SIDE / 2.0;
        places[node] = (middle + radius * angle.cos(), middle + 30.0 + radius * angle.sin(), ring[node]);
    }
    places
}

type Rings = (Vec<usize>, Vec<Option<usize>>, Vec<usize>);

/// Breadth-first search, from the node with most neighbors, and then from the nodes that are left.
fn rings(neighbors: &[Vec<usize>]) -> Rings {
    let n = neighbors.len();
    let (mut ring, mut parent, mut order) = (vec![usize::MAX; n], vec![None; n], Vec::with_capacity(n));
    let mut roots: Vec<usize> = (0..n).collect();
    roots.sort_unstable_by_key(|node| (usize::MAX - neighbors[*node].len(), *node));
    let mut first = true;
    for root in roots {
        if ring[root] != usize::MAX {
            continue;
        }
        // Nodes that are not connected to the middle begin on the first ring.
        ring[root] = usize::from(!first);
        first = false;
        let mut edge = VecDeque::from([root]);
        while let Some(node) = edge.pop_front() {
            order.push(node);
            for &other in &neighbors[node] {
                if ring[other] == usize::MAX {
                    ring[other] = ring[node] + 1;
                    parent[other] = Some(node);
                    edge.push_back(other);
                }
            }
        }
    }
    (ring, parent, order)
}

/// A text that is already escaped, with its class or its anchor.
fn text(svg: &mut String, (x, y): (f64, f64), how: &str, escaped: &str) {
    let space = if how.is_empty() { "" } else { " " };
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{how}>{escaped}</text>");
}

fn head(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n<style>.title{{font-size:15px}}.name{{font-size:13px;\
         font-weight:bold}}.grid{{stroke:#ddd}}.axis{{stroke:#333;fill:none}}.curve{{fill:none;stroke-width:2}}\
         .link{{stroke:#999;stroke-width:.7;fill:none}}.thin{{stroke:#999;stroke-width:.2;stroke-opacity:.4;fill:none}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escape(title)
    )
}

/// A value at an axis, as short as is exact enough.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        format!("{}M", trimmed(value / 1e6))
    } else if size >= 1e4 {
        format!("{}k", trimmed(value / 1e3))
    } else {
        trimmed(value)
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escape(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_curves_and_its_names() {
        let chart = Chart {
            title: "recall, %".into(),
            x: "loss, %".into(),
            names: Vec::new(),
            from_zero: true,
            logarithmic: false,
            curves: vec![Curve { name: "a < b".into(), points: vec![(0.0, 100.0), (30.0, 99.5)] }],
        };
        let svg = charts("loss & recall", &[chart]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("loss &amp; recall") && svg.contains("a &lt; b") && svg.matches("<circle").count() == 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn axes_stand_at_round_numbers() {
        let axis = Axis::over([0.0, 30.0].into_iter(), true, false);
        assert_eq!(axis.ticks(), [0.0, 10.0, 20.0, 30.0]);
        let axis = Axis::over([100.0, 10_000.0].into_iter(), false, true);
        assert_eq!(axis.ticks(), [100.0, 1000.0, 10_000.0]);
        assert_eq!(number(50_000.0), "50k");
        for values in [vec![], vec![0.0], vec![5.0, 5.0]] {
            assert!(Axis::over(values.iter().copied(), true, true).ticks().len() > 1, "{values:?}");
        }
    }

    #[test]
    fn a_network_has_every_node_and_no_two_in_one_place() {
        let neighbors = vec![vec![1, 2, 3], vec![0], vec![0], vec![0, 4], vec![3], vec![]];
        let svg = network("six", &neighbors);
        assert_eq!(svg.matches("<circle").count(), 6);
        let places = places(&neighbors);
        for (at, one) in places.iter().enumerate() {
            for other in &places[at + 1..] {
                assert!((one.0 - other.0).abs() + (one.1 - other.1).abs() > 1.0, "{places:?}");
            }
        }
    }
}
