//! How a terminal shows a download: a line with a bar, and a line for each source. It only makes
//! text. No line is wider than the window.

use crate::cli::columns::{columns, cut, cut_middle, padded, padded_front};
use crate::cli::format::{count, percent, source_words, swarm_words};
use crate::cli::units::Size;
use crate::proto::event::{SourceReport, SourceState, SwarmReport};
use crate::wire::name::printable;

/// Most lines for the sources of one download.
const LANES_MAX: usize = 16;
/// Columns of the bar itself, without its brackets.
const BAR_LEAST: usize = 5;
const BAR_MOST: usize = 40;
/// A name is not cut to fewer columns while something else can be left out.
const NAME_LEAST: usize = 10;
/// Columns of the address in the line of a source, if there is room.
const SOURCE_USUAL: usize = 21;

/// The state of a download.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bar {
    name: String,
    bytes: u64,
    /// The size; none until the content is chosen.
    size: Option<u64>,
    /// The rate in bytes per second. Bytes of an earlier run do not count.
    rate: u64,
    sources: Vec<SourceReport>,
    gives_up_ms: Option<u64>,
    swarm: Option<SwarmReport>,
    /// Why the download does not run. The reason is shown in place of the figures.
    waits: Option<String>,
}

impl Bar {
    /// A download of which only the name is known so far.
    pub(crate) fn new(name: &str) -> Bar {
        Bar { name: printable(name), ..Bar::default() }
    }

    /// The content is chosen. An earlier run has fetched `bytes` of it.
    pub(crate) fn start(&mut self, name: &str, size: u64, bytes: u64) {
        *self = Bar { size: Some(size), bytes, ..Bar::new(name) };
    }

    /// Part of the content has been fetched.
    pub(crate) fn advance(&mut self, bytes: u64, size: u64, rate: u64, gives_up_ms: Option<u64>) {
        (self.bytes, self.size, self.rate, self.gives_up_ms, self.waits) = (bytes, Some(size), rate, gives_up_ms, None);
    }

    /// The peers that have or fetch the content.
    pub(crate) fn swarm(&mut self, swarm: Option<SwarmReport>) {
        self.swarm = swarm;
    }

    /// The state of a source.
    pub(crate) fn source(&mut self, report: &SourceReport) {
        match self.sources.iter_mut().find(|known| known.source == report.source) {
            Some(known) => known.clone_from(report),
            None => self.sources.push(report.clone()),
        }
    }

    /// Sets the reason why the download does not run; none if it runs.
    pub(crate) fn wait(&mut self, why: Option<&str>) {
        self.waits = why.map(printable);
    }

    /// The line of the file, and then as many lines about its sources as fit in `rows` lines.
    pub(crate) fn lines(&self, window: usize, rows: usize) -> Vec<String> {
        let mut lines = vec![self.file_line(window)];
        if let (Some(ms), None) = (self.gives_up_ms, &self.waits) {
            lines.push(cut(&format!("  {}", giving_up(ms)), window));
        }
        if let (Some(swarm), None) = (&self.swarm, &self.waits) {
            lines.push(cut(&format!("  {}", swarm_words(swarm)), window));
        }
        let room = rows.saturating_sub(lines.len()).min(LANES_MAX);
        if self.waits.is_none() && room > 0 {
            let shown = if self.sources.len() > room { room - 1 } else { self.sources.len() };
            // Sources that send come before those that are lost.
            let mut order: Vec<&SourceReport> = self.sources.iter().collect();
            if shown < order.len() {
                order.sort_by_key(|report| rank(report.state));
            }
            lines.extend(order.iter().take(shown).map(|report| source_line(report, window)));
            if shown < order.len() {
                let others = count((order.len() - shown) as u64, "other source");
                lines.push(cut(&format!("  and {others}"), window));
            }
        }
        lines.truncate(rows.max(1));
        lines
    }

