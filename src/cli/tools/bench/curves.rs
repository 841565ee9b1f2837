//! The picture of one run: the distribution of latencies, and the rate over time.

use crate::bench::Tally;
use crate::cli::tools::plot::{Chart, Curve, charts};

/// Points of the curve of latencies between one power of ten and the next.
const POINTS_PER_DECADE: i32 = 8;

/// The curve of latencies. At `x` is the time in microseconds that one of `x` answers exceeded. The
/// curve ends where `x` is the number of answers.
pub(super) fn quantiles(tally: &Tally) -> Vec<(f64, f64)> {
    let samples = tally.samples() as f64;
    let ones_in = (0..).map(|step| 10_f64.powf(f64::from(step) / f64::from(POINTS_PER_DECADE)));
    ones_in
        .take_while(|one_in| *one_in <= samples)
        .map(|one_in| (one_in, tally.quantile_us(1.0 - 1.0 / one_in).max(1) as f64))
        .collect()
}

/// Both curves, one below the other.
pub(super) fn svg(title: &str, unit: &str, quantiles: &[(f64, f64)], rates: &[(f64, f64)]) -> String {
    let latency = Chart {
        title: "latency, microseconds".into(),
        x: "one answer in x took longer (2: the median, 100: p99)".into(),
        names: Vec::new(),
        from_zero: false,
        logarithmic: true,
        curves: vec![Curve { name: "latency".into(), points: quantiles.to_vec() }],
    };
    let rate = Chart {
        title: format!("{unit} a second"),
        x: "seconds".into(),
        names: Vec::new(),
        from_zero: true,
        logarithmic: false,
        curves: vec![Curve { name: "rate".into(), points: rates.to_vec() }],
    };
    let both: &[Chart] = if rates.len() > 1 { &[latency, rate] } else { &[latency] };
    charts(title, both)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_curve_reaches_from_the_shortest_to_the_longest() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|us| tally.took_for(Duration::from_micros(us)));
        let curve = quantiles(&tally);
        assert_eq!((curve[0].1, curve.len()), (1.0, 25), "three powers of ten");
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) && curve[24].1 >= 999.0, "{curve:?}");
        assert_eq!(svg("x", "queries", &curve, &[]).matches("<polyline").count(), 1);
        assert_eq!(svg("x", "queries", &curve, &[(0.5, 1.0), (1.0, 2.0)]).matches("<polyline").count(), 2);
    }
}
