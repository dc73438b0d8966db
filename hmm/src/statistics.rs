//! Sufficient statistics of one E-step, and the M-step's closed forms on them.
//!
//! First and second moments are taken about the *old* means: deviations stay small, so nothing cancels however far the data
//! lie from zero. Lower triangles are packed row by row: (0,0) (1,0) (1,1) (2,0) …

use crate::emission::StateDensity;

/// Expected counts and moments. K states, D dimensions, P = D (diagonal) or D(D+1)/2 second moments.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub dims: usize,
    pub full: bool,
    /// Σ over sequences of γ_1, K.
    pub start: Vec<f64>,
    /// Expected transitions, K × K.
    pub transitions: Vec<f64>,
    /// Σ γ, K.
    pub weight: Vec<f64>,
    /// Σ γ u, K (equals `weight` for Gaussians).
    pub robust: Vec<f64>,
    /// Σ γ (E ln u − E u), K; zero for Gaussians.
    pub log_minus: Vec<f64>,
    /// Σ γ u (x − μ), K × D.
    pub first: Vec<f64>,
    /// Σ γ u (x − μ)(x − μ)ᵀ, K × P.
    pub second: Vec<f64>,
    pub log_likelihood: f64,
}

impl Statistics {
    pub(crate) fn new(states: usize, dims: usize, full: bool) -> Self {
        let moments = Self::moments(dims, full);
        Statistics {
            dims,
            full,
            start: vec![0.0; states],
            transitions: vec![0.0; states * states],
            weight: vec![0.0; states],
            robust: vec![0.0; states],
            log_minus: vec![0.0; states],
            first: vec![0.0; states * dims],
            second: vec![0.0; states * moments],
            log_likelihood: 0.0,
        }
    }

    pub(crate) fn moments(dims: usize, full: bool) -> usize {
        if full { dims * (dims + 1) / 2 } else { dims }
    }

    pub(crate) fn clear(&mut self) {
        for part in [
            &mut self.start,
            &mut self.transitions,
            &mut self.weight,
            &mut self.robust,
            &mut self.log_minus,
            &mut self.first,
            &mut self.second,
        ] {
            part.fill(0.0);
        }
        self.log_likelihood = 0.0;
    }

    /// Adds another part's sums (not its log-likelihood: that is summed with care elsewhere).
    pub(crate) fn merge(&mut self, part: &Statistics) {
        let pairs = [
            (&mut self.start, &part.start),
            (&mut self.transitions, &part.transitions),
            (&mut self.weight, &part.weight),
            (&mut self.robust, &part.robust),
            (&mut self.log_minus, &part.log_minus),
            (&mut self.first, &part.first),
            (&mut self.second, &part.second),
        ];
        for (sum, terms) in pairs {
            sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    /// Adds one row, complete or not, that belongs to `state` with probability `gamma`.
    pub(crate) fn add(&mut self, density: &StateDensity, state: usize, gamma: f64, row: &[f64]) {
        if gamma == 0.0 {
            return;
        }
        let d = self.dims;
        let completed = density.complete(row);
        let robust = gamma * completed.weight;
        self.weight[state] += gamma;
        self.robust[state] += robust;
        self.log_minus[state] += gamma * completed.log_minus;
        let deviation = &completed.deviation;
        for i in 0..d {
            self.first[state * d + i] += robust * deviation[i];
        }
        let extra = |i: usize, j: usize| completed.extra.as_ref().map_or(0.0, |e| gamma * e[i * d + j]);
        let second = &mut self.second[state * Self::moments(d, self.full)..];
        if self.full {
            let mut n = 0;
            for i in 0..d {
                for j in 0..=i {
                    second[n] += robust * deviation[i] * deviation[j] + extra(i, j);
                    n += 1;
                }
            }
        } else {
            for i in 0..d {
                second[i] += robust * deviation[i] * deviation[i] + extra(i, i);
            }
        }
    }

    /// How far the state's mean moves: Σγu(x − μ) / Σγu.
    pub(crate) fn shift(&self, state: usize) -> Vec<f64> {
        let robust = self.robust[state];
        let first = &self.first[state * self.dims..(state + 1) * self.dims];
        first.iter().map(|f| if robust > 0.0 { f / robust } else { 0.0 }).collect()
    }

    /// Scatter about the *new* mean, D × D (off-diagonal zero where only diagonals are kept): divide by the weight for Σ.
    pub(crate) fn scatter(&self, state: usize) -> Vec<f64> {
        let (d, shift, robust) = (self.dims, self.shift(state), self.robust[state]);
        let second = &self.second[state * Self::moments(d, self.full)..];
        let mut scatter = vec![0.0; d * d];
        for i in 0..d {
            let from = if self.full { 0 } else { i };
            for j in from..=i {
                let packed = if self.full { second[i * (i + 1) / 2 + j] } else { second[i] };
                let value = packed - robust * shift[i] * shift[j];
                scatter[i * d + j] = value;
                scatter[j * d + i] = value;
            }
        }
        scatter
    }
}
