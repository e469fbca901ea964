//! One picture for each scenario.

use weft_tests::figure::{Bar, Line, Lines, Spread, bars};

use super::Result;
use crate::scenarios::{Measure, Picture};

/// An SVG.
pub fn picture(result: &Result) -> String {
    match result.scenario.picture {
        Picture::Goodput => goodput(result).svg(),
        Picture::Bars(measure) => bars_of(result, measure),
    }
}

fn goodput(result: &Result) -> Lines {
    let focus = &result.scenario.focus;
    let whose = if focus.neighbour.is_some() { " of the neighbour" } else { "" };
    let line = |(index, variant): (usize, &crate::scenarios::Variant)| {
        let of_second = |second: usize| {
            let values = result.figures(index).map(|figures| figures.goodput[second]).collect();
            Spread::of(values).expect("at least one seed").median
        };
        Line { name: variant.name.into(), percents: (0..focus.after.end.as_secs() as usize).map(of_second).collect() }
    };
    Lines {
        title: result.scenario.title.into(),
        unit: format!(
            "goodput{whose}, %, by the second in which a request was made; the fault is there in the grey part"
        ),
        marked: focus.fault.start.as_secs_f64()..focus.fault.end.as_secs_f64(),
        lines: result.scenario.variants.iter().enumerate().map(line).collect(),
    }
}

fn bars_of(result: &Result, measure: Measure) -> String {
    let bar = |(index, variant): (usize, &crate::scenarios::Variant)| Bar {
        name: variant.name.into(),
        value: result.spread(index, measure),
    };
    let rows: Vec<Bar> = result.scenario.variants.iter().enumerate().map(bar).collect();
    bars(result.scenario.title, measure.heading(), &rows)
}
