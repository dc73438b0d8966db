//! The venues' wire formats, written by hand: field order, types and quoting as the venues send them.

pub(super) mod binance;
pub(super) mod bybit;

/// A market's state as tickers show it. Prices and rates at 1e-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quote {
    pub(super) mark_e8: i64,
    pub(super) index_e8: i64,
    pub(super) rate_e8: i64,
    /// Next settlement, UTC ms.
    pub(super) next_ms: i64,
    /// One side, steps.
    pub(super) interest: i64,
}

/// A position closed by force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forced {
    /// When, UTC ms.
    pub(super) ts: i64,
    /// A long was closed.
    pub(super) long: bool,
    /// Average fill.
    pub(super) ticks: i64,
    /// Quantity.
    pub(super) steps: i64,
    /// It belongs to a cascade.
    pub(super) of_cascade: bool,
}

impl Forced {
    /// Ticks × steps.
    pub(super) fn notional(&self) -> i128 {
        i128::from(self.ticks) * i128::from(self.steps)
    }
}

/// Appends pieces: byte strings, integers (`int`), decimals (`dec value, decimals`).
macro_rules! put {
    ($out:expr;) => {};
    ($out:expr; int $value:expr $(, $($rest:tt)*)?) => {
        $crate::simulate::digits::push_int($out, $value);
        $(put!($out; $($rest)*);)?
    };
    ($out:expr; dec($value:expr, $decimals:expr) $(, $($rest:tt)*)?) => {
        $crate::simulate::digits::push_decimal($out, i128::from($value), $decimals);
        $(put!($out; $($rest)*);)?
    };
    ($out:expr; trim($value:expr, $decimals:expr) $(, $($rest:tt)*)?) => {
        $crate::simulate::digits::push_trimmed($out, i128::from($value), $decimals);
        $(put!($out; $($rest)*);)?
    };
    ($out:expr; $text:expr $(, $($rest:tt)*)?) => {
        $out.extend_from_slice($text.as_ref());
        $(put!($out; $($rest)*);)?
    };
}
pub(super) use put;
