//! The most probable path, in one pass of max-plus steps over lanes.
//!
//! Up to four states, a step leaves behind 16 bits: which predecessors attain the maximum, for each state; walking back is a
//! shift and a mask. More states keep their scores, and walking back finds the one maximum that matters.
//! Ties go to the lower state.

use crate::compensated::Compensated;
use crate::error::HmmError;
use crate::kernel::{Kernel, compiled};
use crate::lanes::{Block, Job, Lanes, lanes, load, store};
use crate::log_space;
use crate::model::Hmm;
use crate::observations::{Observations, Sequence};

/// The most probable states.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// State of every row.
    pub states: Vec<usize>,
    /// log p(path, rows), summed over sequences.
    pub log_probability: f64,
}

impl Path {
    /// How often the state changes within sequences of the given lengths (as [`Observations::lengths`]).
    pub fn switches(&self, lengths: &[usize]) -> usize {
        let mut from = 0;
        let mut count = 0;
        for &length in lengths {
            let to = (from + length).min(self.states.len());
            count += self.states[from..to].windows(2).filter(|w| w[0] != w[1]).count();
            from = to;
        }
        count
    }
}

impl Hmm {
    /// The most probable path of every sequence.
    pub fn viterbi(&self, observations: &Observations<'_>) -> Result<Path, HmmError> {
        observations.check_dims(self.dims())?;
        let kernel = Kernel::new(self)?;
        let trellis = &mut Trellis::new(&kernel);
        let mut states = vec![0usize; observations.len()];
        let mut total = Compensated::default();
        for sequence in observations.each() {
            let out = &mut states[sequence.first..sequence.first + sequence.len()];
            total.add(best_path(&kernel, sequence, trellis, out)?);
        }
        Ok(Path { states, log_probability: total.value() })
    }
}

/// The most probable path of one sequence into `out`, and its log-probability.
pub(crate) fn best_path(
    kernel: &Kernel,
    sequence: Sequence<'_>,
    trellis: &mut Trellis,
    out: &mut [usize],
) -> Result<f64, HmmError> {
    let best = if kernel.is_vectorised() { decode(kernel, sequence, trellis, out) } else { None };
    if let Some(best) = best {
        return Ok(best);
    }
    let (path, best) = log_space::model_path(kernel, sequence)?;
    out.copy_from_slice(&path);
    Ok(best)
}

/// log A over lanes, and what the forward pass leaves behind.
#[derive(Debug, Clone)]
pub(crate) struct Trellis {
    log_start: Vec<Block>,
    log_transition: Vec<Block>,
    /// Up to four states: bit 4i + j of step t says that predecessor i attains the best score of state j.
    choices: Vec<u16>,
    /// More states: the scores of every step.
    scores: Vec<Block>,
}

impl Trellis {
    pub(crate) fn new(kernel: &Kernel) -> Self {
        let logs = |blocks: &[Block]| blocks.iter().map(|b| Block(b.0.map(f64::ln))).collect();
        Trellis {
            log_start: logs(&kernel.start),
            log_transition: logs(&kernel.transition),
            choices: Vec::new(),
            scores: Vec::new(),
        }
    }
}

fn decode(kernel: &Kernel, sequence: Sequence<'_>, trellis: &mut Trellis, out: &mut [usize]) -> Option<f64> {
    let steps = sequence.len();
    if kernel.blocks == 1 {
        trellis.choices.resize(steps, 0);
    } else {
        trellis.scores.resize(steps * kernel.blocks, Block::ZERO);
    }
    let (last, best) = {
        let trellis = &mut *trellis;
        compiled!(kernel, MaxPlus { kernel, sequence, trellis })
    };
    if !best.is_finite() {
        return None;
    }
    let mut state = last;
    out[steps - 1] = state;
    if kernel.blocks == 1 {
        // What waits for the state of the step after is one shift and one mask; the predecessors of all states come first.
        let mut four_times = 4 * state as u32;
        for (slot, &choice) in out[..steps - 1].iter_mut().zip(&trellis.choices[1..steps]).rev() {
            four_times = predecessors(choice) >> four_times & 0xC;
            *slot = four_times as usize / 4;
        }
    } else {
        let lane = |blocks: &[Block], s: usize| blocks[s / 4].0[s % 4];
        for t in (1..steps).rev() {
            let scores = &trellis.scores[(t - 1) * kernel.blocks..t * kernel.blocks];
            let score = |i: usize| lane(scores, i) + lane(&trellis.log_transition[i * kernel.blocks..], state);
            let mut from = 0;
            (1..kernel.states).for_each(|i| from = if score(i) > score(from) { i } else { from });
            state = from;
            out[t - 1] = state;
        }
    }
    Some(best)
}

