//! Observations: rows of features, one or more sequences, NaN where a value is missing.
//!
//! Checked once: infinite values and values beyond 1e100 are refused by row and column, so that nothing downstream can turn
//! into NaN. A row may be missing in part (marginalised) or altogether (the chain moves on, nothing is learnt).

use crate::error::HmmError;
use ndarray::{ArrayView2, CowArray, Ix2};

const LARGEST: f64 = 1e100;

/// T rows of D features, cut into sequences.
#[derive(Debug, Clone)]
pub struct Observations<'a> {
    rows: CowArray<'a, f64, Ix2>,
    lengths: Vec<usize>,
    incomplete: Vec<bool>,
}

impl<'a> Observations<'a> {
    /// One sequence. Borrows where the rows lie in standard order, copies otherwise.
    pub fn new(rows: ArrayView2<'a, f64>) -> Result<Self, HmmError> {
        let count = rows.nrows();
        Self::sequences(rows, &[count])
    }

    /// Several sequences one after another; `lengths` are their rows.
    pub fn sequences(rows: ArrayView2<'a, f64>, lengths: &[usize]) -> Result<Self, HmmError> {
        if rows.nrows() == 0 {
            return Err(HmmError::Empty { what: "the list of observations" });
        }
        if rows.ncols() == 0 {
            return Err(HmmError::Empty { what: "the list of features" });
        }
        let sum = lengths.iter().fold(0usize, |sum, length| sum.saturating_add(*length));
        if sum != rows.nrows() || lengths.contains(&0) {
            return Err(HmmError::Lengths { sum, rows: rows.nrows() });
        }
        let rows =
            if rows.is_standard_layout() { CowArray::from(rows) } else { CowArray::from(rows.as_standard_layout().into_owned()) };
        let mut observations = Observations { rows, lengths: lengths.to_vec(), incomplete: Vec::new() };
        observations.scan()?;
        Ok(observations)
    }

    fn scan(&mut self) -> Result<(), HmmError> {
        let dims = self.dims();
        let mut incomplete = Vec::new();
        for (row, values) in self.flat().chunks_exact(dims).enumerate() {
            // One comparison per value; a NaN fails it too and is sorted out in the rare branch.
            if values.iter().all(|v| v.abs() <= LARGEST) {
                continue;
            }
            check_row(values, row)?;
            incomplete.resize(self.len(), false);
            incomplete[row] = true;
        }
        self.incomplete = incomplete;
        Ok(())
    }

    /// Rows over all sequences.
    #[allow(clippy::len_without_is_empty, reason = "an empty one is refused at construction")]
    pub fn len(&self) -> usize {
        self.rows.nrows()
    }

    /// Features per row.
    pub fn dims(&self) -> usize {
        self.rows.ncols()
    }

    /// Rows of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Whether any value is missing.
    pub fn has_missing(&self) -> bool {
        !self.incomplete.is_empty()
    }

    pub(crate) fn flat(&self) -> &[f64] {
        // Standard layout was made sure of at construction; an empty slice would be caught by the length checks downstream.
        self.rows.as_slice().unwrap_or(&[])
    }

    /// Each sequence: first row's index, rows, flags of incomplete rows (empty where none is).
    pub(crate) fn each(&self) -> impl Iterator<Item = Sequence<'_>> {
        let dims = self.dims();
        self.lengths.iter().scan(0, move |next, &length| {
            let first = *next;
            *next += length;
            let flags = if self.incomplete.is_empty() { &[][..] } else { &self.incomplete[first..first + length] };
            Some(Sequence { first, rows: &self.flat()[first * dims..(first + length) * dims], incomplete: flags, dims })
        })
    }

    pub(crate) fn check_dims(&self, expected: usize) -> Result<(), HmmError> {
        if self.dims() == expected { Ok(()) } else { Err(HmmError::Columns { expected, found: self.dims() }) }
    }
}

/// Refuses infinite and absurdly large values; NaN passes. The answer says whether the row is incomplete.
pub(crate) fn check_row(values: &[f64], row: usize) -> Result<bool, HmmError> {
    match values.iter().enumerate().find(|(_, v)| v.abs() > LARGEST) {
        Some((column, &value)) => Err(HmmError::ObservationNotFinite { row, column, value }),
        None => Ok(values.iter().any(|v| v.is_nan())),
    }
}

/// One sequence of [`Observations`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence<'a> {
    pub first: usize,
    pub rows: &'a [f64],
    pub incomplete: &'a [bool],
    pub dims: usize,
}

impl<'a> Sequence<'a> {
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / self.dims
    }

    pub(crate) fn row(&self, t: usize) -> &'a [f64] {
        &self.rows[t * self.dims..(t + 1) * self.dims]
    }

    #[inline(always)]
    pub(crate) fn is_incomplete(&self, t: usize) -> bool {
        !self.incomplete.is_empty() && self.incomplete[t]
    }
}
