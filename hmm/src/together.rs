//! Whether models can be evaluated together on this processor, and by what.

use crate::kernel::Kernel;
use crate::observations::Observations;
use crate::statistics::Statistics;

#[cfg(target_arch = "x86_64")]
use crate::{
    interleaved::{self, SideWorkspace},
    lanes::Block,
    side_by_side::{Block8, Cell, models_at_once},
};

/// E-steps of several models at once, and the memory that they reuse.
#[derive(Default)]
pub(crate) struct Together {
    #[cfg(target_arch = "x86_64")]
    four: SideWorkspace<Block>,
    #[cfg(target_arch = "x86_64")]
    eight: SideWorkspace<Block8>,
}

#[cfg(target_arch = "x86_64")]
impl Together {
    /// How many models go together; one where there is nothing to gain.
    pub(crate) fn at_once() -> usize {
        models_at_once().max(1)
    }

    /// The statistics of all models, or `None` where each has to go by itself.
    pub(crate) fn e_step(&mut self, kernels: &[&Kernel], observations: &Observations<'_>) -> Option<Vec<Statistics>> {
        // Three models, the other lanes filled with repeats, are still cheaper than one by one.
        if kernels.len() < 3 || !interleaved::fits(kernels[0].states, observations) {
            return None;
        }
        let lanes = Self::at_once();
        let padded: Vec<&Kernel> = kernels.iter().copied().cycle().take(lanes).collect();
        match lanes {
            Block8::MODELS => interleaved::e_step(&padded, observations, &mut self.eight),
            _ => interleaved::e_step(&padded, observations, &mut self.four),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Together {
    pub(crate) fn at_once() -> usize {
        1
    }

    pub(crate) fn e_step(&mut self, _: &[&Kernel], _: &Observations<'_>) -> Option<Vec<Statistics>> {
        None
    }
}
