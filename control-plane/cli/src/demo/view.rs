//! What a person sees of the demo: a live view at a terminal, plain lines elsewhere, one JSON object per step with
//! `--output json`.

use std::{io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{
    odds::percent,
    traffic::{self, Sample},
};
use crate::output::{self, BAD, BOLD, CALM, DIM, Format, GOOD, Text, WARN};

const BAR: usize = 40;

/// What one step was to show, and whether it did.
#[derive(Debug, Serialize)]
pub struct Report {
    pub step: usize,
    pub title: &'static str,
    pub held: bool,
    pub commands: Vec<String>,
    pub checks: Vec<Check>,
    pub seconds: f64,
}

#[derive(Debug, Serialize)]
pub struct Check {
    pub expected: String,
    pub measured: String,
    pub held: bool,
}

pub enum View {
    Live(Live),
    Plain,
    Json,
}

pub struct Live {
    all: MultiProgress,
    spinner: ProgressBar,
    split: ProgressBar,
    circuit: ProgressBar,
}

impl View {
    pub fn open(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Yaml | Format::Table if std::io::stdout().is_terminal() => Self::Live(Live::open()),
            Format::Yaml | Format::Table => Self::Plain,
        }
    }

    /// A headline.
    pub fn title(&self, text: &str) {
        self.line("");
        self.line(Text::styled(text, BOLD));
    }

    pub fn say(&self, text: &str) {
        self.line(format!("  {text}"));
    }

    /// A command as a person would type it.
    pub fn command(&self, line: &str) {
        self.line(Text::from("  ").and_styled(format!("$ {line}"), CALM));
    }

    /// What a command printed, or what is in a file.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            self.line(Text::from("  ").and_styled(format!("│ {line}"), DIM));
        }
    }

    pub fn check(&self, check: &Check) {
        let Check { expected, measured, held } = check;
        self.line(match held {
            true => Text::from("  ")
                .and_styled("✓", GOOD)
                .and(format!(" {expected}"))
                .and_styled(format!(": {measured}"), DIM),
            false => Text::from("  ").and_styled(format!("✗ {expected}: {measured}"), BAD),
        });
    }

    pub fn report(&self, report: &Report) -> std::io::Result<()> {
        match self {
            Self::Json => output::data(&format!("{}\n", serde_json::to_string(report)?)),
            Self::Live(_) | Self::Plain => Ok(()),
        }
    }

    /// What goes on at this moment; only a live view shows it.
    pub fn doing(&self, text: &str) {
        if let Self::Live(live) = self {
            live.spinner.set_message(painted(&text.into()));
        }
    }

    /// How the requests of this step are answered, at this moment.
    pub fn sample(&self, samples: &[Sample], circuit: Option<&str>) {
        if let Self::Live(live) = self {
            live.split.set_message(painted(&split(samples)));
            live.circuit.set_message(painted(&circuit.map(circuit_line).unwrap_or_default()));
        }
    }

    /// Nothing goes on any more.
    pub fn rest(&self) {
        if let Self::Live(live) = self {
            live.split.set_message("");
            live.circuit.set_message("");
        }
    }

    pub fn close(&self) {
        if let Self::Live(live) = self {
            live.spinner.finish_and_clear();
            live.split.finish_and_clear();
            live.circuit.finish_and_clear();
        }
    }

    fn line(&self, text: impl Into<Text>) {
        let text = text.into();
        match self {
            // A reader that has gone is not a reason to stop the mesh untidily.
            Self::Plain => _ = output::line(text),
            Self::Live(live) => _ = live.all.println(painted(&text)),
            Self::Json => {}
        }
    }
}

impl Live {
    fn open() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let line = |template: &str| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            all.add(ProgressBar::new_spinner().with_style(style))
        };
        let (spinner, split, circuit) = (line("{spinner} {wide_msg}"), line("  {wide_msg}"), line("  {wide_msg}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self { all, spinner, split, circuit }
    }
}

/// indicatif writes past `anstream`, so that `--color` and NO_COLOR are honoured here.
fn painted(text: &Text) -> String {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text.as_str()).to_string(),
        _ => text.as_str().to_owned(),
    }
}

fn split(samples: &[Sample]) -> Text {
    let n = samples.len();
    let of = |version: &str| traffic::count(samples, |sample| sample.is_ok() && sample.is_from(version));
    let (v1, v2) = (of("v1"), of("v2"));
    let failed = traffic::count(samples, |sample| !sample.is_ok());
    let cells = |hits: usize| (hits * BAR + n / 2).checked_div(n).unwrap_or(0);
    let (first, second) = (cells(v1), cells(v2));
    let rest = BAR.saturating_sub(first + second);
    let shares = format!("  {n} requests  v1 {}  v2 {}  failed {failed}", percent(v1, n), percent(v2, n));
    Text::styled("█".repeat(first), CALM)
        .and_styled("█".repeat(second), WARN)
        .and_styled("░".repeat(rest), BAD)
        .and(shares)
}

fn circuit_line(state: &str) -> Text {
    let style = match state {
        "closed" => GOOD,
        "open" => BAD,
        _ => WARN,
    };
    Text::from("circuit to orders-v2: ").and_styled(state, style)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::demo::app::Answer;

    fn sample(version: &str, status: u16) -> Sample {
        let answer = Answer { status, version: Some(version.to_owned()), ..Answer::default() };
        Sample { user: 0, sent: Instant::now(), took: Duration::ZERO, answer, error: None }
    }

    #[test]
    fn the_bar_is_as_wide_as_the_shares() {
        let samples: Vec<_> = (0..10)
            .map(|n| {
                if n == 0 {
                    sample("v2", 503)
                } else if n < 4 {
                    sample("v2", 200)
                } else {
                    sample("v1", 200)
                }
            })
            .collect();
        let text = anstream::adapter::strip_str(split(&samples).as_str()).to_string();
        assert_eq!(text.matches('█').count(), 36);
        assert_eq!(text.matches('░').count(), 4);
        assert!(text.ends_with("10 requests  v1 60.0 %  v2 30.0 %  failed 1"), "{text}");
        assert!(split(&[]).as_str().contains("0 requests"));
    }

    #[test]
    fn a_report_is_one_json_object_in_one_line() {
        let checks = vec![Check { expected: "a".into(), measured: "b".into(), held: true }];
        let report =
            Report { step: 1, title: "t", held: true, commands: vec!["weft status".into()], checks, seconds: 0.5 };
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["checks"][0]["held"], true);
    }
}
