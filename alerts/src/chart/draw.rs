//! A chart as a PNG of 800 × 400 pixels, with a compiled-in font: no file and no font of the system is needed.
//!
//! Drawn in pixels, on scales of our own: plotting libraries look for round ticks in ways that need not end for hostile ranges.
//! What is not finite, or beyond ±1e15, is a gap. Refused are only charts that say nothing or contradict themselves: no point that
//! can be drawn, lengths that differ, too many points, times that don't increase or span more than 20 years.
//!
//! Liquidations: the price above; below it shorts' (bought, green) upwards and longs' (sold, red) downwards, on one scale.
//! Regimes: probabilities stacked to 1, a colour for each label. Line: the values, and where the rule fires, dashed.

use plotters::style::RGBColor;

use super::{Chart, POINTS_MAX};
use crate::facts::words::{percent, price, usd};

mod canvas;
mod scale;

use canvas::{BEAR, BULL, Canvas, GREY, INK, Panel, THRESHOLD};
use scale::{Times, Values};

/// Pixels.
pub const WIDTH: u32 = 800;
/// Pixels.
pub const HEIGHT: u32 = 400;
/// States of a model that can be told apart.
const STATES_MAX: usize = 12;

/// Why a chart can't be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChartError {
    #[error("draw a chart: it has no point that can be drawn; give at least one finite value")]
    Empty,
    #[error("draw a chart: {series} has {len} values for {times} times; give as many")]
    Lengths { series: &'static str, len: usize, times: usize },
    #[error("draw a chart: it has {count} {what}; give at most {max}")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("draw a chart: its times don't increase, or span more than 20 years")]
    Times,
    #[error("draw a chart: {reason}")]
    Backend { reason: String },
}