/// From which predecessors attain the maximum (bit 4i + j) to the lowest of them for each state j, times four, in nibble j.
#[inline(always)]
fn predecessors(choice: u16) -> u32 {
    /// Bit j of the index as bit 4j + 2.
    const SPREAD: [u16; 16] = {
        let mut spread = [0; 16];
        let mut n = 0;
        while n < 16 {
            spread[n] = ((n & 1) << 2 | (n & 2) << 5 | (n & 4) << 8 | (n & 8) << 11) as u16;
            n += 1;
        }
        spread
    };
    let (zero, one, two) = (choice & 15, choice >> 4 & 15, choice >> 8 & 15);
    let high = !(zero | one) & 15;
    let low = (one & !zero) | (high & !two);
    u32::from(SPREAD[usize::from(low)]) | u32::from(SPREAD[usize::from(high)]) << 1
}

/// The forward pass: the last state and its score.
struct MaxPlus<'a, const M: usize, const D: usize, const FULL: bool, const T: bool> {
    kernel: &'a Kernel,
    sequence: Sequence<'a>,
    trellis: &'a mut Trellis,
}

impl<const M: usize, const D: usize, const FULL: bool, const T: bool> Job for MaxPlus<'_, M, D, FULL, T> {
    type Output = (usize, f64);

    #[inline(always)]
    fn run<V: Lanes>(self) -> (usize, f64) {
        let MaxPlus { kernel, sequence, trellis } = self;
        let dims = if D == 0 { kernel.dims } else { D };
        let rows = trellis.log_transition.as_chunks::<M>().0;
        let start = &trellis.log_start.as_chunks::<M>().0[0];
        let mut score = [V::splat(0.0); M];
        for t in 0..sequence.len() {
            let row = &sequence.rows[t * dims..][..dims];
            let density: [V; M] = if sequence.is_incomplete(t) {
                load(&kernel.log_density_incomplete::<M>(row))
            } else {
                kernel.log_density::<V, M, D, FULL, T>(row)
            };
            if t == 0 {
                score = lanes!(V, M, m => V::load(&start[m]).add(density[m]));
            } else if M == 1 {
                let rows = &rows[..4];
                let from = score[0].spread();
                // log A + density doesn't wait for the scores: the chain from step to step is one addition and two maxima.
                const FOUR: usize = 4;
                let candidate = lanes!(V, FOUR, i => from[i].add(V::load(&rows[i][0]).add(density[0])));
                let best = candidate[0].max(candidate[1]).max(candidate[2].max(candidate[3]));
                let mut choices = 0;
                for i in 0..4 {
                    choices |= candidate[i].equal(best) << (4 * i);
                }
                trellis.choices[t] = choices as u16;
                score[0] = best;
            } else {
                let mut memory = [Block::ZERO; M];
                store(score, &mut memory);
                let mut best = [V::splat(f64::NEG_INFINITY); M];
                let rows = &rows[..kernel.states];
                for i in 0..kernel.states {
                    let from = V::splat(memory[i / 4].0[i % 4]);
                    best = lanes!(V, M, m => best[m].max(from.add(V::load(&rows[i][m]))));
                }
                score = lanes!(V, M, m => best[m].add(density[m]));
            }
            if M > 1 {
                store(score, &mut trellis.scores.as_chunks_mut::<M>().0[t]);
            }
        }
        let mut memory = [Block::ZERO; M];
        store(score, &mut memory);
        let at = |s: usize| memory[s / 4].0[s % 4];
        let last = (1..kernel.states).fold(0, |best, s| if at(s) > at(best) { s } else { best });
        (last, at(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_predecessor_wins_in_every_combination() {
        for choice in 0..=u16::MAX {
            for state in 0..4 {
                // Where none attains the maximum (a NaN), any state will do, but it must be one.
                let lowest = (0..3).find(|i| choice >> (4 * i + state) & 1 == 1).unwrap_or(3);
                assert_eq!(predecessors(choice) >> (4 * state) & 0xF, 4 * lowest, "{choice:016b} {state}");
            }
        }
    }
}
