//! A simulated market pushed into a running pipeline, for commands that make their own input.

use anyhow::Context;

use crate::app::Pipeline;
use crate::simulate::{Batches, Settings, Truth};

/// Frames pushed at once.
const FRAMES_PER_BATCH: usize = 2_048;

/// A progress bar whose length is the market's minutes.
pub(super) const PROGRESS: &str = "{bar:40} {percent} % of the market's minutes {eta}";

/// Simulates and pushes until the market is over; `minute` is told how many minutes are done. Returns the truth and the number of frames.
pub(super) fn push(
    settings: Settings,
    mut pipeline: Pipeline,
    mut minute: impl FnMut(u64),
) -> anyhow::Result<(Pipeline, Truth, u64)> {
    let begin_ms = settings.start_ms;
    let mut market = Batches::new(settings, FRAMES_PER_BATCH)?;
    let mut frames = 0;
    while let Some(batch) = market.next() {
        let batch = batch.context("simulating")?;
        frames += batch.frames.len() as u64;
        minute((market.now_ms() - begin_ms).unsigned_abs() / 60_000);
        if !pipeline.input.push(batch) || pipeline.has_failed() {
            break; // finishing says why
        }
    }
    Ok((pipeline, market.truth(), frames))
}