/// Draws a chart. It takes some milliseconds of the calling thread.
pub fn draw(chart: &Chart, title: &str) -> Result<Vec<u8>, ChartError> {
    let mut canvas = Canvas::new(title)?;
    match chart {
        Chart::Liquidations { ts, close, long_usd, short_usd } => {
            same_length(ts, &[("close", close), ("long_usd", long_usd), ("short_usd", short_usd)])?;
            liquidations(&mut canvas, &Times::new(ts)?, close, long_usd, short_usd)?;
        }
        Chart::Regimes { ts, labels, probabilities } => {
            if labels.len() > STATES_MAX {
                return Err(ChartError::TooMany { what: "states", count: labels.len(), max: STATES_MAX });
            }
            if labels.len() != probabilities.len() {
                return Err(ChartError::Lengths { series: "labels", len: labels.len(), times: probabilities.len() });
            }
            let series: Vec<(&'static str, &Vec<f64>)> = probabilities.iter().map(|series| ("probabilities", series)).collect();
            same_length(ts, &series)?;
            regimes(&mut canvas, &Times::new(ts)?, labels, probabilities)?;
        }
        Chart::Line { ts, name, values, threshold } => {
            same_length(ts, &[("values", values)])?;
            line(&mut canvas, &Times::new(ts)?, name, values, *threshold)?;
        }
    }
    canvas.png()
}

fn same_length(ts: &[i64], series: &[(&'static str, &Vec<f64>)]) -> Result<(), ChartError> {
    if ts.len() > POINTS_MAX {
        return Err(ChartError::TooMany { what: "points", count: ts.len(), max: POINTS_MAX });
    }
    match series.iter().find(|(_, values)| values.len() != ts.len()) {
        Some((series, values)) => Err(ChartError::Lengths { series, len: values.len(), times: ts.len() }),
        None => Ok(()),
    }
}

fn liquidations(canvas: &mut Canvas, times: &Times, close: &[f64], long: &[f64], short: &[f64]) -> Result<(), ChartError> {
    const PRICE: Panel = Panel { top: 54, bottom: 236 };
    const BARS: Panel = Panel { top: 250, bottom: 372 };
    let bars = long.iter().chain(short).copied().filter(|usd| scale::is_drawable(*usd));
    let largest = bars.fold(0.0, f64::max);
    let prices = Values::around(close.iter().copied());
    if prices.is_none() && largest <= 0.0 {
        return Err(ChartError::Empty);
    }
    let total = |side: &[f64]| usd(side.iter().filter(|usd| scale::is_drawable(**usd)).sum());
    canvas.legend(&[
        (INK, "price".to_owned()),
        (BULL, format!("shorts liquidated {}", total(short))),
        (BEAR, format!("longs liquidated {}", total(long))),
    ])?;
    canvas.times(times, &[PRICE, BARS])?;
    if let Some(prices) = &prices {
        canvas.values(prices, PRICE, price)?;
        canvas.path(times, prices, PRICE, close, INK)?;
    }
    // A minute without liquidations is no bar; a chart without any still shows its zero.
    let scale = Values::symmetric(if largest > 0.0 { largest } else { 1.0 });
    canvas.values(&scale, BARS, |value| if value == 0.0 { "0".to_owned() } else { usd(value.abs()) })?;
    for (index, (long, short)) in long.iter().zip(short).enumerate() {
        let (left, right) = times.bar(index);
        for (value, colour) in [(-long, BEAR), (*short, BULL)] {
            if scale::is_drawable(value) && value != 0.0 {
                canvas.bar((left, right), (BARS.y(&scale, 0.0), BARS.y(&scale, value)), colour)?;
            }
        }
    }
    canvas.rule(BARS.y(&scale, 0.0), GREY)
}

fn regimes(canvas: &mut Canvas, times: &Times, labels: &[String], probabilities: &[Vec<f64>]) -> Result<(), ChartError> {
    const PANEL: Panel = Panel { top: 54, bottom: 372 };
    if !probabilities.iter().flatten().any(|p| scale::is_drawable(*p)) {
        return Err(ChartError::Empty);
    }
    let last = |state: usize| probabilities[state].iter().rev().find(|p| scale::is_drawable(**p));
    let colours: Vec<RGBColor> = labels.iter().enumerate().map(|(state, label)| canvas::colour_of(label, state)).collect();
    let legend: Vec<(RGBColor, String)> = labels
        .iter()
        .enumerate()
        .map(|(state, label)| {
            let now = last(state).map_or(String::new(), |p| format!(" {:.0} %", p.clamp(0.0, 1.0) * 100.0));
            (colours[state], format!("{label}{now}"))
        })
        .collect();
    canvas.legend(&legend)?;
    let scale = Values::unit();
    for index in 0..times.len() {
        let mut sum = 0.0;
        for (state, series) in probabilities.iter().enumerate() {
            let p = series[index];
            if scale::is_drawable(p) && p > 0.0 {
                let next = (sum + p).min(1.0);
                canvas.bar(times.step(index), (PANEL.y(&scale, sum), PANEL.y(&scale, next)), colours[state])?;
                sum = next;
            }
        }
    }
    canvas.times(times, &[PANEL])?;
    canvas.values(&scale, PANEL, |value| percent(value).replace(".00", ""))
}

fn line(canvas: &mut Canvas, times: &Times, name: &str, values: &[f64], threshold: Option<f64>) -> Result<(), ChartError> {
    const PANEL: Panel = Panel { top: 54, bottom: 372 };
    let last = values.iter().rev().find(|value| scale::is_drawable(**value)).ok_or(ChartError::Empty)?;
    let threshold = threshold.filter(|threshold| scale::is_drawable(*threshold));
    let scale = Values::around(values.iter().copied().chain(threshold)).ok_or(ChartError::Empty)?;
    let mut legend = vec![(INK, format!("{name} {}", scale::short(*last)))];
    legend.extend(threshold.map(|threshold| (THRESHOLD, format!("threshold {}", scale::short(threshold)))));
    canvas.legend(&legend)?;
    canvas.times(times, &[PANEL])?;
    canvas.values(&scale, PANEL, scale::short)?;
    if let Some(threshold) = threshold {
        canvas.dashes(PANEL.y(&scale, threshold), THRESHOLD)?;
    }
    canvas.path(times, &scale, PANEL, values, INK)
}
