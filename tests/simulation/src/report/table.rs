//! The results as Markdown.

use std::fmt::Write;

use super::Result;
use crate::scenarios::Measure;

/// Everything that is generated of the document.
pub fn section(results: &[Result]) -> String {
    let seeds = results.first().map_or(0, |result| result.seeds.len());
    let mut text = format!("Medians of {seeds} seeds, in brackets the least and the most.\n");
    for result in results {
        let scenario = &result.scenario;
        let _ = write!(text, "\n### {}\n\n{}\n\n", scenario.title, scenario.story);
        let _ = write!(text, "![{}](resilience/{}.svg)\n\n", scenario.title, scenario.name);
        table(&mut text, result);
        for finding in scenario.findings {
            let _ = writeln!(text, "- {finding}");
        }
        if !scenario.claims.is_empty() {
            let _ = writeln!(text, "\nWith each seed:\n");
        }
        for claim in &scenario.claims {
            let _ = writeln!(text, "- {claim}");
        }
    }
    text
}

fn table(text: &mut String, result: &Result) {
    let columns = result.scenario.columns;
    let headings: Vec<&str> = columns.iter().map(|measure| measure.heading()).collect();
    let _ = writeln!(text, "| policies | {} |\n|---|{}", headings.join(" | "), "---|".repeat(columns.len()));
    for (index, variant) in result.scenario.variants.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|measure| result.spread(index, *measure).to_string()).collect();
        let _ = writeln!(text, "| {} | {} |", variant.name, cells.join(" | "));
    }
    text.push('\n');
}

impl Measure {
    pub fn heading(self) -> &'static str {
        match self {
            Self::GoodputDuring => "goodput during the fault, %",
            Self::GoodputAfter => "goodput afterwards, %",
            Self::NeighbourGoodput => "goodput of the neighbour, %",
            Self::Attempts => "attempts per request",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Share => "traffic to the faulty endpoints, %",
        }
    }
}
