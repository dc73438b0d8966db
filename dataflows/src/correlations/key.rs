//! Who is compared with whom.

/// Two symbols by number, the one whose name comes first before the other, or a symbol and the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Key {
    a: u16,
    b: u16,
}

const MARKET: u16 = u16::MAX;

impl Key {
    /// Of two symbols. Their numbers are below 1,024.
    pub fn pair(a: usize, b: usize) -> Self {
        Self { a: a as u16, b: b as u16 }
    }

    pub fn market(a: usize) -> Self {
        Self { a: a as u16, b: MARKET }
    }

    pub fn a(self) -> usize {
        usize::from(self.a)
    }

    /// `None`: the market.
    pub fn b(self) -> Option<usize> {
        (self.b != MARKET).then_some(usize::from(self.b))
    }
}
