//! The class of a level, with hysteresis.

use crate::model::VolatilityRegime;

/// The regime after a level was seen: one is left only when the level is beyond its boundary by the `hysteresis` fraction of it; several steps are one change.
/// Without a regime before, the level alone decides. `boundaries`: the upper bounds of STABLE, HIGH_VOL and EXPLOSIVE, rising, in the unit of `level`.
#[must_use]
pub fn next_regime(regime: Option<VolatilityRegime>, level: f64, boundaries: &[f64; 3], hysteresis: f64) -> VolatilityRegime {
    use VolatilityRegime::{Explosive, Extreme, HighVol, Stable};
    const REGIMES: [VolatilityRegime; 4] = [Stable, HighVol, Explosive, Extreme];
    let class = |scale: f64| boundaries.iter().filter(|&&boundary| level > boundary * scale).count();
    let Some(regime) = regime else { return REGIMES[class(1.0)] };
    let (at_least, at_most) = (class(1.0 + hysteresis), class(1.0 - hysteresis));
    REGIMES[(regime as usize).clamp(at_least, at_most)]
}
