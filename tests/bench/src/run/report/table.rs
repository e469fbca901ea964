//! The report as tables for a terminal.

use std::fmt::Write;

use weft_tests::figure::number;

use super::{
    Goal, MemoryFigures, PeerFigures, Report, Run, Spread, WorkFigures,
    pictures::{PERCENTILES, Percentile},
};
use crate::{run::machine::Machine, scale};

pub fn table(report: &Report) -> String {
    let mut text = heading(report);
    for work in &report.works {
        section(&mut text, &format!("({}) {}", work.id, work.title), &work_rows(work));
    }
    section(&mut text, "System calls per request, work (a)", &system_call_rows(report));
    section(&mut text, "Resident memory, MiB; KiB per idle connection over that", &memory_rows(report));
    section(&mut text, "Start to ready, ms", &start_rows(report));
    section(&mut text, "Size of the binary, MiB", &binary_rows(report));
    if let Some(scale) = &report.scale {
        text += &scale::table::table(scale);
        text.push('\n');
    }
    section(&mut text, "Goals", &goal_rows(&report.goals));
    for missing in &report.left_out.0 {
        let _ = writeln!(text, "left out: {missing}");
    }
    text
}

fn heading(report: &Report) -> String {
    let Machine { date, commit, cpu, cpus, memory_mib, kernel } = &report.machine;
    let versions: String = report.versions.iter().map(|(name, said)| format!("  {name}: {said}\n")).collect();
    let (runs, seconds) = (report.runs, report.seconds_per_run);
    format!(
        "{date}, commit {commit}; {cpu}, {cpus} CPUs, {memory_mib} MiB, {kernel}\n{versions}\
         Medians of {runs} runs of {seconds} s, in turns (in brackets: the least and the most). One CPU s/100k is 10 µs per request.\n\n"
    )
}

/// Nothing where there is nothing but a heading. The first row names the columns.
fn section(text: &mut String, heading: &str, rows: &[Vec<String>]) {
    if rows.len() < 2 {
        return;
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let _ = writeln!(text, "{heading}");
    for row in rows {
        let cell = |(index, (cell, width)): (usize, (&String, &usize))| match index {
            0 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
        let line: String = row.iter().zip(&widths).enumerate().map(cell).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text);
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn work_rows(work: &WorkFigures) -> Vec<Vec<String>> {
    let cost = if work.body.is_some() { "CPU s/GiB" } else { "CPU s/100k" };
    let mut rows = vec![row([
        "", cost, "out", "in", "user %", "req/s", "p50 µs", "p99", "p99.9", "+p50", "+p99", "+p99.9", "failed",
    ])];
    let direct = work.peer("direct");
    rows.extend(work.peers.iter().map(|figures| work_row(work, figures, direct)));
    rows
}

fn work_row(work: &WorkFigures, figures: &PeerFigures, direct: Option<&PeerFigures>) -> Vec<String> {
    let median = |figure: &dyn Fn(&Run) -> Option<f64>| figures.spread(figure).map(|spread| spread.median);
    let scale = work.body.map_or(1.0, |body| f64::from(1 << 30) / body as f64 / 1e5);
    let cost = |run: &Run| Some(run.cpu_per_100k()? * scale);
    // What a peer adds: nothing to say of the one without a proxy.
    let direct = direct.filter(|direct| direct.peer != figures.peer);
    let added = |percentile: Percentile| Some(median(&percentile)? - direct?.spread(percentile)?.median);
    let mut row = vec![
        figures.peer.clone(),
        figures.spread(cost).map_or_else(String::new, |spread| spread.to_string()),
        cell(median(&|run| Some(run.side_cpu_per_100k(0)? * scale))),
        cell(median(&|run| Some(run.side_cpu_per_100k(1)? * scale))),
        cell(median(&|run| Some(run.user_share()? * 100.0))),
        figures.spread(Run::rate).map_or_else(String::new, |spread| spread.to_string()),
    ];
    row.extend(PERCENTILES.map(|(_, _, percentile)| cell(median(&percentile))));
    row.extend(PERCENTILES.map(|(_, _, percentile)| cell(added(percentile))));
    row.push(if figures.failed() > 0 { figures.failed().to_string() } else { String::new() });
    row
}

fn cell(value: Option<f64>) -> String {
    value.map(number).unwrap_or_default()
}

fn system_call_rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "outbound", "inbound", "counted by"])];
    rows.extend(report.system_calls.iter().map(|figures| {
        let mut row = vec![figures.peer.clone()];
        row.extend(figures.per_request.iter().map(|(_, calls)| number(*calls)));
        row.push(figures.counted_by.to_owned());
        row
    }));
    rows
}

fn memory_rows(report: &Report) -> Vec<Vec<String>> {
    let mut heading = row(["", "idle out", "idle in"]);
    let most = report.memory.iter().max_by_key(|figures| figures.with_connections.len());
    for with in most.iter().flat_map(|figures| &figures.with_connections) {
        heading.extend(["out", "in"].map(|side| format!("{} {side}", with.connections)));
        heading.extend(["out", "in"].map(|side| format!("KiB/conn {side}")));
    }
    let mut rows = vec![heading];
    rows.extend(report.memory.iter().map(memory_row));
    rows
}

fn memory_row(figures: &MemoryFigures) -> Vec<String> {
    let mib = |(_, kib): &(&str, u64)| number(*kib as f64 / 1024.0);
    let mut row = vec![figures.peer.clone()];
    row.extend(figures.idle.iter().map(mib));
    for with in &figures.with_connections {
        row.extend(with.resident.iter().map(mib));
        row.extend(with.per_connection.iter().map(|(_, kib)| number(*kib)));
    }
    row
}

fn start_rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "median (min..max)"])];
    rows.extend(
        report
            .starts
            .iter()
            .filter_map(|figures| Some(vec![figures.peer.clone(), Spread::of(figures.ready_ms.clone())?.to_string()])),
    );
    rows
}

fn binary_rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "MiB"])];
    let mib = |bytes: &u64| number(*bytes as f64 / f64::from(1 << 20));
    rows.extend(report.binaries.iter().map(|(name, bytes)| vec![name.clone(), mib(bytes)]));
    rows
}

fn goal_rows(goals: &[Goal]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "must", "aim", "measured", ""])];
    rows.extend(goals.iter().map(|goal| {
        let limit = |value: f64| format!("≤ {} {}", number(value), goal.unit).trim_end().to_owned();
        let measured = goal.measured.map_or_else(|| "-".to_owned(), number);
        vec![goal.figure.to_owned(), limit(goal.must), limit(goal.aim), measured, goal.verdict.to_owned()]
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut text = String::new();
        section(&mut text, "Sizes", &[row(["", "MiB"]), row(["weft", "11.3"]), row(["a longer name", "9"])]);
        assert_eq!(text, "Sizes\n                  MiB\n  weft           11.3\n  a longer name     9\n\n");
    }

    #[test]
    fn what_was_not_measured_takes_no_room() {
        let mut text = String::new();
        section(&mut text, "Sizes", &[row(["", "MiB"])]);
        assert_eq!(text, "");
    }
}
