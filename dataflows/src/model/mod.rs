//! What flows: venues and instruments, ticks (one event of a venue), base rows (one quantum's partial sums), view rows.

mod base;
mod instrument;
mod rows;
mod tick;
mod time;

pub use base::{Aggregate, BaseRow, LastPrice, Partial, PrintOrder, Seen};
pub use instrument::{Instrument, InstrumentId, Instruments, Venue, fnv1a};
pub use rows::*;
pub use tick::*;
pub use time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timeframe, Window, month_of};
