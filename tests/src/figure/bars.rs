//! One picture: horizontal bars with their names, their values, and a line from the least to the most of the runs.

use std::fmt::Write;

use super::{Spread, escaped, head, number};

const WIDTH: f64 = 900.0;
const BARS_FROM: f64 = 230.0;
const BARS_TO: f64 = 760.0;
const TOP: f64 = 64.0;
const ROW: f64 = 32.0;
const BAR: f64 = 20.0;
const OURS: &str = "#1d6fb8";
const OTHERS: &str = "#a3b1bf";

pub struct Bar {
    pub name: String,
    pub value: Spread,
}

/// An SVG. `unit` says what the bars measure; less is better unless it says otherwise.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value.max).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| BARS_FROM + (BARS_TO - BARS_FROM) * value.max(0.0) / most;
    let height = TOP + ROW * bars.len() as f64 + 16.0;
    let mut svg = head(WIDTH, height, title, unit);
    for (index, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        let (middle, baseline) = (top + BAR / 2.0, top + BAR - 5.0);
        let colour = if bar.name.starts_with("weft") { OURS } else { OTHERS };
        let Spread { median, min, max } = bar.value;
        let (end, min, max) = (x(median), x(min), x(max));
        let _ = write!(
            svg,
            "<text x=\"{name_end}\" y=\"{baseline}\" text-anchor=\"end\">{name}</text>\n\
             <rect x=\"{BARS_FROM}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <path d=\"M{min:.1} {middle}H{max:.1}\" stroke=\"#222\" stroke-width=\"2\"/>\n\
             <text x=\"{value_start:.1}\" y=\"{baseline}\">{value}</text>\n",
            name_end = BARS_FROM - 10.0,
            name = escaped(&bar.name),
            width = end - BARS_FROM,
            value_start = end.max(max) + 8.0,
            value = number(median),
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_ends_where_the_room_ends() {
        let value = |median| Spread { median, min: median, max: median };
        let svg = bars(
            "a < b",
            "s",
            &[Bar { name: "weft".into(), value: value(1.0) }, Bar { name: "other".into(), value: value(2.0) }],
        );
        assert!(svg.contains("a &lt; b") && svg.contains("width=\"530.0\"") && svg.contains("width=\"265.0\""));
        assert_eq!(svg.matches(OURS).count(), 1);
    }
}
