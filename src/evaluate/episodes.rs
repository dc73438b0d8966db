//! What was planted against what was told: which belong together, which was missed, which is false.

use dataflows::model::InstrumentId;
use serde::Serialize;

/// A stretch of one instrument's time, UTC ms, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Whose.
    pub instrument: InstrumentId,
    /// It begins.
    pub from_ts: i64,
    /// It is over.
    pub to_ts: i64,
}

impl Stretch {
    fn meets(&self, other: &Self) -> bool {
        self.instrument == other.instrument && self.from_ts <= other.to_ts && other.from_ts <= self.to_ts
    }
}

/// What the simulator did on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// When and where it shows.
    pub at: Stretch,
    /// What to think of it.
    pub kind: Kind,
}

/// What to think of something planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It must be found.
    Clear,
    /// It may be found or not: it counts neither for nor against.
    Doubtful,
    /// It must not be taken for one.
    Decoy,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// Clear ones planted.
    pub planted: u32,
    /// Of those, told.
    pub found: u32,
    /// Told ones that belong to a clear one.
    pub right: u32,
    /// Told ones that belong to doubtful ones only.
    pub doubtful: u32,
    /// Told ones that belong to nothing, or to decoys only.
    pub wrong: u32,
}

impl Matches {
    /// Found of planted. `None`: nothing was planted.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.planted > 0).then(|| f64::from(self.found) / f64::from(self.planted))
    }

    /// Right of right and wrong. `None`: nothing was told.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        let told = self.right + self.wrong;
        (told > 0).then(|| f64::from(self.right) / f64::from(told))
    }

    /// Takes in another market's.
    pub fn add(&mut self, other: Self) {
        self.planted += other.planted;
        self.found += other.found;
        self.right += other.right;
        self.doubtful += other.doubtful;
        self.wrong += other.wrong;
    }
}

/// Compares what was planted with what was told. Two told ones of one planted one are both right: it was told twice, not invented.
#[must_use]
pub fn compare(planted: &[Planted], told: &[Stretch]) -> Matches {
    let mut matches = Matches::default();
    for clear in planted.iter().filter(|planted| planted.kind == Kind::Clear) {
        matches.planted += 1;
        matches.found += u32::from(told.iter().any(|told| told.meets(&clear.at)));
    }
    for told in told {
        let belongs_to = |kind| planted.iter().any(|planted| planted.kind == kind && planted.at.meets(told));
        let count = match () {
            () if belongs_to(Kind::Clear) => &mut matches.right,
            () if belongs_to(Kind::Doubtful) => &mut matches.doubtful,
            () => &mut matches.wrong,
        };
        *count += 1;
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(instrument: u64, from_ts: i64, to_ts: i64) -> Stretch {
        Stretch { instrument: InstrumentId(instrument), from_ts, to_ts }
    }

    /// `planted` on instrument 1.
    fn check(planted: &[(i64, i64, Kind)], told: &[Stretch], expected: Matches) {
        let planted: Vec<Planted> = planted.iter().map(|&(from, to, kind)| Planted { at: stretch(1, from, to), kind }).collect();
        assert_eq!(compare(&planted, told), expected);
    }

    #[test]
    fn a_told_one_belongs_to_what_it_overlaps_on_its_instrument() {
        let nothing = Matches { planted: 1, ..Matches::default() };
        let clear = [(10, 20, Kind::Clear)];
        check(&clear, &[], nothing);
        check(&clear, &[stretch(1, 20, 25)], Matches { found: 1, right: 1, ..nothing });
        check(&clear, &[stretch(1, 21, 25)], Matches { wrong: 1, ..nothing });
        check(&clear, &[stretch(2, 10, 20)], Matches { wrong: 1, ..nothing });
        check(&clear, &[stretch(1, 0, 10), stretch(1, 12, 13)], Matches { found: 1, right: 2, ..nothing });
    }

    #[test]
    fn doubtful_ones_count_neither_for_nor_against_and_decoys_count_against() {
        check(&[(10, 20, Kind::Doubtful)], &[stretch(1, 15, 15)], Matches { doubtful: 1, ..Matches::default() });
        check(&[(10, 20, Kind::Doubtful)], &[], Matches::default());
        check(&[(10, 20, Kind::Decoy)], &[stretch(1, 15, 15)], Matches { wrong: 1, ..Matches::default() });
        let both = [(10, 20, Kind::Decoy), (18, 30, Kind::Clear)];
        check(&both, &[stretch(1, 15, 19)], Matches { planted: 1, found: 1, right: 1, ..Matches::default() });
    }

    #[test]
    fn shares_of_nothing_are_absent() {
        assert_eq!((Matches::default().recall(), Matches::default().precision()), (None, None));
        let matches = Matches { planted: 4, found: 3, right: 6, doubtful: 9, wrong: 2 };
        assert_eq!((matches.recall(), matches.precision()), (Some(0.75), Some(0.75)));
    }
}
