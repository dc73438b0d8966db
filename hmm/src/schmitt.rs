//! The decision rule: a Schmitt trigger on state probabilities.
//!
//! A state is entered at [`SchmittTrigger::enter`] and held until another one is entered; below [`SchmittTrigger::leave`] it is
//! held without conviction (`firm` is false). Filtered probabilities cross one half many times per regime; two thresholds
//! cross once.

use crate::error::HmmError;

/// The decided state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The state.
    pub state: usize,
    /// Whether its probability is at least `leave`.
    pub firm: bool,
    /// Whether it was entered at this very step.
    pub entered: bool,
}

/// Hysteresis between two thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct SchmittTrigger {
    enter: f64,
    leave: f64,
    state: Option<usize>,
}

impl SchmittTrigger {
    /// Thresholds with ½ < enter ≤ 1 (so that at most one state can be entered) and 0 ≤ leave ≤ enter. Usual: .8 and .5.
    pub fn new(enter: f64, leave: f64) -> Result<Self, HmmError> {
        if !(enter > 0.5 && enter <= 1.0) {
            return Err(HmmError::Setting { what: "enter", value: enter, range: "above 0.5 and at most 1" });
        }
        if !(leave >= 0.0 && leave <= enter) {
            return Err(HmmError::Setting { what: "leave", value: leave, range: "between 0 and enter" });
        }
        Ok(SchmittTrigger { enter, leave, state: None })
    }

    /// The threshold at which a state is entered.
    pub fn enter(&self) -> f64 {
        self.enter
    }

    /// The threshold below which the held state isn't firm.
    pub fn leave(&self) -> f64 {
        self.leave
    }

    /// The state held.
    pub fn state(&self) -> Option<usize> {
        self.state
    }

    /// Goes on from a decided state, as after a restart.
    pub fn resume(&mut self, state: Option<usize>) {
        self.state = state;
    }

    /// Takes the next probabilities. `None` until a first state has been entered. NaN enters nothing.
    pub fn step(&mut self, probabilities: &[f64]) -> Option<Decision> {
        let over = probabilities.iter().position(|p| *p >= self.enter);
        let entered = over.is_some() && over != self.state;
        if entered {
            self.state = over;
        }
        let state = self.state?;
        let firm = probabilities.get(state).is_some_and(|p| *p >= self.leave);
        Some(Decision { state, firm, entered })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(enter: f64, leave: f64, bull: &[f64], expected: &str) {
        let mut trigger = SchmittTrigger::new(enter, leave).unwrap();
        let shown: String = bull
            .iter()
            .map(|p| match trigger.step(&[1.0 - p, *p]) {
                None => '.',
                Some(Decision { state, firm: true, .. }) => ['b', 'U'][state],
                Some(Decision { state, firm: false, .. }) => ['x', 'o'][state],
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn holds_until_the_other_state_is_sure() {
        check(0.8, 0.5, &[0.6, 0.7, 0.81, 0.6, 0.4, 0.55, 0.3, 0.19, 0.4, 0.6, 0.85], "..UUoUobbxU");
        check(0.8, 0.5, &[f64::NAN, 0.9, f64::NAN, 0.9], ".UoU");
    }

    #[test]
    fn thresholds_out_of_order_are_refused() {
        assert!(SchmittTrigger::new(0.5, 0.4).is_err());
        assert!(SchmittTrigger::new(0.8, 0.9).is_err());
        assert!(SchmittTrigger::new(f64::NAN, 0.5).is_err());
    }
}
