//! One picture: lines over time, with the part of the time marked in which something was wrong.

use std::{fmt::Write, ops::Range};

use super::{escaped, head};

const WIDTH: f64 = 940.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 316.0;
const COLOURS: [&str; 8] = ["#b3261e", "#1d6fb8", "#e08a00", "#2e7d32", "#7b4fa3", "#607080", "#00838f", "#ad1457"];

/// Percent, one value for each second.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub percents: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    pub title: String,
    /// What the lines measure.
    pub unit: String,
    /// In seconds.
    pub marked: Range<f64>,
    pub lines: Vec<Line>,
}

impl Lines {
    pub fn svg(&self) -> String {
        let seconds = self.lines.iter().map(|line| line.percents.len()).max().unwrap_or(0).max(1) as f64;
        let x = |second: f64| LEFT + (RIGHT - LEFT) * second / seconds;
        let mut svg = head(WIDTH, HEIGHT, &self.title, &self.unit);
        let (from, until) = (x(self.marked.start), x(self.marked.end));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#eee\"/>",
            until - from,
            BOTTOM - TOP
        );
        axes(&mut svg, seconds, x);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<String> = (0..)
                .zip(&line.percents)
                .map(|(second, percent)| format!("{:.1},{:.1}", x(f64::from(second) + 0.5), y(*percent)))
                .collect();
            let baseline = TOP + 12.0 + 24.0 * index as f64;
            let _ = write!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
                 <rect x=\"{key}\" y=\"{key_top}\" width=\"16\" height=\"4\" fill=\"{colour}\"/>\n\
                 <text x=\"{text}\" y=\"{baseline}\">{}</text>\n",
                points.join(" "),
                escaped(&line.name),
                key = RIGHT + 16.0,
                key_top = baseline - 7.0,
                text = RIGHT + 40.0,
            );
        }
        svg + "</svg>\n"
    }
}

fn y(percent: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * percent.clamp(0.0, 100.0) / 100.0
}

fn axes(svg: &mut String, seconds: f64, x: impl Fn(f64) -> f64) {
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let level = y(percent);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {level:.1}H{RIGHT}\" stroke=\"#ccc\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>\n",
            LEFT - 8.0,
            level + 5.0
        );
    }
    for second in (0..=seconds as u32).step_by(5) {
        let place = x(f64::from(second));
        let _ =
            writeln!(svg, "<text x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>", BOTTOM + 22.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_in_their_frame() {
        let line = |name: &str, percents: &[f64]| Line { name: name.into(), percents: percents.to_vec() };
        let lines = Lines {
            title: "a < b".into(),
            unit: "percent".into(),
            marked: 1.0..2.0,
            lines: vec![line("first", &[0.0, 100.0]), line("second", &[120.0])],
        };
        let svg = lines.svg();
        assert!(svg.contains("a &lt; b"), "{svg}");
        assert!(svg.contains("<rect x=\"330.0\" y=\"64\" width=\"270.0\""), "the second half is marked: {svg}");
        assert!(svg.contains("points=\"195.0,316.0 465.0,64.0\""), "{svg}");
        assert!(svg.contains("points=\"195.0,64.0\""), "what is above 100 % is drawn there: {svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
    }
}
