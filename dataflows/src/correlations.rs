//! How symbols move together.
//!
//! [`returns`] are integers, so [`products`] of all pairs can be summed and taken off again without a trace; [`eigen`] finds the
//! market's first eigenvector. [`RollingCorrelation`] puts these together for whoever has rows of returns.

mod eigen;
mod products;
mod returns;
mod rolling;

pub use eigen::{First, first};
pub use products::{CrossProducts, Joint, pair};
pub use returns::{ABSENT, CLIP, UNITS, between, fisher_z, units};
pub use rolling::RollingCorrelation;
