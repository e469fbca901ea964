//! Figures for people: the spread of some runs as text, and pictures as SVG. Drawn for the benchmark and the simulation.

mod bars;
mod lines;
mod spread;

pub use bars::{Bar, bars};
pub use lines::{Line, Lines};
pub use spread::{Spread, number};

/// Text as it may stand in an SVG.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The head of every picture: its size, its title and what is measured.
fn head(width: f64, height: f64, title: &str, unit: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"bold\">{}</text>\n\
         <text x=\"16\" y=\"48\" fill=\"#555\">{}</text>\n",
        escaped(title),
        escaped(unit),
    )
}