    /// The name, the bar and the figures. If there is too little room, the less important figures
    /// are left out.
    fn file_line(&self, window: usize) -> String {
        let percent = self.size.map_or("-".to_owned(), |size| format!("{} %", percent(self.bytes, size)));
        let percent = padded_front(&percent, 5);
        if let Some(why) = &self.waits {
            let name = cut_middle(&self.name, NAME_LEAST.max(window / 3));
            return cut(&format!("{name}  {percent}  {why}"), window);
        }
        let size = self.size.map_or("-".to_owned(), |size| Size(size).to_string());
        let sizes = format!("{} of {size}", Size(self.bytes));
        let rate = padded_front(&format!("{}/s", Size(self.rate)), 12);
        let eta = format!("eta {}", padded(&self.eta(), 5));
        // The columns for these figures, and the least columns for the name and the bar.
        let forms = [
            (vec![percent.clone(), padded_front(&sizes, 24), rate.clone(), eta.clone()], 3 * NAME_LEAST),
            (vec![percent.clone(), rate, eta.clone()], 2 * NAME_LEAST),
            (vec![percent.clone(), eta], NAME_LEAST + BAR_LEAST),
            (vec![percent], NAME_LEAST + BAR_LEAST),
        ];
        let figures = forms.iter().map(|(form, least)| (form.join("  "), least + "  []  ".len()));
        let fitting = figures.into_iter().find(|(figures, least)| least + columns(figures) <= window);
        let Some((figures, _)) = fitting else { return cut_middle(&self.name, window) };
        let room = window - columns(&figures) - "  []  ".len();
        let name = cut_middle(&self.name, (room - BAR_LEAST).min(NAME_LEAST.max(room / 2)));
        let bar = self.bar((room - columns(&name)).min(BAR_MOST));
        format!("{name}  [{bar}]  {}", figures.trim_end())
    }

    fn bar(&self, width: usize) -> String {
        let full = match self.size {
            None => 0,
            Some(0) => width,
            Some(size) => {
                usize::try_from(u128::from(self.bytes.min(size)) * width as u128 / u128::from(size)).unwrap_or(width)
            }
        };
        let (done, head) = if full < width && full > 0 { (full - 1, ">") } else { (full, "") };
        padded(&format!("{}{head}", "=".repeat(done)), width)
    }

    /// The remaining time, at the present rate.
    fn eta(&self) -> String {
        let left = self.size.map(|size| size.saturating_sub(self.bytes));
        let left = match left {
            Some(0) => return "0:00".to_owned(),
            Some(left) if self.rate > 0 => left,
            Some(_) | None => return "-:--".to_owned(),
        };
        let seconds = left.div_ceil(self.rate);
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
            (hours @ 1..100, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
            (hours, _, _) => format!("{} d", hours / 24),
        }
    }
}

/// The bars of several downloads, in at most `rows` lines. If there is not enough room, the lines
/// of the sources are left out first.
pub(crate) fn all<'a>(bars: impl Iterator<Item = &'a Bar>, window: usize, rows: usize) -> Vec<String> {
    let bars: Vec<&Bar> = bars.collect();
    let shown = if bars.len() > rows { rows.saturating_sub(1) } else { bars.len() };
    let mut spare = rows - shown - usize::from(shown < bars.len()).min(rows - shown);
    let mut lines = Vec::new();
    for bar in bars.iter().take(shown) {
        let of_bar = bar.lines(window, 1 + spare);
        spare -= of_bar.len() - 1;
        lines.extend(of_bar);
    }
    if shown < bars.len() && rows > 0 {
        let others = count((bars.len() - shown) as u64, "other download");
        lines.push(cut(&format!("and {others}"), window));
    }
    lines
}

/// The countdown of a download without a source.
pub(crate) fn giving_up(ms: u64) -> String {
    format!("no source left, giving up in {} s", ms.div_ceil(1000))
}

/// The line of a source: its address, what it has sent, and its state.
fn source_line(report: &SourceReport, window: usize) -> String {
    let source = report.source.to_string();
    let bytes = padded_front(&Size(report.bytes).to_string(), 10);
    let state = source_words(report);
    let bad = if report.bad > 0 { format!("{} bad", report.bad) } else { String::new() };
    let pieces = padded_front(&count(u64::from(report.pieces), "piece"), 12);
    let forms = [
        vec![bytes.clone(), pieces, padded(state, 10), bad.clone()],
        vec![bytes.clone(), padded(state, 10), bad],
        vec![bytes, state.to_owned()],
        vec![state.to_owned()],
    ];
    let least = 2 + columns(&source).min(SOURCE_USUAL) + 2;
    let figures: Vec<String> = forms.iter().map(|form| form.join("  ").trim_end().to_owned()).collect();
    let Some(figures) = figures.iter().find(|figures| least + columns(figures) <= window) else {
        return cut(&format!("  {source}"), window);
    };
    let source = cut_middle(&source, window - columns(figures) - 4);
    format!("  {}  {figures}", padded(&source, SOURCE_USUAL.min(window - columns(figures) - 4)))
}

