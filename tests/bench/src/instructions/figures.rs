//! The figures that are checked in, and whether others are as good.

use std::{collections::BTreeMap, fmt, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::callgrind;

/// How far a figure may be from the one that is checked in. Runs of the same binary differ by less than 0.5 %.
const BAND_PERCENT: u64 = 5;
const ABOUT: &str = "Instructions per request of each sidecar, counted by callgrind. The check fails when one grows by \
                     more than 5 %: then make it cheaper, or update the figures and say in the change what they buy.";
const UPDATE: &str = "cargo build --release && cargo run -p weft-bench -- instructions --write";

/// Instructions for one request, in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub outbound: u64,
    pub inbound: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    about: String,
    update: String,
    measured_with: MeasuredWith,
    /// By the name of the work.
    instructions_per_request: BTreeMap<String, Cost>,
}

/// What the figures depend on besides the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasuredWith {
    architecture: String,
    toolchain: String,
    profile: String,
    valgrind: String,
}

impl fmt::Display for MeasuredWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { architecture, toolchain, profile, valgrind } = self;
        write!(f, "{toolchain}, profile {profile}, {valgrind}, {architecture}")
    }
}

impl Figures {
    pub fn of_this_machine(instructions_per_request: BTreeMap<String, Cost>) -> anyhow::Result<Self> {
        let rustc = Command::new("rustc").arg("--version").output().context("rustc --version")?;
        let measured_with = MeasuredWith {
            architecture: std::env::consts::ARCH.into(),
            toolchain: String::from_utf8_lossy(&rustc.stdout).trim().into(),
            profile: "release".into(),
            valgrind: callgrind::version()?,
        };
        Ok(Self { about: ABOUT.into(), update: UPDATE.into(), measured_with, instructions_per_request })
    }

    pub fn read() -> anyhow::Result<Self> {
        let path = path();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read; make it with: {UPDATE}", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub fn write(&self) -> anyhow::Result<()> {
        let path = path();
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| path.display().to_string())?;
        println!("written to {}", path.display());
        Ok(())
    }

    /// Prints these figures, beside those that are checked in where there are any.
    pub fn print(&self, stored: Option<&Self>) {
        println!("{:24} {:9} {:>10} {:>10}", "instructions per request", "", "checked in", "now");
        for (work, side, now) in self.each() {
            match stored.and_then(|stored| stored.get(work, side)) {
                Some(before) => println!("{work:24} {side:9} {before:>10} {now:>10} {:>+7.1} %", percent(before, now)),
                None => println!("{work:24} {side:9} {:>10} {now:>10}", "-"),
            }
        }
    }

    /// Notes for whoever reads the run.
    ///
    /// # Errors
    /// A figure is above the band, or cannot be compared.
    pub fn check(&self, stored: &Self) -> anyhow::Result<Vec<String>> {
        let (ours, theirs) = (&self.measured_with, &stored.measured_with);
        if ours.architecture != theirs.architecture {
            bail!(
                "the figures are those of {}, and say nothing about {}; there, compare two builds with --binary",
                theirs.architecture,
                ours.architecture
            );
        }
        if !self.instructions_per_request.keys().eq(stored.instructions_per_request.keys()) {
            bail!("{} is about other works than are measured now; update it: {UPDATE}", path().display());
        }
        let above = self.beyond(stored, |before, now| now * 100 > before * (100 + BAND_PERCENT));
        if !above.is_empty() {
            bail!(
                "more than {BAND_PERCENT} % above the figures that are checked in: {above}.\n\
                 To see where they go: weft-bench instructions --profiles DIR, before and after the change, and \
                 callgrind_annotate DIR/FILE.\n\
                 If they buy something that is worth it, update the figures and say what in the change: {UPDATE}"
            );
        }
        let mut notes = Vec::new();
        let below = self.beyond(stored, |before, now| now * 100 < before * (100 - BAND_PERCENT));
        if !below.is_empty() {
            notes.push(format!(
                "better by more than {BAND_PERCENT} %: {below}; to keep it so, lower the figures: {UPDATE}"
            ));
        }
        if ours != theirs {
            notes.push(format!("checked in with {theirs}; now {ours}"));
        }
        Ok(notes)
    }

    fn beyond(&self, stored: &Self, wanted: impl Fn(u64, u64) -> bool) -> String {
        let compared = self.each().filter_map(|(work, side, now)| {
            let before = stored.get(work, side)?;
            wanted(before, now)
                .then(|| format!("{work} {side}, from {before} to {now} ({:+.1} %)", percent(before, now)))
        });
        compared.collect::<Vec<_>>().join("; ")
    }

    fn each(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.instructions_per_request
            .iter()
            .flat_map(|(work, cost)| [(work.as_str(), "outbound", cost.outbound), (work, "inbound", cost.inbound)])
    }

    fn get(&self, work: &str, side: &str) -> Option<u64> {
        self.each().find(|(name, of, _)| (*name, *of) == (work, side)).map(|(_, _, count)| count)
    }
}

fn percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(outbound: u64, inbound: u64) -> Figures {
        let measured_with = MeasuredWith {
            architecture: "x86_64".into(),
            toolchain: "rustc 1.95.0".into(),
            profile: "release".into(),
            valgrind: "valgrind-3.19.0".into(),
        };
        let costs = BTreeMap::from([("http1".to_owned(), Cost { outbound, inbound })]);
        Figures { about: String::new(), update: String::new(), measured_with, instructions_per_request: costs }
    }

    #[test]
    fn growth_beyond_the_band_fails_and_says_which() {
        let stored = figures(1000, 2000);
        assert!(figures(1050, 2100).check(&stored).unwrap().is_empty());
        let error = figures(1000, 2120).check(&stored).unwrap_err().to_string();
        assert!(error.contains("http1 inbound, from 2000 to 2120 (+6.0 %)"), "{error}");
        assert!(!error.contains("outbound") && error.contains("--write"), "{error}");
    }

    #[test]
    fn what_became_better_is_a_note() {
        let notes = figures(900, 2000).check(&figures(1000, 2000)).unwrap();
        assert!(notes.len() == 1 && notes[0].contains("http1 outbound, from 1000 to 900 (-10.0 %)"), "{notes:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_not_passed() {
        let stored = figures(1000, 2000);
        let mut other = figures(1000, 2000);
        other.measured_with.architecture = "aarch64".into();
        assert!(other.check(&stored).is_err());
        let mut more = figures(1000, 2000);
        more.instructions_per_request.insert("http2".into(), Cost { outbound: 1, inbound: 1 });
        assert!(more.check(&stored).is_err() && stored.check(&more).is_err());
    }

    #[test]
    fn the_file_is_what_this_program_writes() {
        let stored = Figures::read().unwrap();
        assert_eq!((stored.about.as_str(), stored.update.as_str()), (ABOUT, UPDATE));
        let works: Vec<_> = stored.instructions_per_request.keys().map(String::as_str).collect();
        assert_eq!(works, super::super::Work::ALL.map(super::super::Work::name));
    }
}