fn rank(state: SourceState) -> u8 {
    match state {
        SourceState::Active => 0,
        SourceState::Stalled => 1,
        SourceState::Connecting | SourceState::Idle => 2,
        SourceState::Lost | SourceState::Dropped => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HostPort;

    fn report(port: u16, state: SourceState) -> SourceReport {
        let source = HostPort::new("127.61.195.13", port).unwrap();
        let (bad, partial) = (u32::from(port % 2), port == 45_268);
        SourceReport { source, bytes: 27 << 20, pieces: 27, bad, rate: None, partial, state, why: None }
    }

    fn bar(name: &str) -> Bar {
        let mut bar = Bar::new(name);
        bar.start(name, 128 << 20, 0);
        bar.advance(64 << 20, 128 << 20, 1 << 20, None);
        for port in 45_267..45_270 {
            bar.source(&report(port, SourceState::Active));
        }
        bar
    }

    #[test]
    fn no_line_is_wider_than_any_window_and_a_usual_one_has_a_bar_and_a_time() {
        let names = [
            "x",
            "短名.bin",
            "a name that is quite a bit longer than usual - and goes on.flac",
            &"長い名前".repeat(30),
            "e\u{301}\x1b[2J",
        ];
        for name in names {
            for window in 1..220 {
                let mut bar = bar(name);
                for (rows, gives_up) in [(1, None), (2, Some(29_400)), (9, None)] {
                    bar.gives_up_ms = gives_up;
                    let lines = bar.lines(window, rows);
                    assert!(
                        lines.len() <= rows && lines.iter().all(|line| columns(line) <= window),
                        "{window}: {lines:?}"
                    );
                    assert!(!lines.iter().any(|line| line.contains('\x1b')));
                    assert!(window < 40 || (lines[0].contains("=>") && lines[0].contains("eta 1:04")), "{lines:?}");
                    assert!(window < 40 || lines[0].contains(" 50 %"), "{lines:?}");
                    assert!(window < 100 || lines[0].contains("64.0 MiB of 128.0 MiB  "), "{lines:?}");
                }
                bar.wait(Some("no peer has it"));
                assert!(bar.lines(window, 9).len() == 1 && columns(&bar.lines(window, 9)[0]) <= window);
            }
        }
    }

    #[test]
    fn a_download_of_unknown_size_has_no_percentage() {
        let mut bar = Bar::new("x");
        bar.wait(Some("waits for a source"));
        assert_eq!(bar.lines(80, 1), ["x      -  waits for a source"]);
        bar.wait(None);
        assert!(!bar.lines(80, 1)[0].contains(['%', '=']), "{:?}", bar.lines(80, 1));
        bar.start("x", 0, 0);
        assert!(bar.lines(80, 1)[0].contains("100 %"), "an empty file is complete");
    }

    #[test]
    fn bytes_of_an_earlier_run_are_no_rate() {
        let mut bar = Bar::new("x");
        bar.start("x", 1 << 30, 1 << 29);
        assert!(bar.lines(80, 1)[0].contains("50 %") && bar.lines(80, 1)[0].contains("eta -:--"));
        bar.advance(1 << 29, 1 << 30, 1 << 20, None);
        assert!(bar.lines(80, 1)[0].contains("eta 8:32"));
    }

    #[test]
    fn the_end_for_lack_of_sources_is_counted_down() {
        let mut bar = bar("x");
        bar.advance(0, 1, 0, Some(29_001));
        assert_eq!(bar.lines(80, 9)[1], "  no source left, giving up in 30 s");
        bar.advance(0, 1, 0, None);
        assert!(!bar.lines(80, 9)[1].contains("giving up"));
    }

    #[test]
    fn the_swarm_has_a_line_and_sources_with_a_part_are_marked() {
        let mut bar = bar("x");
        let sent = 16 << 20;
        bar.swarm(Some(SwarmReport { members: 12, complete: 2, sent, up: 1 << 20, received: 64 << 20 }));
        let lines = bar.lines(80, 9);
        assert_eq!(lines[1], "  swarm of 12, 2 complete; sent 16.0 MiB at 1.0 MiB/s, ratio 0.25");
        assert!(lines[2].contains("active") && lines[3].contains("partial"), "{lines:?}");
    }

    #[test]
    fn with_few_rows_the_sources_that_send_are_shown_and_the_others_counted() {
        let mut bar = bar("x");
        bar.source(&report(1, SourceState::Lost));
        bar.source(&report(45_267, SourceState::Lost));
        let lines = bar.lines(80, 4);
        assert!(
            lines[1].contains("45268") && lines[2].contains("45269") && lines[3].contains("2 other sources"),
            "{lines:?}"
        );
    }

    #[test]
    fn several_bars_fit_in_the_rows() {
        let bars: Vec<Bar> = (0..5).map(|n| bar(&n.to_string())).collect();
        for rows in 0..30 {
            let lines = all(bars.iter(), 80, rows);
            assert!(lines.len() <= rows, "{rows}: {lines:?}");
            assert!(rows < 5 || (0..5).all(|n| lines.iter().any(|line| line.starts_with(&format!("{n}  [")))));
        }
        let lines = all(bars.iter(), 80, 3);
        assert_eq!(lines[2], "and 3 other downloads");
    }
}
